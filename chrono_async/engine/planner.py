"""
What to do about a job that is due: the rules of `policies`, applied to what this instance knows. Pure.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from ..claims import ClaimRequest
from ..models import Due, RunRecord, RunStatus
from ..policies import Missed, folded, jitter_offset, move_at_claim, resolve_backlog
from .registry import LocalJob


class Claim(NamedTuple):
    """Ask for the right to run."""

    job: LocalJob
    due: Due
    request: ClaimRequest
    missed: Missed | None = None


class Advance(NamedTuple):
    """Nothing is to run now: move the pointer past what was missed."""

    row: RunRecord
    next_run: datetime | None


def plan(job: LocalJob, due: Due, now: datetime, found: datetime, instance_id: str) -> Claim | Advance:
    """Decide about `due`, first found due at `found`, at the storage's time `now`."""
    if due.trigger is not None:
        request = ClaimRequest(due.job_id, due.next_run, due.trigger, due.revision, manual=True, frees=job.is_parallel)
        return Claim(job, due, request)
    if due.next_run is None:
        raise ValueError(f"job {due.job_id!r} is due without a fire time")
    if due.bound is not None:
        return Claim(job, due, _request(job, due, due.bound), folded(job.schedule, due.next_run, due.bound))
    offset = jitter_offset(job.id, due.next_run, job.policies.jitter)
    if offset:
        now, found = now - offset, found - offset
    backlog = resolve_backlog(job.schedule, due.next_run, now, job.policies, grace=job.grace, found=found)
    if backlog.run is not None:
        return Claim(job, due, _request(job, due, backlog.run), backlog.missed)
    row = RunRecord(job.id, due.next_run, RunStatus.MISSED, instance_id, missed=backlog.missed)
    return Advance(row, backlog.next_run)


def _request(job: LocalJob, due: Due, fire_time: datetime) -> ClaimRequest:
    if not job.at_most_once:
        return ClaimRequest(due.job_id, due.next_run, fire_time, due.revision)
    moves_to = move_at_claim(job.schedule, fire_time).next_run
    return ClaimRequest(
        due.job_id, due.next_run, fire_time, due.revision, moves=True, moves_to=moves_to, frees=job.is_parallel
    )


def deadline(job: LocalJob, due: Due) -> datetime:
    """Return when to act on `due`: its time, and the job's jitter, which never enters its identity."""
    if not job.policies.jitter or due.trigger is not None or due.next_run is None:
        return due.when
    return max(due.when, _later(due.next_run, jitter_offset(job.id, due.next_run, job.policies.jitter)))


def horizon_end(now: datetime, horizon: timedelta) -> datetime:
    """Return how far the timeline reaches."""
    return _later(now, horizon)


def _later(moment: datetime, length: timedelta) -> datetime:
    """Return `moment + length`, without falling off the end of the calendar."""
    try:
        return moment + length
    except OverflowError:
        return datetime.max.replace(tzinfo=moment.tzinfo)
