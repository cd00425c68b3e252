"""
Waiting for a result, wherever the run is.

This instance's own results are told at once. Those of other instances are in the history, which is looked at as often
as the poller looks.
"""

import asyncio
from datetime import datetime, timedelta

from ..errors import RemoteRunError
from ..models import JobResult, JobStatus, RunRecord, RunStatus
from .state import State

_STATUS = {
    RunStatus.COMPLETED: JobStatus.COMPLETED,
    RunStatus.FAILED: JobStatus.FAILED,
    RunStatus.CANCELLED: JobStatus.CANCELLED,
}


async def wait_for_result(state: State, job_id: str, run_id: str | None, timeout: timedelta | None) -> JobResult:
    """Return the result of the job's next run, or of the one named; the last one, if no more are to come."""
    known = None if run_id is None else state.results.find(job_id, run_id)
    if known is not None:
        return known
    async with asyncio.timeout(None if timeout is None else timeout / timedelta(seconds=1)):
        return await _wait(state, job_id, run_id, since=state.time.now())


async def _wait(state: State, job_id: str, run_id: str | None, since: datetime) -> JobResult:
    next_result = asyncio.ensure_future(state.results.next(job_id, run_id))
    try:
        while True:
            found = await _look_around(state, job_id, run_id, since)
            if found is not None:
                return found
            await asyncio.wait([next_result], timeout=state.settings.poll_interval / timedelta(seconds=1))
            if next_result.done():
                return await next_result
    finally:
        next_result.cancel()


async def _look_around(state: State, job_id: str, run_id: str | None, since: datetime) -> JobResult | None:
    """Look for the run in the history; and for any at all, if the job has run its course."""
    record = await state.door.ask(state.door.storage.get_job(job_id))
    is_finished = record.next_run is None and record.owner is None and not (record.triggered or record.manual)
    for row in await state.door.ask(state.door.storage.list_runs(job_id, limit=20)):
        if row.status not in _STATUS or row.finished is None:
            continue
        is_new = row.finished > since and row.instance_id != state.settings.instance_id
        if row.run_id == run_id if run_id is not None else is_new or (is_finished and record.run_count):
            return state.results.find(job_id, row.run_id) or _told(row, row.finished)
    return None


def _told(row: RunRecord, finished: datetime) -> JobResult:
    """Make a result of a row that another instance wrote."""
    error = RemoteRunError(row.error) if row.error else None
    started = row.started or finished
    return JobResult(
        row.job_id, row.run_id, row.fire_time, started, finished, _STATUS[row.status], error, row.retry_count
    )
