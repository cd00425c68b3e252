"""
The jobs that a storage has lately seen or written, so that they need not be read, or decoded, anew.

Whether a job still is as it was, the medium says when it is written, or asked for: nothing here is trusted by itself.
"""

from collections.abc import Iterable, Mapping
from typing import Generic

from .sheet import Row, Stored

_MOST = 10_000


class Memory(Generic[Row]):
    """Jobs up to a bound; the oldest make room for the newest. What is taken out is the taker's, to change at will."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._jobs: dict[str, Stored[Row]] = {}

    def note(self, jobs: Mapping[str, Stored[Row]]) -> None:
        """Remember jobs that nobody else is going to change."""
        mine = self._jobs
        for job_id, stored in jobs.items():
            mine.pop(job_id, None)
            mine[job_id] = stored
        while len(mine) > self._most:
            del mine[next(iter(mine))]

    def take(self, job_ids: Iterable[str]) -> dict[str, Stored[Row]]:
        """Return those of the jobs that are remembered, and remember them no more: they will be others soon."""
        mine = self._jobs
        return {job_id: mine.pop(job_id) for job_id in job_ids if job_id in mine}

    def keep_held(self) -> None:
        """Remember only those that somebody holds."""
        self._jobs = {job_id: stored for job_id, stored in self._jobs.items() if stored.kept.lock is not None}

    def clear(self) -> None:
        """Remember nothing."""
        self._jobs.clear()
