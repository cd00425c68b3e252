"""
Waiting for a result, wherever the run is.

This instance's own results are told at once. Those of other instances are in the history, which is looked at as often
as the poller looks; and once a second where a run is waited for by its name, since its row may not stay for long.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from ..errors import RemoteRunError, RunNotFoundError
from ..models import JobRecord, JobResult, JobStatus, RunRecord, RunStatus
from ..models import run_id as name_of
from .state import State

_STATUS = {
    RunStatus.COMPLETED: JobStatus.COMPLETED,
    RunStatus.FAILED: JobStatus.FAILED,
    RunStatus.CANCELLED: JobStatus.CANCELLED,
}
_LOOK_AGAIN = 1.0
_LATEST = 20
_PAGE = 1000


class _Named(NamedTuple):
    """A run, as its name tells of it."""

    run_id: str
    fire_time: datetime
    manual: bool


class _Wanted(NamedTuple):
    """What is waited for: the run of this name, or whatever ends next."""

    job_id: str
    run: _Named | None
    since: datetime


async def wait_for_result(state: State, job_id: str, run_id: str | None, timeout: timedelta | None) -> JobResult:
    """Return the result of the job's next run, or of the one named; the last one, if no more are to come."""
    known = None if run_id is None else state.results.find(job_id, run_id)
    if known is not None:
        return known
    wanted = _Wanted(job_id, None if run_id is None else _read_name(job_id, run_id), state.time.now())
    if timeout is None:
        return await _wait(state, wanted)
    return await (_wait_patiently(state, wanted, timeout) if timeout else _look_once(state, wanted))


async def _look_once(state: State, wanted: _Wanted) -> JobResult:
    """Return what there is already: as long as the storage takes to say so is not counted."""
    found = await _look_around(state, wanted)
    if found is None:
        raise _out_of_time(wanted, timedelta(0))
    return found


async def _wait_patiently(state: State, wanted: _Wanted, timeout: timedelta) -> JobResult:
    try:
        async with asyncio.timeout(timeout / timedelta(seconds=1)) as limit:
            return await _wait(state, wanted)
    except TimeoutError:
        if not limit.expired():
            raise
        raise _out_of_time(wanted, timeout) from None


def _out_of_time(wanted: _Wanted, timeout: timedelta) -> TimeoutError:
    return TimeoutError(f"job {wanted.job_id!r} has come to no such result within {timeout.total_seconds():g} s")


def _read_name(job_id: str, run_id: str) -> _Named:
    """Read what `run_id` of the models writes."""
    try:
        fire_time = datetime.fromisoformat(run_id.removeprefix(f"{job_id}@").removesuffix("!"))
    except ValueError:
        raise RunNotFoundError(job_id, run_id) from None
    named = _Named(run_id, fire_time, run_id.endswith("!"))
    if fire_time.tzinfo is not UTC or name_of(job_id, fire_time, manual=named.manual) != run_id:
        raise RunNotFoundError(job_id, run_id)
    return named


async def _wait(state: State, wanted: _Wanted) -> JobResult:
    interval = state.settings.poll_interval / timedelta(seconds=1)
    run_id = None if wanted.run is None else wanted.run.run_id
    next_result = asyncio.ensure_future(state.results.next(wanted.job_id, run_id))
    try:
        while True:
            found = await _look_around(state, wanted)
            if found is not None:
                return found
            await asyncio.wait([next_result], timeout=interval if run_id is None else min(interval, _LOOK_AGAIN))
            if next_result.done():
                return await next_result
    finally:
        next_result.cancel()


async def _look_around(state: State, wanted: _Wanted) -> JobResult | None:
    """Look for the run in the history; and for any at all, if the job has run its course."""
    job_id, run, since = wanted
    is_here = run is not None and any(mine.run_id == run.run_id for mine in state.runs.of(job_id))
    record = await state.door.ask(state.door.storage.get_job(job_id), reads=True)
    is_finished = record.next_run is None and record.owner is None and not (record.triggered or record.manual)
    for row in await _rows(state, job_id, limit=_LATEST):
        told = _told(row)
        if told is None:
            continue
        if run is not None:
            is_wanted = row.run_id == run.run_id
        else:
            is_new = told.finished > since and row.instance_id != state.settings.instance_id
            is_wanted = is_new or (is_finished and record.run_count > 0)
        if is_wanted:
            return state.results.find(job_id, row.run_id) or told
    if run is None or is_here or not _is_over(record, run):
        return None
    told = await _look_back(state, job_id, run.run_id)
    known = state.results.find(job_id, run.run_id) or told  # it may have ended meanwhile
    if known is None:
        raise RunNotFoundError(job_id, run.run_id)
    return known


async def _look_back(state: State, job_id: str, run_id: str) -> JobResult | None:
    """Look for a run that is over beyond the latest rows. New ones move these back: none is passed over."""
    offset = _LATEST
    while rows := await _rows(state, job_id, limit=_PAGE, offset=offset):
        for told in map(_told, rows):
            if told is not None and told.run_id == run_id:
                return told
        offset += len(rows)
    return None


async def _rows(state: State, job_id: str, *, limit: int, offset: int = 0) -> list[RunRecord]:
    call = state.door.storage.list_runs(job_id, limit=limit, offset=offset)
    return await state.door.ask(call, reads=True)


def _is_over(record: JobRecord, run: _Named) -> bool:
    """Whether the job has nothing more to do with this run: it neither waits nor goes on."""
    if any((flight.fire_time, flight.manual) == (run.fire_time, run.manual) for flight in record.flights):
        return False
    if run.manual:
        return all(waits is None or waits.at != run.fire_time for waits in (record.triggered, record.manual))
    return record.running != run.fire_time and (record.next_run is None or record.next_run > run.fire_time)


def _told(row: RunRecord) -> JobResult | None:
    """Make a result of a row that another instance wrote; None of one that tells of no end."""
    if row.status not in _STATUS or row.finished is None:
        return None
    error = RemoteRunError(row.error) if row.error else None
    started = row.started or row.finished
    return JobResult(
        row.job_id, row.run_id, row.fire_time, started, row.finished, _STATUS[row.status], error, row.retry_count
    )
