"""
The records of a storage in memory, their locks, and the index of what is due.

Nothing here waits: each call is one step, which is what makes it atomic to the tasks of one loop. It knows no clock;
the moment is handed in. Locks end by the boot clock, so that a step of the wall clock moves none of them.
"""

from collections.abc import Collection, Iterator
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from typing import NamedTuple

from ...errors import JobNotFoundError, StorageCorruptError
from ...models import Due, InstanceInfo, JobRecord, due_of, earliest, place_of
from .history import History
from .index import DueIndex, Entry
from .instants import microseconds_of

_TICK = timedelta(microseconds=1)
_JITTER = 1000
"""Microseconds."""


class Moment(NamedTuple):
    """The storage's time: by the wall, and by the clock that leases end by."""

    now: datetime
    boot: float


class Alignment:
    """
    How far the two clocks are apart, for those who look at held jobs page by page: the same for each page.

    The clocks are read one after the other, so that they are some microseconds further or less far apart each time; by
    as much a held job would change its place between two pages, and be on both or on neither.
    """

    __slots__ = ("_apart",)

    def __init__(self) -> None:
        self._apart: int | None = None

    def aligned(self, at: Moment) -> Moment:
        """Return the moment with the boot clock as far from the wall as before, unless the wall clock has been set."""
        wall = microseconds_of(at.now)
        apart = wall - round(at.boot * 1_000_000)
        if self._apart is None or abs(apart - self._apart) > _JITTER:
            self._apart = apart
        return Moment(at.now, (wall - self._apart) / 1_000_000)


class Lock(NamedTuple):
    """Who holds a job, and until when by the boot clock."""

    owner: str
    until: float


