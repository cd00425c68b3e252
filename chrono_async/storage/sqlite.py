"""
Jobs in a SQLite file that several processes of one host may share.

Each change is one transaction in a thread that the storage owns: take the write lock, read the jobs that it concerns,
apply the rules, write them back. Calls that come while one is under way wait for the next, and are written together.
"""

import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from datetime import datetime
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import ClassVar

from ..claims import DuePage
from ..clock import Clock, SystemClock
from ..durations import Duration, to_non_negative
from ..errors import InvalidOptionError, JobNotFoundError
from ..models import Due, InstanceInfo, JobRecord, RunRecord, place_of
from ._doors import in_utc, shifted
from ._hints import Hints
from ._ledger.bounds import A_MONTH, Bounds
from ._ledger.ledger import Answer, Call, Item, Ledger
from ._ledger.rows import JobRow, row_of
from ._ledger.sheet import Floors, Sheet, Stored
from ._sqlite.connection import Connection
from ._sqlite.database import DatabaseFile, Settings
from ._sqlite.tables import Question, Tables
from ._sqlite.thread import Worker
from ._sqlite.values import is_writable
from ._table.shelf import Alignment, Moment

_NAMESPACE = re.compile(r"(?!sqlite(_|$))[a-z_][a-z0-9_]{0,63}", re.ASCII | re.IGNORECASE)
_NO_FLOORS = Floors()


