"""
Jobs in PostgreSQL, for any number of processes on any number of machines.

A verb is two statements: one reads the jobs it concerns, one writes what became of them, each job on the condition that
nobody has written it meanwhile. The server's clock is the only one: all times are its own.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from datetime import UTC, datetime, timedelta

from ..durations import Duration, to_positive
from ..errors import InvalidOptionError
from ..models import Due, DuePage, InstanceInfo, JobRecord, RunRecord
from ._channel import Channel
from ._doors import in_utc
from ._optimistic import Reading, Written
from ._postgres_pool import ConflictError, Connections, Pool
from ._postgres_rows import Reader, arguments_of, bad_character, due_of_row, job_row, record_of, values_of
from ._postgres_sql import Statements
from ._postgres_upkeep import Bounds, Upkeep
from ._recalling import RecallingLedger
from ._rows import COLUMNS, JobRow, kept_of, run_of
from ._sheet import Change, Floors, Kept, Stored
from ._shelf import Moment

_HEARD_OF = timedelta(minutes=10)
_PAGE = 1000
_OWNER = COLUMNS.index("owner")
_BEGINNING = datetime.min.replace(tzinfo=UTC)


class PostgresStorage(RecallingLedger[JobRow]):
    """
    A storage in the database that a DSN or a pool of asyncpg leads to.

    Its tables, whose names begin with `namespace`, are made when it is first used, or by `migrate`. `history` rows are
    kept of each job, `total_history` of all, for no longer than `history_age`. It takes up to `max_connections`
    connections, and one more to hear of changes if `notify`; no statement may take longer than `timeout`. Behind a
    transaction pooler give `notify=False, statement_cache_size=0`.
    """

    def __init__(
        self,
        dsn_or_pool: str | Pool,
        *,
        namespace: str = "chrono",
        history: int = 20,
        total_history: int = 100_000,
        history_age: Duration | None = None,
        notify: bool = True,
        timeout: Duration = timedelta(seconds=10),
        min_connections: int = 0,
        max_connections: int = 5,
        statement_cache_size: int | None = None,
    ) -> None:
        if not 0 <= min_connections <= max_connections or not max_connections:
            raise InvalidOptionError("max_connections", max_connections, f"must be 1 or more, and {min_connections=}")
        age = None if history_age is None else to_positive(history_age, "history_age")
        statements = Statements(namespace)
        self._connections = Connections(
            dsn_or_pool,
            statements,
            timeout=to_positive(timeout, "timeout"),
            min_size=min_connections,
            max_size=max_connections,
            statement_cache_size=statement_cache_size,
        )
        super().__init__()
        self._keeps_history = history > 0
        self._history = max(0, history)
        self._upkeep = Upkeep(self._connections, Bounds(self._history, max(0, total_history), age))
        self._reader = Reader(namespace)
        self._notifies, self._signal = notify, f"{namespace}_changes"
        self._channel = Channel(self._send, lambda: self._connections.hear(self._signal))

    @property
    def guarantees(self) -> str:
        """What this storage can promise, in words."""
        return (
            "in PostgreSQL, for any number of machines: each occurrence is claimed by one instance and settled once; "
            "what was answered is committed, as durably as the server is set to; leases end by the server's clock, "
            "and if that is set back, no later than their length after an instance has noticed"
        )

    async def migrate(self) -> None:
        """Make the tables, or bring them up to date: for a user who may do that, before others use them."""
        await self._connections.migrate()

    # ── the medium's part of a verb ──────────────────────────────────────────────────────────────────────────────────

    async def _read(self, job_ids: Sequence[str], *, floors: bool, history: bool) -> Reading[JobRow]:
        """Read the jobs, the floors and the time in one statement; the history, where it is asked for, after them."""
        ids = [job_id for job_id in job_ids if bad_character(job_id) is None]
        rows = await self._connections.fetch("read", ids)
        stored: dict[str, Stored[JobRow]] = {}
        unreadable: set[str] = set()
        for _, _, _, version, *values in rows:
            if version is not None:
                row = values_of(values)
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

    async def _write(self, changes: Sequence[Change[JobRow]], floors: Floors | None) -> Written:
        """Write all that was not changed by somebody else, in one statement."""
        arguments = arguments_of(changes, floors, with_runs=self._keeps_history)
        try:
            ((now, job_ids, version),) = await self._connections.fetch("write", *arguments)
        except ConflictError:
            return Written(_BEGINNING, ())
        written = set(job_ids)
        if self._keeps_history:
            self._upkeep.note([run.job_id for change in changes if change.job_id in written for run in change.runs])
        return Written(now, written, version)

    def _row_of(self, job_id: str, kept: Kept) -> JobRow:
        return job_row(job_id, kept)

    def _kept_of(self, row: JobRow) -> Kept:
        return kept_of(row)

    def _is_claimed(self, row: JobRow) -> bool:
        return row[_OWNER] is not None

    def _hold(self, **texts: str) -> None:
        """Refuse a text that PostgreSQL cannot hold, before anything is written."""
        for name, text in texts.items():
            bad = bad_character(text)
            if bad is not None:
                raise InvalidOptionError(name, text, f"PostgreSQL cannot hold the character {bad!r}")

    def _changed(self) -> None:
        if self._notifies:
            self._channel.tell()

    # ── lists ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def list_jobs(self) -> list[JobRecord]:
        """Return all records that can be read."""
        return await self._listed(None)

    async def get_due_jobs(self, now: datetime) -> list[JobRecord]:
        """Return the records that are not paused and whose `next_run` is set and not later than `now`."""
        return await self._listed(in_utc(now, "now"))

    async def _listed(self, due_by: datetime | None) -> list[JobRecord]:
        """Read page by page: a long list must not hold up the loop, nor outlast the time for a statement."""
        records: list[JobRecord] = []
        last = ""
        while rows := await self._connections.fetch("list_jobs", last, due_by, _PAGE):
            records += self._reader.read_all(rows, record_of)
            if len(rows) < _PAGE:
                break
            last = rows[-1][0]
        return records

    async def due(
        self,
        now: datetime,
        until: datetime,
        *,
        exclude: Collection[str] = (),
        limit: int = 1000,
        after: Due | None = None,
    ) -> DuePage:
        """Return a page of what can be claimed before `until`, and bury the dead that were come across."""
        last = (_BEGINNING, "") if after is None else (after.when, after.job_id)
        skipped = [job_id for job_id in exclude if bad_character(job_id) is None]
        limit = max(1, limit)
        page, more = DuePage(_BEGINNING, []), True
        while more and not page.due:  # a page of nothing but jobs that cannot be read says nothing
            rows = await self._connections.fetch("due", until - now, *last, skipped, limit + 1)
            own_now, dead = rows[0][:2]
            if dead:
                await self._bury(dead)
            found = [row[2:] for row in rows if row[2] is not None]
            more = len(found) > limit
            page = DuePage(own_now, self._reader.read_all(found[:limit], due_of_row), more)
            last = (found[limit - 1][1], found[limit - 1][0]) if more else last
        return page

    async def list_runs(self, job_id: str | None = None, *, limit: int = 100) -> list[RunRecord]:
        """Return the latest rows of the history, the newest first."""
        if job_id is not None:
            return await self._runs_of([job_id], min(max(0, limit), self._history))
        rows = await self._connections.fetch("list_runs", max(0, limit))
        return self._reader.read_all(rows, run_of)

    async def _runs_of(self, job_ids: Sequence[str], limit: int) -> list[RunRecord]:
        ids = [job_id for job_id in job_ids if bad_character(job_id) is None]
        return self._reader.read_all(await self._connections.fetch("list_runs_of", ids, limit), run_of)

    # ── instances ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def heartbeat(self, instance: InstanceInfo) -> None:
        """Say that this instance is alive, and put things in order in passing."""
        self._hold(instance_id=instance.instance_id)
        jobs = sorted(job_id for job_id in instance.jobs if bad_character(job_id) is None)
        ((seen,),) = await self._connections.fetch(
            "heartbeat", instance.instance_id, in_utc(instance.started, "started"), jobs, _HEARD_OF
        )
        await self._upkeep.run(seen)

    async def list_instances(self) -> list[InstanceInfo]:
        """Return the instances that were heard of lately."""
        rows = await self._connections.fetch("list_instances", _HEARD_OF)
        return [InstanceInfo(name, started, seen, frozenset(jobs)) for name, started, seen, jobs in rows]

    # ── hints ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def changes(self) -> AsyncIterator[None]:
        """Yield at once when another has changed something; without `notify` there is nothing to hear."""
        return self._channel.listen() if self._notifies else _nothing()

    async def _send(self, word: str) -> None:
        await self._connections.fetch("notify", self._signal, word)

    async def close(self) -> None:
        """Close the connections that are this storage's own."""
        await self._channel.close()
        await self._connections.close()


async def _nothing() -> AsyncIterator[None]:
    for _ in range(0):
        yield