class Shelf:
    """What a storage holds, what of it is due, and the eight verbs of the Go original."""

    def __init__(self, *, history: int = 20, total_history: int = 50_000, history_age: timedelta | None = None) -> None:
        self.records: dict[str, JobRecord] = {}
        self.unreadable: Collection[str] = ()
        """Jobs that are there, and of which there is no record here since it cannot be read."""
        self.locks: dict[str, Lock] = {}
        self.flights: dict[tuple[str, int], float] = {}
        self.history: History = History(history, total_history, history_age)
        self.instances: dict[str, InstanceInfo] = {}
        self.token_floor: int = 0
        self.revision_floor: int = 0
        # For each job that has something to do there is an entry no later than that; what is too early is put right
        # when a look comes across it. So a claim and a settle, which only ever put things off, cost the index nothing.
        self._index = DueIndex()
        self._waiting: set[str] = set()

    # ── the eight verbs ──────────────────────────────────────────────────────────────────────────────────────────────

    def save(self, record: JobRecord) -> None:
        """Insert or overwrite; the lock, which lives beside the record, stays."""
        self._refuse_unreadable(record.id)
        old = self.records.get(record.id)
        if old is not None:
            self._forget_flights(old, but=record)
            if old.token > record.token or old.revision > record.revision:
                self._raise_floors(old)
        self.records[record.id] = own = record.copy()
        self._index_anew(own, None)
        self._note_wait(own)

    def get(self, job_id: str) -> JobRecord:
        """Return the table's own record, or raise `JobNotFoundError`; `StorageCorruptError` for an unreadable one."""
        self._refuse_unreadable(job_id)
        try:
            return self.records[job_id]
        except KeyError:
            raise JobNotFoundError(job_id) from None

    def _refuse_unreadable(self, job_id: str) -> None:
        """Raise `StorageCorruptError` for a job that is there and cannot be read: nothing is put beside it."""
        if job_id in self.unreadable and job_id not in self.records:
            raise StorageCorruptError.of(job_id)

    def delete(self, job_id: str) -> None:
        """Forget record, lock and flights; tokens and revisions will still grow from where they were."""
        record = self.get(job_id)
        self._raise_floors(record)
        del self.records[job_id]
        self.locks.pop(job_id, None)
        self._forget_flights(record)
        when = earliest(record)
        if when is not None:
            self._index.discard((when, job_id))

    def _forget_flights(self, record: JobRecord, but: JobRecord | None = None) -> None:
        """Forget those that no record lists from now on: `but` takes the record's place."""
        kept = {flight.token for flight in but.flights} if but is not None else set()
        for flight in record.flights:
            if flight.token not in kept:
                self.flights.pop((record.id, flight.token), None)

    def _raise_floors(self, record: JobRecord) -> None:
        self.token_floor = max(self.token_floor, record.token)
        self.revision_floor = max(self.revision_floor, record.revision)

    def due_records(self, now: datetime) -> list[JobRecord]:
        """Return the records that are not paused and whose pointer is set and has come, whoever holds them."""
        records = (self.records[job_id] for chunk in self._due_chunks(_just_after(now), None) for _, job_id in chunk)
        return [record for record in records if _has_come(record, now)]

    def acquire(self, job_id: str, owner: str, ttl: timedelta, at: Moment) -> bool:
        """Take or extend the lock; False when somebody else's lives."""
        self._refuse_unreadable(job_id)
        lock = self._living(job_id, at.boot)
        if lock is not None and lock.owner != owner:
            return False
        self.locks[job_id] = Lock(owner, at.boot + ttl.total_seconds())
        return True

    def give_back(self, job_id: str, owner: str) -> None:
        """Drop the lock, if it is this owner's. What is left of a run that held the job before is to be found by it."""
        lock, record = self.locks.get(job_id), self.records.get(job_id)
        if lock is None or lock.owner != owner:
            return
        del self.locks[job_id]
        if record is not None and record.owner is not None and record.owner != owner:
            self.locks[job_id] = Lock(record.owner, 0.0)

    def _living(self, job_id: str, boot: float) -> Lock | None:
        lock = self.locks.get(job_id)
        return lock if lock is not None and lock.until > boot else None

    # ── what comes due ───────────────────────────────────────────────────────────────────────────────────────────────

    def due(
        self, until: datetime, at: Moment, *, exclude: Collection[str] = (), limit: int = 1000, after: Due | None = None
    ) -> tuple[list[Due], bool]:
        """Return a page of what can be claimed before `until`, by `(when, job_id)`, and whether there is more."""
        start = None if after is None else (after.when, after.job_id)
        skip = exclude if isinstance(exclude, AbstractSet) else frozenset(exclude)
        apart = self._apart(until, at)
        found = [
            due for job_id, due in apart.items() if due is not None and job_id not in skip and is_after(due, start)
        ]
        found += self._free(until, start, skip, apart.keys(), limit + 1)
        found.sort(key=place_of)
        return found[:limit], len(found) > limit

    def _apart(self, until: datetime, at: Moment) -> dict[str, Due | None]:
        """Return the jobs whose place is not that of their entry: held ones and those that wait for a retry."""
        apart: dict[str, Due | None] = {}
        for job_id in self._locked_or_waiting(at.boot):
            record = self.records[job_id]
            due = due_of(record, self._held_until(job_id, at))
            apart[job_id] = due if due is not None and due.when < until else None
        return apart

    def _locked_or_waiting(self, boot: float) -> set[str]:
        self._waiting = {job_id for job_id in self._waiting if self._is_waiting(job_id)}
        locked = {job_id for job_id, lock in self.locks.items() if lock.until > boot and job_id in self.records}
        return locked | self._waiting

    def _is_waiting(self, job_id: str) -> bool:
        record = self.records.get(job_id)
        return record is not None and _waits(record)

    def _held_until(self, job_id: str, at: Moment) -> datetime | None:
        lock = self._living(job_id, at.boot)
        return None if lock is None else at.now + timedelta(seconds=lock.until - at.boot)

    def _free(
        self, until: datetime, after: Entry | None, skip: AbstractSet[str], apart: AbstractSet[str], limit: int
    ) -> list[Due]:
        found: list[Due] = []
        for chunk in self._due_chunks(until, after):
            for _, job_id in chunk:
                if job_id not in apart and job_id not in skip:
                    found.append(due_of(self.records[job_id]))  # type: ignore[arg-type] # the chunks are put right
            if len(found) >= limit:
                break
        return found

    def _due_chunks(self, until: datetime, after: Entry | None) -> Iterator[list[Entry]]:
        """Yield entries in order, each of which is a job's own and in its true place."""
        while chunk := self._index.chunk(until, after):
            if not self._put_right(chunk):
                yield chunk
                after = chunk[-1]

    def _put_right(self, chunk: list[Entry]) -> bool:
        """Correct those entries whose job has moved on; whether there were any."""
        records, previous, wrong = self.records, None, []
        for entry in chunk:
            record = records.get(entry[1])
            when = None if record is None else earliest(record)
            if when != entry[0] or entry == previous:
                wrong.append((entry, when))
            previous = entry
        for entry, when in wrong:
            self._index.discard(entry)
            if when is not None and when > entry[0]:
                self._index.add((when, entry[1]))
        return bool(wrong)

    def _index_anew(self, record: JobRecord, before: datetime | None) -> None:
        """Keep the promise of the index for a job that had something to do at `before`."""
        when = earliest(record)
        if when is not None and (before is None or when < before):
            self._index.add((when, record.id))

    def _note_wait(self, record: JobRecord) -> None:
        """Remember a job whose place is not that of its entry: only what is given back or comes in begins to wait."""
        if _waits(record):
            self._waiting.add(record.id)


def _just_after(now: datetime) -> datetime:
    return now if now >= datetime.max.replace(tzinfo=now.tzinfo) else now + _TICK


def _waits(record: JobRecord) -> bool:
    """Whether something that was begun may wait for its retry."""
    return record.not_before is not None or (record.manual is not None and record.manual.not_before is not None)


def _has_come(record: JobRecord, now: datetime) -> bool:
    return not record.paused and record.next_run is not None and record.next_run <= now


def is_after(due: Due, start: Entry | None) -> bool:
    """Whether this belongs on a page that begins behind `start`."""
    return start is None or place_of(due) > start
