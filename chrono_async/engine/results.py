"""
The latest results of this instance, and who waits for one.
"""

import asyncio
from collections import deque
from typing import NamedTuple

from ..models import JobResult
from .run import Run

_RECENT = 200
_FAILED = 10  # an error keeps all that its function had in its hands


class _Waiter(NamedTuple):
    run_id: str | None
    future: asyncio.Future[JobResult]


class Results:
    """A run that has succeeded is kept raw: its result is only built for somebody who asks."""

    def __init__(self) -> None:
        self._recent: deque[Run] = deque(maxlen=_RECENT)
        self._failed: deque[JobResult] = deque(maxlen=_FAILED)
        self._waiters: dict[str, list[_Waiter]] = {}

    def note(self, run: Run) -> None:
        """Take in a run that is settled, and tell those who wait for its job."""
        if run.error is None:
            self._recent.append(run)
        else:
            self._failed.append(run.result())
        if run.job.id in self._waiters:
            self._tell(run)

    def fail(self, job_id: str, error: Exception) -> None:
        """Tell those who wait for this job that there is nothing to wait for."""
        for waiter in self._waiters.pop(job_id, ()):
            if not waiter.future.done():
                waiter.future.set_exception(error)

    def find(self, job_id: str, run_id: str) -> JobResult | None:
        """Return the result of one of the job's runs, if it is still known."""
        for failed in self._failed:
            if failed.job_id == job_id and failed.run_id == run_id:
                return failed
        for run in reversed(self._recent):
            if run.job.id == job_id and run.run_id == run_id:
                return run.result()
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
