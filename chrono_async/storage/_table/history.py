"""
The latest runs of each job, kept to a bound for each and a bound for all.
"""

from collections import OrderedDict
from collections.abc import Iterator
from datetime import datetime
from itertools import islice

from ...models import RunRecord


class History:
    """Rows by the order of their coming. The oldest of a job makes room for its newest, the oldest of all for any."""

    __slots__ = ("_next", "_of_job", "_per_job", "_rows", "_total")

    def __init__(self, per_job: int = 20, total: int = 50_000) -> None:
        self._per_job, self._total = per_job, total
        self._rows: OrderedDict[int, RunRecord] = OrderedDict()
        self._of_job: dict[str, list[int]] = {}
        self._next = 0

    def add(self, row: RunRecord) -> None:
        """Keep a row."""
        number = self._next
        self._next = number + 1
        self._rows[number] = row
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
        _, row = self._rows.popitem(last=False)
        numbers = self._of_job[row.job_id]
        del numbers[0]
        if not numbers:
            del self._of_job[row.job_id]

    @property
    def count(self) -> int:
        """How many rows have ever been added."""
        return self._next

    def since(self, count: int) -> list[RunRecord]:
        """Return the rows that were added after the first `count`."""
        return [row for number, row in self._rows.items() if number >= count]

    def latest(self, job_id: str | None, limit: int, offset: int = 0) -> list[RunRecord]:
        """Return the newest rows after the first `offset`, of one job or of all, the newest first."""
        start = max(0, offset)
        rows = reversed(self._rows.values()) if job_id is None else self._of(job_id)
        return list(islice(rows, start, start + max(0, limit)))

    def _of(self, job_id: str) -> Iterator[RunRecord]:
        return (self._rows[number] for number in reversed(self._of_job.get(job_id, ())))

    def __iter__(self) -> Iterator[RunRecord]:
        return iter(self._rows.values())

    def holds(self, row: RunRecord) -> bool:
        """Whether this very row has been kept."""
        return any(row == other for other in self._of(row.job_id))

    def latest_manual(self, job_id: str) -> datetime | None:
        """Return the latest fire time of the manual runs that are remembered."""
        return max((row.fire_time for row in self._of(job_id) if row.manual), default=None)
