"""
The jobs that one call concerns, read from a medium that keeps each of them by itself.

The rules work on a `Table` that holds these jobs and no others. What is different afterwards is to be written back,
each job on the condition that nobody else has written it since it was read: its version says so.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

from ...models import JobRecord, RunRecord
from .._table.history import History
from .._table.shelf import Lock, Moment
from .._table.table import Table

Row = TypeVar("Row")


class Kept(NamedTuple):
    """A job as a medium keeps it: its record, and beside it who holds it."""

    record: JobRecord | None
    """None where there is only a lock, which needs no record."""
    lock: Lock | None
    flights: dict[int, float]
    """By token, until when each flight is held, by the clock that locks end by."""


class Stored(NamedTuple, Generic[Row]):
    """A job as it was read."""

    version: int
    row: Row
    """As the medium has it, to tell whether anything has changed."""
    kept: Kept


class Change(NamedTuple, Generic[Row]):
    """What a call made of a job."""

    job_id: str
    version: int
    """The one that was read; 0 where nothing was there."""
    row: Row | None
    """As it is to be kept from now on; None where it is to be forgotten."""
    runs: Sequence[RunRecord]
    """Rows for the history, to be added together with the change or not at all."""
    kept: Kept | None = None
    """What `row` says, for whoever has no more use for the sheet."""
    before: Row | None = None
    """The row that was read: so a medium can write only what is different."""


class Floors(NamedTuple):
    """What tokens and revisions have come to in jobs that are gone: a job of the same id goes on from there."""

    token: int = 0
    revision: int = 0


class Sheet(Generic[Row]):
    """A table of some jobs, and what they were before."""

    def __init__(
        self,
        at: Moment,
        stored: Mapping[str, Stored[Row]],
        encode: Callable[[str, Kept], Row],
        *,
        floors: Floors = Floors(),  # noqa: B008  # it is immutable
        history: Iterable[RunRecord] = (),
        unreadable: Collection[str] = (),
    ) -> None:
        self.at = at
        self.table: Table = Table()
        self.table.unreadable = unreadable
        self._stored, self._encode, self._floors = stored, encode, floors
        self.table.token_floor, self.table.revision_floor = floors
        self.table.history = self._history = _Added(history)
        for job_id, found in stored.items():
            self._lay_out(job_id, found.kept)

    def _lay_out(self, job_id: str, kept: Kept) -> None:
        table = self.table
        if kept.record is not None:
            table.records[job_id] = kept.record
        if kept.lock is not None:
            table.locks[job_id] = kept.lock
        for token, until in kept.flights.items():
            table.flights[job_id, token] = until

    @property
    def floors(self) -> Floors | None:
        """The floors, if they have risen."""
        floors = Floors(self.table.token_floor, self.table.revision_floor)
        return None if floors == self._floors else floors

    def changes(self, job_ids: Iterable[str]) -> list[Change[Row]]:
        """Return what has become of these jobs, where it is something else, or has a row for the history."""
        runs: dict[str, list[RunRecord]] = {}
        for run in self._history.rows:
            runs.setdefault(run.job_id, []).append(run)
        changed = [self._change(job_id, runs.get(job_id, ())) for job_id in job_ids]
        return [change for change in changed if change is not None]

    def _change(self, job_id: str, runs: Sequence[RunRecord]) -> Change[Row] | None:
        before, kept = self._stored.get(job_id), self._kept(job_id)
        row = None if kept is None else self._encode(job_id, kept)
        if before is None:
            return None if row is None else Change(job_id, 0, row, runs, kept)
        same = row == before.row and not runs
        return None if same else Change(job_id, before.version, row, runs, kept, before.row)

    def _kept(self, job_id: str) -> Kept | None:
        """Return what is to be kept of a job: nothing of one that has neither a record nor a lock."""
        record, lock = self.table.records.get(job_id), self.table.locks.get(job_id)
        if record is None:
            return None if lock is None or lock.until <= self.at.boot else Kept(None, lock, {})
        return Kept(record, lock, self._flights(record) if record.flights else {})

    def _flights(self, record: JobRecord) -> dict[int, float]:
        return {flight.token: self.table.flights.get((record.id, flight.token), 0.0) for flight in record.flights}


class _Added(History):
    """The rows that are added, behind those that were there: the medium has the bounds, and is to be given all."""

    __slots__ = ("rows",)

    def __init__(self, before: Iterable[RunRecord]) -> None:
        super().__init__(_ALL, _ALL)
        for row in before:
            super().add(row)
        self.rows: list[RunRecord] = []

    def add(self, row: RunRecord, written: datetime | None = None) -> None:
        """Add a row to those that are to be written."""
        self.rows.append(row)

    def of(self, job_id: str) -> Iterator[RunRecord]:
        """Yield the job's rows, the newest first."""
        yield from (row for row in reversed(self.rows) if row.job_id == job_id)
        yield from super().of(job_id)


_ALL = 1_000_000
"""More rows than anybody reads."""