class SQLiteStorage(Ledger):
    """
    A storage in the SQLite file at `path`. Folder, file and tables appear at first use.

    The names of its tables begin with `namespace`: several storages, and tables of one's own, can share a file. What
    was answered is on disk, unless `durable=False`: then a power failure, though no kill, can undo the last changes.
    `busy_timeout` says how long to wait for another process that is writing. Of each job `history` runs are kept, of
    all together `total_history`, and none for longer than `history_age`.
    """

    claim_batch: ClassVar[int] = 500
    """How many jobs are best claimed at once: each batch costs a commit."""

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        namespace: str = "chrono",
        clock: Clock | None = None,
        history: int = 20,
        total_history: int = 50_000,
        history_age: Duration | None = A_MONTH,
        busy_timeout: Duration = 5,
        durable: bool = True,
    ) -> None:
        self.path: Path = _checked_path(path)
        self._clock = clock or SystemClock()
        bounds = Bounds.checked(history, total_history, history_age)
        self._tables = Tables(_checked_namespace(namespace), bounds)
        patience = to_non_negative(busy_timeout, "busy_timeout")
        settings = Settings(self.path.absolute(), namespace, patience, durable)
        self._durable = durable
        self._worker = Worker(partial(DatabaseFile, settings))
        self._hints = Hints()
        self._alignment = Alignment()

    @property
    def guarantees(self) -> str:
        """What this storage can promise, in words."""
        kept = "is on disk" if self._durable else "outlives a kill, but a power failure can undo the last changes"
        return (
            "in a SQLite file, for the processes of one host: each occurrence is claimed by one instance and settled "
            f"once; what was answered {kept}, and a kill leaves the state before or after a change; "
            "leases end by the host's boot clock, and with a reboot"
        )

    async def migrate(self) -> None:
        """Make the file and its tables, or bring them up to date, as the first use of any kind does."""
        await self._worker.take(lambda _: None, writes=True)

    async def erase(self) -> None:
        """Drop the tables, and with them all jobs: for a namespace that was only tried out. The file stays."""
        await self._worker.take(self._tables.erase, writes=True)
        await self._worker.close()  # whatever comes next makes them anew

    # ── the database's part of a verb ────────────────────────────────────────────────────────────────────────────────

    async def _change(self, call: Call[Item, Answer]) -> tuple[datetime, list[Answer]]:
        asked = list(call.items)
        job_ids = list(dict.fromkeys(map(call.job_of, asked)))

        def step(database: Connection) -> tuple[datetime, list[Answer]]:
            stored, unreadable = self._tables.read(database, job_ids)
            sheet = self._sheet(database, stored, unreadable, call)
            answers = list(call.verb(sheet.table, sheet.at, asked))
            self._tables.write(database, stored, sheet.changes(job_ids), sheet.at.now)
            if sheet.floors is not None:
                self._tables.raise_floors(database, sheet.floors)
            return sheet.at.now, answers

        return await self._worker.take(step, writes=True)

    def _sheet(
        self,
        database: Connection,
        stored: Mapping[str, Stored[JobRow]],
        unreadable: Collection[str],
        call: Call[Item, Answer],
    ) -> Sheet[JobRow]:
        return Sheet(
            self._moment(),
            stored,
            row_of,
            floors=self._tables.floors(database) if call.floors else _NO_FLOORS,
            history=self._tables.runs_of(database, list(stored)) if call.history else (),
            unreadable=unreadable,
        )

    def _moment(self) -> Moment:
        """Return the time of this host, to the microsecond that the tables keep."""
        return Moment(self._clock.now(), round(self._clock.boot(), 6))

    def _hold(self, **texts: str) -> None:
        for name, text in texts.items():
            if not is_writable(text):
                raise InvalidOptionError(name, text, "SQLite cannot hold half of a surrogate pair")

    def _changed(self) -> None:
        self._hints.give_others()

    async def _look(self, look: Callable[[Connection], Answer]) -> Answer:
        return await self._worker.take(look, writes=False)

    # ── the eight ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def save_job(self, record: JobRecord) -> None:
        """Insert the record, or overwrite the one of the same id."""
        await super().save_job(record)
        self._hints.give()

    async def get_job(self, job_id: str) -> JobRecord:
        """Return the record of this id, or raise `JobNotFoundError`."""
        record = await self._look(lambda database: self._tables.record(database, job_id))
        if record is None:
            raise JobNotFoundError(job_id)
        return record

    async def list_jobs(self) -> list[JobRecord]:
        """Return all records that can be read."""
        return await self._look(self._tables.records)

    async def get_due_jobs(self, now: datetime) -> list[JobRecord]:
        """Return the records that are not paused and whose `next_run` is set and not later than `now`."""
        moment = in_utc(now, "now")
        return await self._look(lambda database: self._tables.due_records(database, moment))

    async def close(self) -> None:
        """Wait until everything is written, and close the file. A later call opens it again."""
        self._hints.end()
        await self._worker.close()

    # ── the leasing verbs that concern more than some jobs ───────────────────────────────────────────────────────────

    async def due(
        self,
        now: datetime,
        until: datetime,
        *,
        exclude: Collection[str] = (),
        limit: int = 1000,
        after: Due | None = None,
    ) -> DuePage:
        """Return a page of what can be claimed before `until`."""

        skip = frozenset(exclude)

        def look(database: Connection) -> tuple[DuePage, list[str]]:
            at = self._moment()
            end, aligned = shifted(until, now, at.now), self._alignment.aligned(at)
            asked = Question(end, aligned, skip, limit, None if after is None else place_of(after))
            return self._tables.due(database, asked, at.now), self._tables.to_bury(database, at)

        page, dead = await self._look(look)
        if dead:
            await self._bury(dead)
            page, _ = await self._look(look)
        return page

    async def list_runs(self, job_id: str | None = None, *, limit: int = 100, offset: int = 0) -> list[RunRecord]:
        """Return the latest rows of the history after the first `offset` of them, the newest first."""
        return await self._look(lambda database: self._tables.latest_runs(database, job_id, limit, offset))

    async def heartbeat(self, instance: InstanceInfo) -> None:
        """Say that this instance is alive."""
        self._hold(instance_id=instance.instance_id)
        await self._worker.take(
            lambda database: self._tables.heartbeat(database, instance, self._moment()), writes=True
        )

    async def list_instances(self) -> list[InstanceInfo]:
        """Return the instances that were heard of lately."""
        return await self._look(lambda database: self._tables.instances(database, self._clock.now()))

    def changes(self) -> AsyncIterator[None]:
        """Yield at once when this process has changed something; what others change, the poll finds."""
        return self._hints.listen()


def _checked_path(path: object) -> Path:
    if not isinstance(path, str | PathLike) or not isinstance(text := fspath(path), str) or "\0" in text:
        raise InvalidOptionError("path", path, "must be a path, as text or a Path")
    if text in {"", ":memory:"}:
        raise InvalidOptionError("path", text, "must name a file; for jobs in memory use InMemoryStorage")
    return Path(text)


def _checked_namespace(namespace: object) -> str:
    if not isinstance(namespace, str) or _NAMESPACE.fullmatch(namespace) is None:
        raise InvalidOptionError(
            "namespace",
            namespace,
            "must be up to 64 letters, digits and underscores, no digit first, and not SQLite's own",
        )
    return namespace
