"""
How jobs are read from PostgreSQL and written back: a statement each, over whatever way to the server one is given.

That is a pool, or the connection on which a user has begun a transaction: then what is written takes effect with it.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from ...errors import InvalidOptionError
from ...models import RunRecord
from .._ledger.optimistic import Reading, Written
from .._ledger.recalling import RecallingLedger
from .._ledger.rows import JobRow, kept_of, run_of
from .._ledger.sheet import Change, Floors, Kept, Stored
from .._table.shelf import Moment
from .pool import ConflictError, Fetch
from .rows import Reader, bad_character, job_row, write_of

_BEGINNING = datetime.min.replace(tzinfo=UTC)


class PostgresLedger(RecallingLedger[JobRow]):
    """The ledger of a namespace; `note` is told whose history has grown."""

    def __init__(self, fetch: Fetch, reader: Reader, history: int, note: Callable[[Sequence[str]], None]) -> None:
        super().__init__()
        self._fetch, self._reader, self._history, self._note_runs = fetch, reader, history, note

    async def _read(self, job_ids: Sequence[str], *, floors: bool, history: bool) -> Reading[JobRow]:
        """Read the jobs, the floors and the time in one statement; the history, where it is asked for, after them."""
        ids = [job_id for job_id in job_ids if bad_character(job_id) is None]
        rows = await self._fetch("read", ids)
        stored: dict[str, Stored[JobRow]] = {}
        unreadable: set[str] = set()
        for _, _, _, version, *values in rows:
            if version is not None:
                row = tuple(values)
                kept = self._reader.read(row, kept_of)
                if kept is None:
                    unreadable.add(row[0])
                else:
                    stored[row[0]] = Stored(version, row, kept)
        now, token_floor, revision_floor = rows[0][:3]
        runs = await self._runs_of(ids, self._history) if history else []
        return Reading(
            Moment(now, now.timestamp()), stored, Floors(token_floor, revision_floor), runs[::-1], unreadable
        )

    async def _write(
        self,
        changes: Sequence[Change[JobRow]],
        floors: Floors | None,
        *,
        as_of: datetime | None = None,
        until: datetime | None = None,
    ) -> Written:
        """Write all that was not changed by somebody else, in one statement."""
        name, arguments = write_of(changes, floors, with_runs=self._history > 0)
        try:
            ((now, job_ids, version),) = await self._fetch(name, *arguments, as_of, until)
        except ConflictError:
            return Written(_BEGINNING, ())
        written = set(job_ids)
        if self._history:
            self._note_runs([run.job_id for change in changes if change.job_id in written for run in change.runs])
        return Written(now, written, version)

    def _row_of(self, job_id: str, kept: Kept) -> JobRow:
        return job_row(job_id, kept)

    def _hold(self, **texts: str) -> None:
        """Refuse a text that PostgreSQL cannot hold, before anything is written."""
        for name, text in texts.items():
            bad = bad_character(text)
            if bad is not None:
                raise InvalidOptionError(name, text, f"PostgreSQL cannot hold the character {bad!r}")

    async def _runs_of(self, job_ids: Sequence[str], limit: int, offset: int = 0) -> list[RunRecord]:
        ids = [job_id for job_id in job_ids if bad_character(job_id) is None]
        return self._reader.read_all(await self._fetch("list_runs_of", ids, limit, offset), run_of)
