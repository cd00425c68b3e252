"""
Runs that outlast their own schedule: nothing else would be heard of one that hangs, until it ends.
"""

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta

from ..policies import Overlap
from .run import Run

_logger = logging.getLogger("chrono_async")

_WHAT_BECOMES = {Overlap.SKIP: "is passed over", Overlap.QUEUE: "waits until it ends"}


def tell_of_overruns(runs: Iterable[Run], now: datetime, patience: timedelta) -> None:
    """Log, once of each run, that it has gone on for longer than `patience` and that its job has come due meanwhile."""
    for run in runs:
        if run.started is None or run.is_overrun or now - run.started < patience:
            continue
        if run.moves_pointer and run.job.policies.overlap in _WHAT_BECOMES and _has_come_due(run, now):
            run.is_overrun = True
            _logger.warning(
                "job %r has been running since %s, and what comes due meanwhile %s",
                run.job.id,
                run.started,
                _WHAT_BECOMES[run.job.policies.overlap],
            )


def _has_come_due(run: Run, now: datetime) -> bool:
    try:
        following = run.job.schedule.next(run.fire_time)
    except Exception:  # noqa: BLE001 - a schedule of a user's own; it is told of where the run ends
        return False
    return following is not None and following <= now
