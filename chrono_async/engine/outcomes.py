"""
What is to be written of a run: how it ended, where the pointer goes, what it overlapped. Values from values.
"""

import asyncio
import logging
from datetime import datetime

from ..claims import Outcome, PointerMove
from ..errors import describe
from ..models import JobStatus, RunRecord, RunStatus
from ..policies import Move, move_after_run
from .run import Run

_logger = logging.getLogger("chrono_async")


def outcome_of(run: Run, error: BaseException | None, finished: datetime, instance_id: str) -> Outcome:
    """Return the outcome of a run that ends so, now."""
    row = row_of(run, error, finished, instance_id)
    if not run.moves_pointer:
        return Outcome(run.lease, row, None)
    move = _move(run, finished)
    skipped = None
    if move.skipped is not None:
        skipped = RunRecord(run.job.id, move.skipped.first, RunStatus.SKIPPED, instance_id, missed=move.skipped)
    pointer = PointerMove(run.expected, run.revision, move.next_run, move.queued, run.at_most_once)
    return Outcome(run.lease, row, pointer, skipped)


def way_back(run: Run) -> PointerMove | None:
    """Say where the pointer goes if the run is given back and its claim has moved it; None if that has not."""
    if not run.at_most_once or run.manual:
        return None
    return PointerMove(run.expected, run.revision, run.fire_time, is_counted=True)


def row_of(run: Run, error: BaseException | None, finished: datetime, instance_id: str) -> RunRecord:
    """Return the run's row of the history."""
    return RunRecord(  # by position: names cost twice as much, and every run pays
        run.job.id,
        run.fire_time,
        _ROW_STATUS[status_of(error)],
        instance_id,
        run.attempt,
        run.lease.token,
        run.manual,
        run.started,
        finished,
        "" if error is None else describe(error),
        run.tries - 1 if run.tries else 0,
        run.missed,
    )


def status_of(error: BaseException | None) -> JobStatus:
    """Say what a run came to."""
    if error is None:
        return JobStatus.COMPLETED
    return JobStatus.CANCELLED if isinstance(error, asyncio.CancelledError) else JobStatus.FAILED


_ROW_STATUS = {
    JobStatus.COMPLETED: RunStatus.COMPLETED,
    JobStatus.CANCELLED: RunStatus.CANCELLED,
    JobStatus.FAILED: RunStatus.FAILED,
}


def _move(run: Run, finished: datetime) -> Move:
    """Say where the pointer goes: nowhere any more, if a schedule of a user's own fails; and that is told."""
    try:
        return move_after_run(run.job.schedule, run.fire_time, run.claimed_at, finished, run.job.policies.overlap)
    except Exception:
        _logger.exception("the schedule of job %r failed; the job has no next run", run.job.id)
        return Move(None)
