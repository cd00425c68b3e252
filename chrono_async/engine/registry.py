"""
The jobs that this instance has functions for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ..errors import ScheduleError
from ..models import JobRecord
from ..options import JobFunc, LocalOptions
from ..policies import Policies
from ..schedules import Schedule, WindowedSchedule, dump, is_ours, load


@dataclass(slots=True)
class LocalJob:
    """A job's function, and what running it needs to know."""

    id: str
    func: JobFunc
    is_async: bool
    schedule: Schedule
    options: LocalOptions
    policies: Policies
    grace: timedelta
    is_parallel: bool
    """Whether its runs may overlap each other."""
    at_most_once: bool
    has_callbacks: bool
    revision: int = -1
    """Of the stored schedule that it goes by; less than any as long as it goes by none."""

    def adopt(self, record: JobRecord) -> None:
        """
        Go by the schedule in the record: somebody has rescheduled the job, or had bound it before.

        `ScheduleError` if it cannot be read here; nothing is changed then.
        """
        if record.schedule is not None:
            self.schedule = self._read(record.schedule.bound)
        self.revision = record.revision

    def _read(self, bound: str) -> Schedule:
        stored = load(bound)
        if stored is not None:
            return stored
        if bound != dump(as_given(self.schedule)):
            raise ScheduleError(f"{bound!r} is someone's own and lives in another process")
        return self.schedule


def held_to_its_word(schedule: Schedule) -> Schedule:
    """Return `schedule`, with the answers of one that is not ours checked: within its window, which stays in sight."""
    if isinstance(schedule, WindowedSchedule):
        return _around(schedule, held_to_its_word(schedule.schedule))
    return schedule if is_ours(schedule) or isinstance(schedule, CheckedSchedule) else CheckedSchedule(schedule)


def as_given(schedule: Schedule) -> Schedule:
    """Return what `held_to_its_word` was given."""
    if isinstance(schedule, WindowedSchedule):
        return _around(schedule, as_given(schedule.schedule))
    return schedule.inner if isinstance(schedule, CheckedSchedule) else schedule


def _around(window: WindowedSchedule, schedule: Schedule) -> WindowedSchedule:
    """Return the window, around `schedule`."""
    return window if schedule is window.schedule else window.model_copy(update={"schedule": schedule})


class CheckedSchedule:
    """A user's own schedule, held to its word: aware answers, strictly later than what was asked."""

    __slots__ = ("inner",)

    def __init__(self, inner: Schedule) -> None:
        self.inner: Schedule = inner

    def next(self, after: datetime) -> datetime | None:
        """Ask the user's schedule; `ScheduleError` for an answer that no schedule may give."""
        moment = self.inner.next(after)
        if moment is None:
            return None
        if not _is_aware(moment):
            raise ScheduleError(f"{self.inner!r}.next({after}) answered {moment!r}, which is no aware datetime")
        if moment.astimezone(UTC) <= after:
            raise ScheduleError(f"{self.inner!r}.next({after}) answered {moment}, which is not later")
        return moment

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)  # previous: what it has besides


def _is_aware(moment: object) -> bool:
    return isinstance(moment, datetime) and moment.utcoffset() is not None


class Registry:
    """Jobs by id."""

    def __init__(self) -> None:
        self._jobs: dict[str, LocalJob] = {}
        self._ids: frozenset[str] | None = None

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._jobs

    def __iter__(self) -> Iterator[LocalJob]:
        return iter(self._jobs.values())

    def __len__(self) -> int:
        return len(self._jobs)

    def get(self, job_id: str) -> LocalJob | None:
        """Return the job, if its function lives here."""
        return self._jobs.get(job_id)

    def add(self, job: LocalJob) -> None:
        """Add the job, or replace the one of the same id."""
        self._jobs[job.id] = job
        self._ids = None

    def remove(self, job_id: str) -> None:
        """Forget the job, if it is here."""
        self._ids = None
        self._jobs.pop(job_id, None)

    @property
    def ids(self) -> frozenset[str]:
        """The ids of all jobs here."""
        if self._ids is None:
            self._ids = frozenset(self._jobs)
        return self._ids

    @property
    def schedules(self) -> dict[str, Schedule]:
        """The schedules by the ids of their jobs, as their users gave them."""
        return {job.id: as_given(job.schedule) for job in self}
