"""
The latest results of this instance, and who waits for one.
"""

import asyncio
from collections import deque
from typing import NamedTuple

from ..models import JobResult
from .run import Run

_RECENT = 200


class _Waiter(NamedTuple):
    run_id: str | None
    future: asyncio.Future[JobResult]


class Results:
    """A run that has succeeded is kept raw: its result is only built for somebody who asks."""

    def __init__(self) -> None:
        self._recent: deque[Run | JobResult] = deque(maxlen=_RECENT)
        self._waiters: dict[str, list[_Waiter]] = {}

    def note(self, run: Run) -> None:
        """Take in a run that is settled, and tell those who wait for its job."""
        self._recent.append(run if run.error is None else run.result())
        if run.job.id in self._waiters:
            self._tell(run)

    def fail(self, job_id: str, error: Exception) -> None:
        """Tell those who wait for this job that there is nothing to wait for."""
        for waiter in self._waiters.pop(job_id, ()):
            if not waiter.future.done():
                waiter.future.set_exception(error)

    def find(self, job_id: str, run_id: str | None) -> JobResult | None:
        """Return the job's latest result that is still known, or that of one of its runs."""
        for ended in reversed(self._recent):
            if ended.job_id == job_id and run_id in {None, ended.run_id}:
                return ended.result() if isinstance(ended, Run) else ended
        return None

    async def next(self, job_id: str, run_id: str | None = None) -> JobResult:
        """Wait for the job's next result, or for that of one of its runs."""
        waiter = _Waiter(run_id, asyncio.get_running_loop().create_future())
        waiters = self._waiters.setdefault(job_id, [])
        waiters.append(waiter)
        try:
            return await waiter.future
        finally:
            if waiter in waiters:
                waiters.remove(waiter)
            if not waiters and self._waiters.get(job_id) is waiters:
                del self._waiters[job_id]

    def _tell(self, run: Run) -> None:
        for waiter in self._waiters[run.job.id]:
            if not waiter.future.done() and waiter.run_id in {None, run.run_id}:
                waiter.future.set_result(run.result())
