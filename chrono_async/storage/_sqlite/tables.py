"""
What is read from and written to the tables of a SQLite storage, within a transaction.

Each call takes a few statements, however many jobs it concerns; their texts are always the same few, so that they stay
prepared.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from sqlite3 import OperationalError
from typing import Any, NamedTuple, TypeVar

from ...claims import DuePage
from ...errors import StorageCorruptError
from ...models import Due, InstanceInfo, JobRecord, RunRecord, due_of, place_of
from .._doors import UNREADABLE
from .._ledger.bounds import Bounds
from .._ledger.columns import is_uniform
from .._ledger.rows import COLUMNS, JobRow, kept_of
from .._ledger.sheet import Change, Floors, Kept, Stored
from .._table.instants import instant_of, microseconds_of
from .._table.shelf import Moment
from .._table.table import HEARD_OF
from .._told import Told
from .connection import Connection
from .statements import SIZES, Statements
from .values import (
    Instants,
    changed,
    decoded,
    decoded_run,
    encoded,
    encoded_runs,
    is_writable,
)

Id = TypeVar("Id")


class Question(NamedTuple):
    """What is asked for of what comes due."""

    until: datetime
    at: Moment
    skip: Collection[str]
    limit: int
    start: tuple[datetime, str] | None
    """The place of the last one of the page before."""


class Tables:
    """The tables of one namespace."""

    def __init__(self, namespace: str, bounds: Bounds) -> None:
        self._bounds = bounds
        self._sql = Statements(namespace, per_job=bounds.of_job)
        self._told = Told()

    # ── jobs ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def read(self, database: Connection, job_ids: Sequence[str]) -> tuple[dict[str, Stored[JobRow]], list[str]]:
        """Return those of the jobs that are there, to be changed, and the ids of those that cannot be read."""
        stored, unreadable = database.remembered().take(job_ids), list[str]()
        for job_id, read in self._read(database, [job_id for job_id in job_ids if job_id not in stored]):
            if read is not None:
                stored[job_id] = read
            else:
                unreadable.append(job_id)
        return stored, unreadable

    def record(self, database: Connection, job_id: str) -> JobRecord | None:
        """Return the record of this id, if there is one; one that cannot be read is an error."""
        for _, read in self._read(database, [job_id]):
            if read is None:
                raise StorageCorruptError.of(job_id)
            return read.kept.record
        return None

    def _read(self, database: Connection, job_ids: Sequence[str]) -> Iterator[tuple[str, Stored[JobRow] | None]]:
        instants = Instants()
        for row in self._of_jobs(database, self._sql.jobs, job_ids):
            yield row[0], self._stored(row, instants)

    def _of_jobs(self, database: Connection, sql: dict[int, str], job_ids: Sequence[str]) -> Iterator[Any]:
        for ids in _chunks([job_id for job_id in job_ids if is_writable(job_id)]):
            yield from database.execute(sql[len(ids)], ids)

    def _stored(self, row: Sequence[Any], instants: Instants) -> Stored[JobRow] | None:
        """Return a job by its row, which ends with its number: no version is needed where nobody else can write."""
        try:
            values = decoded(row, instants)
            return Stored(row[-1], values, kept_of(values))
        except UNREADABLE as error:
            self._told.error(f"the row of job {row[0]!r} cannot be read and is left as it is: {error}")
            return None

    def write(
        self,
        database: Connection,
        stored: Mapping[str, Stored[JobRow]],
        changes: Sequence[Change[JobRow]],
        now: datetime,
    ) -> None:
        """Write what has become of the jobs that were read, with the rows of the history that belong to it."""
        known, numbers = dict(stored), list[int]()
        befores, rows = list[JobRow](), list[JobRow]()
        for job_id, number, row, _, kept, before in changes:
            known.pop(job_id, None)
            if row is None or kept is None:
                database.execute(self._sql.forget, (number,))
            elif before is None:
                added = database.execute(self._sql.insert, encoded(row))
                known[job_id] = Stored(added.lastrowid or 0, row, kept)
            else:
                numbers.append(number)
                befores.append(before)
                rows.append(row)
                known[job_id] = Stored(number, row, kept)
        if numbers:
            self._update(database, numbers, befores, rows)
        database.remembered().note(known)
        self._add_runs(database, [run for change in changes for run in change.runs], microseconds_of(now))
        self._prune(database, [change.job_id for change in changes if self._is_time_to_prune(change)])

    def _is_time_to_prune(self, change: Change[JobRow]) -> bool:
        """Whether the job has come to a round number of runs, has rows that none of them counts, or counts anew."""
        before, after, spare = _run_count(change.before), _run_count(change.row), self._sql.spare
        return len(change.runs) > after - before or before // spare != after // spare

    def _update(
        self, database: Connection, numbers: Sequence[int], befores: Sequence[JobRow], rows: Sequence[JobRow]
    ) -> None:
        """Write the columns that are others now in any of the rows; what changes is mostly the same in each of them."""
        filled, emptied = changed(befores, rows)
        if not filled and not emptied:  # there are only rows of their history to be written
            return
        names, columns = (tuple(filled), tuple(emptied)), filled.values()
        if all(map(is_uniform, columns)):  # a burst is claimed alike
            alike = [column[0] for column in columns]
            updates = [(self._sql.update(*names, len(part)), (*alike, *part)) for part in _chunks(numbers)]
            updated = sum(database.execute(sql, values).rowcount for sql, values in updates)
        else:
            updated = database.executemany(self._sql.update(*names), zip(*columns, numbers, strict=True)).rowcount
        if updated != len(numbers):
            raise OperationalError("a row that was read is not there any more")

    def erase(self, database: Connection) -> None:
        """Drop them all."""
        for statement in self._sql.erase:
            database.execute(statement)

    def records(self, database: Connection) -> list[JobRecord]:
        """Return all records that can be read."""
        return list(self._records(database.execute(self._sql.records)))

    def due_records(self, database: Connection, now: datetime) -> list[JobRecord]:
        """Return the records that are not paused and whose pointer has come, whoever holds them."""
        moment = microseconds_of(now)
        return list(self._records(database.execute(self._sql.due_records, (moment, moment, moment))))

    def _records(self, rows: Iterable[Any]) -> Iterator[JobRecord]:
        instants = Instants()
        for row in rows:
            stored = self._stored(row, instants)
            if stored is not None and stored.kept.record is not None:
                yield stored.kept.record

    # ── floors ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def floors(self, database: Connection) -> Floors:
        """Return what tokens and revisions have come to in jobs that are gone."""
        known = dict(database.execute(self._sql.floors))
        try:
            return Floors(int(known.get("token_floor", 0)), int(known.get("revision_floor", 0)))
        except UNREADABLE as error:
            raise StorageCorruptError(f"sqlite: the floors of tokens and revisions cannot be read: {error}") from error

    def raise_floors(self, database: Connection, floors: Floors) -> None:
        """Remember them."""
        rows = [("token_floor", str(floors.token)), ("revision_floor", str(floors.revision))]
        database.executemany(self._sql.raise_floors, rows)

    # ── what comes due ───────────────────────────────────────────────────────────────────────────────────────────────

    def to_bury(self, database: Connection, at: Moment) -> list[str]:
        """Return the jobs with a dead run that no claim will come across."""
        return [job_id for (job_id,) in database.execute(self._sql.to_bury, (_boot(at),))]

    def due(self, database: Connection, asked: Question, now: datetime) -> DuePage:
        """Return a page of what can be claimed, by `(when, job_id)`."""
        unreadable: list[str] = []
        held = self._held(database, asked, unreadable)
        found = [due for due in held if asked.start is None or place_of(due) > asked.start]
        found += islice(self._free(database, asked, unreadable), asked.limit + 1)
        found.sort(key=place_of)
        return DuePage(now, found[: asked.limit], len(found) > asked.limit, unreadable)

    def _held(self, database: Connection, asked: Question, unreadable: list[str]) -> Iterator[Due]:
        """Yield the jobs whose place is not that of their entry in the index, since somebody holds them."""
        rows = database.execute(self._sql.held, (_boot(asked.at), microseconds_of(asked.until)))
        return (due for due in self._wanted(rows, asked, unreadable) if due.when < asked.until)

    def _free(self, database: Connection, asked: Question, unreadable: list[str]) -> Iterator[Due]:
        """Yield the others, in order, as they are read from the index."""
        when, job_id = _BEFORE_ALL if asked.start is None else (microseconds_of(asked.start[0]), asked.start[1])
        rows = database.execute(self._sql.free, (microseconds_of(asked.until), when, job_id, _boot(asked.at)))
        return self._wanted(rows, asked, unreadable)

    def _wanted(self, rows: Iterable[Any], asked: Question, unreadable: list[str]) -> Iterator[Due]:
        """Yield what can be claimed; add the jobs that cannot be read to `unreadable`."""
        instants = Instants()
        for row in rows:
            if row[0] in asked.skip:
                continue
            stored = self._stored(row, instants)
            if stored is None:
                unreadable.append(row[0])
            elif (due := _due_of(stored.kept, asked.at)) is not None:
                yield due

    # ── history ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _add_runs(self, database: Connection, runs: Sequence[RunRecord], written: int) -> None:
        if runs:
            with_missed = any(run.missed for run in runs)
            rows = encoded_runs(runs, written, with_missed=with_missed)
            database.executemany(self._sql.add_run if with_missed else self._sql.add_simple_run, rows)

    def _prune(self, database: Connection, job_ids: Sequence[str]) -> None:
        """Let the oldest rows make room where a job has come to have more than enough."""
        overgrown = [row * 2 for row in self._of_jobs(database, self._sql.overgrown, job_ids)]
        if overgrown:
            database.executemany(self._sql.prune, overgrown)

    def runs_of(self, database: Connection, job_ids: Sequence[str]) -> list[RunRecord]:
        """Return what is remembered of these jobs, the oldest first."""
        return list(self._runs(self._of_jobs(database, self._sql.runs_of, job_ids)))

    def latest_runs(self, database: Connection, job_id: str | None, limit: int, offset: int) -> list[RunRecord]:
        """Return the newest rows, of one job or of all, the newest first."""
        if limit <= 0 or (job_id is not None and not is_writable(job_id)):
            return []
        start = min(max(0, offset), _MOST)
        if job_id is None:
            return list(self._runs(database.execute(self._sql.latest, (min(limit, _MOST), start))))
        kept = max(0, min(limit, self._bounds.of_job - start))
        return list(self._runs(database.execute(self._sql.latest_of, (job_id, kept, start))))

    def _runs(self, rows: Iterable[Any]) -> Iterator[RunRecord]:
        for row in rows:
            try:
                yield decoded_run(row)
            except UNREADABLE as error:
                self._told.error(f"a row of the history of job {row[0]!r} cannot be read and is left as it is: {error}")

    # ── instances ────────────────────────────────────────────────────────────────────────────────────────────────────

    def heartbeat(self, database: Connection, instance: InstanceInfo, at: Moment) -> None:
        """Note that the instance is alive, and sweep out what is too old or too much."""
        times = (microseconds_of(instance.started), microseconds_of(at.now))
        database.execute(self._sql.alive, (instance.instance_id, *times, json.dumps(sorted(instance.jobs))))
        database.execute(self._sql.forget_instances, (microseconds_of(at.now - HEARD_OF),))
        if database.execute(self._sql.forget_locks, (_boot(at),)).rowcount:
            database.forget()
        if self._bounds.age is not None:
            database.execute(self._sql.forget_old_runs, (_micros_before(at.now, self._bounds.age),))
        database.execute(self._sql.forget_many_runs, (self._bounds.total,))

    def instances(self, database: Connection, now: datetime) -> list[InstanceInfo]:
        """Return the instances that were heard of lately."""
        return list(self._instances(database.execute(self._sql.instances, (microseconds_of(now - HEARD_OF),))))

    def _instances(self, rows: Iterable[Any]) -> Iterator[InstanceInfo]:
        for instance_id, started, seen, jobs in rows:
            try:
                yield InstanceInfo(instance_id, instant_of(started), instant_of(seen), frozenset(json.loads(jobs)))
            except UNREADABLE as error:
                self._told.error(f"the row of instance {instance_id!r} cannot be read and is left as it is: {error}")


def _due_of(kept: Kept, at: Moment) -> Due | None:
    if kept.record is None:
        return None
    if kept.lock is None or kept.lock.until <= at.boot:
        return due_of(kept.record)
    return due_of(kept.record, at.now + timedelta(seconds=kept.lock.until - at.boot))


_RUN_COUNT = COLUMNS.index("run_count")
_BEFORE_ALL = (-(2**63), "")
_MOST = 2**31


def _run_count(row: JobRow | None) -> int:
    return 0 if row is None else row[_RUN_COUNT] or 0


def _micros_before(now: datetime, age: timedelta) -> int:
    try:
        return microseconds_of(now - age)
    except OverflowError:  # for ever
        return _BEFORE_ALL[0]


def _boot(at: Moment) -> int:
    return round(at.boot * 1_000_000)


def _chunks(ids: Sequence[Id]) -> Iterator[Sequence[Id]]:
    """Yield the ids in parts for which there is a statement; a part is filled up with its last one."""
    for start in range(0, len(ids), SIZES[-1]):
        part = ids[start : start + SIZES[-1]]
        size = next(size for size in SIZES if size >= len(part))
        yield [*part, *[part[-1]] * (size - len(part))]
