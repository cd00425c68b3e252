"""
`Overlap.CANCEL_RUNNING`: a fire time that comes while its job's own run is going takes that run's place.

When that is can be told from the schedule; whether it is still so, only by the record: the job may have been paused,
resumed or rescheduled by anybody since, and of a paused job there is no fire time. So the record is read when the
moment has come, and no run is cancelled while the storage does not answer: the new one could not be claimed either.
"""

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from ..errors import JobNotFoundError, StorageError
from ..models import Due, JobRecord
from .planner import deadline
from .registry import LocalJob
from .run import Run, Why
from .state import State

_logger = logging.getLogger("chrono_async")

_AT_ONCE = 16
"""How many records are asked for at a time."""


class Preemption:
    """Cancels runs for the sake of later ones. The run loop's own: so no run begins while it waits for an answer."""

    def __init__(self, state: State) -> None:
        self._state = state

    def expect(self, job: LocalJob, due: Due) -> None:
        """See when a fire time overtakes the run that has just begun; one that has come already, at the next turn."""
        if self.has_come(job, due):
            self._state.arm_later(due, timedelta(0))

    def has_come(self, job: LocalJob, due: Due) -> bool:
        """Whether, by the schedule, a fire time has come since the claim of the job's run; if not, look again then."""
        return self._has_come(job, due, _next_of(job, _claimed(self._state.runs.of(job.id))))

    def _has_come(self, job: LocalJob, due: Due, upcoming: datetime | None) -> bool:
        if upcoming is None:
            return False
        interruption = due._replace(when=upcoming, next_run=upcoming, bound=None, trigger=None)
        at = deadline(job, interruption)
        if at <= self._state.time.now():
            return True
        self._state.timeline.arm(interruption, at)  # beyond the horizon too: the poller sees a lease only
        return False

    async def cancel(self, dues: Sequence[Due]) -> None:
        """Cancel the runs of those jobs whose time has come by their records too."""
        for first in range(0, len(dues), _AT_ONCE):
            asked = dues[first : first + _AT_ONCE]
            answered = await asyncio.gather(*map(self._cancel, asked))
            if not all(answered):
                left = [due for due, is_done in zip(asked, answered, strict=True) if not is_done]
                self._put_back([*left, *dues[first + _AT_ONCE :]])
                return

    def _put_back(self, dues: Sequence[Due]) -> None:
        pause = timedelta(seconds=self._state.door.pause())
        for due in dues:
            if self._state.runs.of(due.job_id):
                self._state.arm_later(due, pause)

    async def _cancel(self, due: Due) -> bool:
        """Cancel the job's run if its time has come, else look again when it may; whether the storage has answered."""
        state = self._state
        try:
            record = await state.door.ask(state.door.storage.get_job(due.job_id), reads=True)
        except JobNotFoundError:
            return True  # its lease is lost, which the next renewal will tell
        except StorageError:
            return False
        job, runs = state.registry.get(due.job_id), state.runs.of(due.job_id)
        if job is None or not runs:
            return True  # it has ended meanwhile
        upcoming = _upcoming(job, record, runs)
        if upcoming is None:
            self._has_come(job, due, _next_of(job, state.time.now()))
        elif self._has_come(job, due, upcoming):
            for run in tuple(runs):
                run.cancel(Why.OVERLAP)
        return True


def _claimed(runs: Sequence[Run]) -> datetime:
    """Return the moment after which a fire time overlaps the runs."""
    return max(max(run.claimed_at, run.fire_time) for run in runs)


def _upcoming(job: LocalJob, record: JobRecord, runs: Sequence[Run]) -> datetime | None:
    """Return the first fire time after the claim of the runs, as the job now stands, if there is one to be run."""
    pointer, claimed = record.next_run, _claimed(runs)
    if record.paused or pointer is None:
        return None
    if pointer > claimed:
        return pointer
    is_last = record.options.max_runs == record.scheduled_runs + 1 and any(map(_is_counted_at_its_end, runs))
    return None if is_last else _next_of(job, claimed)


def _is_counted_at_its_end(run: Run) -> bool:
    return run.moves_pointer and not run.at_most_once


def _next_of(job: LocalJob, after: datetime) -> datetime | None:
    """Ask the schedule; one of a user's own that fails has no next fire time, and harms no other job."""
    try:
        upcoming = job.schedule.next(after)
    except Exception:
        _logger.exception("the schedule of job %r failed; nothing interrupts its run", job.id)
        return None
    return None if upcoming is None else upcoming.astimezone(UTC)
