"""
The latest runs of each job, kept to a bound for each, a bound for all, and an age.
"""

from collections import OrderedDict
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice

from ...models import RunRecord

_SWEPT = 1000
"""How many rows are looked at for their age at a time."""

_Entry = tuple[RunRecord, datetime | None]
"""A row, and when it was written, where that is known."""


class History:
    """Rows by the order of their coming. The oldest of a job makes room for its newest, the oldest of all for any."""

    __slots__ = ("_age", "_next", "_of_job", "_per_job", "_rows", "_total")

    def __init__(self, per_job: int = 20, total: int = 50_000, age: timedelta | None = None) -> None:
        self._per_job, self._total, self._age = per_job, total, age
        self._rows: OrderedDict[int, _Entry] = OrderedDict()
        self._of_job: dict[str, list[int]] = {}
        self._next = 0

    def add(self, row: RunRecord, written: datetime | None = None) -> None:
        """Keep a row; one of which it is not known when it was written has no age."""
        number = self._next
        self._next = number + 1
        self._rows[number] = (row, written)
        numbers = self._of_job.get(row.job_id)
        if numbers is None:
            self._of_job[row.job_id] = [number]
        else:
            numbers.append(number)
        if numbers is not None and len(numbers) > self._per_job:
            del self._rows[numbers.pop(0)]
        elif len(self._rows) > self._total or not self._per_job:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, (row, _) = self._rows.popitem(last=False)
        numbers = self._of_job[row.job_id]
        del numbers[0]
        if not numbers:
            del self._of_job[row.job_id]

    def sweep(self, now: datetime) -> None:
        """Forget those of the oldest rows that are too old, whatever the clock was when others were written."""
        try:
            moment = None if self._age is None else now - self._age
        except OverflowError:  # for ever
            moment = None
        if moment is None:
            return
        for number, (row, written) in list(islice(self._rows.items(), _SWEPT)):
            if written is not None and written < moment:
                self._drop(number, row.job_id)

    def _drop(self, number: int, job_id: str) -> None:
        del self._rows[number]
        numbers = self._of_job[job_id]
        numbers.remove(number)
        if not numbers:
            del self._of_job[job_id]

    def latest(self, job_id: str | None, limit: int, offset: int = 0) -> list[RunRecord]:
        """Return the newest rows after the first `offset`, of one job or of all, the newest first."""
        start = max(0, offset)
        rows = self._rows
        entries = reversed(rows.values()) if job_id is None else (rows[number] for number in self._numbers_of(job_id))
        return [row for row, _ in islice(entries, start, start + max(0, limit))]

    def _numbers_of(self, job_id: str) -> Iterator[int]:
        return reversed(self._of_job.get(job_id, ()))

    def of(self, job_id: str) -> Iterator[RunRecord]:
        """Yield the job's rows, the newest first."""
        return (self._rows[number][0] for number in self._numbers_of(job_id))

    def __iter__(self) -> Iterator[RunRecord]:
        return (row for row, _ in self._rows.values())

    def entries(self) -> Iterator[_Entry]:
        """Yield each row with the moment at which it was written."""
        return iter(self._rows.values())

    def holds(self, row: RunRecord) -> bool:
        """Whether this very row has been kept."""
        return any(row == other for other in self.of(row.job_id))

    def latest_manual(self, job_id: str) -> datetime | None:
        """Return the latest fire time of the manual runs that are remembered."""
        return max((row.fire_time for row in self.of(job_id) if row.manual), default=None)
