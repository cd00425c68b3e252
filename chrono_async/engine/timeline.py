"""
The instance's heap of what comes due within the horizon.

A job has at most one entry. A replaced or disarmed entry stays in the heap until its time comes, or until such entries
outnumber the living ones by far.
"""

from collections.abc import Callable
from datetime import datetime
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from ..models import Due


class Entry(NamedTuple):
    """A place on the timeline. `order` makes equal deadlines first come, first served."""

    deadline: datetime
    order: int
    due: Due


class Timeline:
    """The next deadlines, the earliest first."""

    def __init__(self, on_earlier: Callable[[], None]) -> None:
        self._heap: list[Entry] = []
        self._current: dict[str, Entry] = {}
        self._order = 0
        self._on_earlier = on_earlier

    def __len__(self) -> int:
        return len(self._current)

    def arm(self, due: Due, deadline: datetime) -> None:
        """Put the job at `deadline`, in place of where it was. A new earliest deadline is told to whoever sleeps."""
        before = self._current.get(due.job_id)
        if before is not None and before.due == due and before.deadline == deadline:
            return
        self._order += 1
        entry = Entry(deadline, self._order, due)
        self._current[due.job_id] = entry
        heappush(self._heap, entry)
        if self._heap[0] is entry:
            self._on_earlier()
        if before is not None:
            self._compact()

    def disarm(self, job_id: str) -> None:
        """Forget the job's entry, if it has one."""
        if self._current.pop(job_id, None) is not None:
            self._compact()

    def clear(self) -> None:
        """Forget everything."""
        self._heap.clear()
        self._current.clear()

    def next_deadline(self) -> datetime | None:
        """Return the earliest deadline, if there is any."""
        heap = self._heap
        while heap and self._current.get(heap[0].due.job_id) is not heap[0]:
            heappop(heap)
        return heap[0].deadline if heap else None

    def pop_due(self, now: datetime) -> list[Due]:
        """Take off what is due, in the order of the deadlines."""
        found, heap, current = [], self._heap, self._current
        while heap and heap[0].deadline <= now:
            entry = heappop(heap)
            job_id = entry.due.job_id
            if current.get(job_id) is entry:
                del current[job_id]
                found.append(entry.due)
        return found

    def _compact(self) -> None:
        if len(self._heap) > 2 * len(self._current) + 64:
            self._heap = list(self._current.values())
            heapify(self._heap)
