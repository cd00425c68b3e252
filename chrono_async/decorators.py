"""
Jobs declared where their functions are written: `@s.cron("0 8 * * 1-5")`.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal, TypeVar, Unpack

from .durations import Duration
from .engine import Declarations, delayed_or_at, read_job
from .errors import ScheduleError
from .options import JobOptions
from .schedules import CronSchedule, IntervalSchedule, Schedule

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


def no_schedule(given: T, verb: str) -> T:
    """Return what a schedule is to be made of; `ScheduleError` if it is one already, which another verb takes."""
    if isinstance(given, Schedule):
        raise ScheduleError(f"{given!r}: that is a schedule: use {verb}")
    return given


class JobDecorators:
    """
    The decorators of a scheduler. Each hands the function back unchanged.

    Used at any time: before the start the job waits for it, afterwards the running loop registers it. Id and name
    default to the function's. The same function again, as when a notebook cell is run again, replaces its job; one that
    a loop or a factory makes again does not, and needs an id of its own.
    """

    _declarations: Declarations

    @property
    def is_running(self) -> bool:
        """Whether the scheduler was started and nobody has asked it to stop."""
        raise NotImplementedError

    def cron(
        self,
        expr: str,
        *,
        id: str | None = None,
        name: str | None = None,
        timezone: str | None = None,
        day_match: Literal["either", "both"] = "either",
        dialect: Literal["standard", "extended"] = "standard",
        **options: Unpack[JobOptions],
    ) -> Callable[[F], F]:
        """Run the function by a cron expression, in `timezone` or the scheduler's."""
        schedule = CronSchedule(no_schedule(expr, "job"), timezone=timezone, day_match=day_match, dialect=dialect)
        return self._decorator(schedule, id, name, options)

    def interval(
        self,
        every: Duration,
        *,
        id: str | None = None,
        name: str | None = None,
        **options: Unpack[JobOptions],
    ) -> Callable[[F], F]:
        """Run the function every so often, on a grid that starts with its registration or at `start_at`."""
        return self._decorator(IntervalSchedule(no_schedule(every, "job")), id, name, options)

    def one_shot(
        self,
        delay: Duration | None = None,
        *,
        at: datetime | None = None,
        id: str | None = None,
        name: str | None = None,
        **options: Unpack[JobOptions],
    ) -> Callable[[F], F]:
        """Run the function once: after `delay`, counted from its registration, or `at` an instant."""
        return self._decorator(delayed_or_at(no_schedule(delay, "job"), at), id, name, options)

    def job(
        self,
        schedule: Schedule,
        *,
        id: str | None = None,
        name: str | None = None,
        **options: Unpack[JobOptions],
    ) -> Callable[[F], F]:
        """Run the function by any schedule."""
        return self._decorator(schedule, id, name, options)

    def _decorator(
        self, schedule: Schedule, job_id: str | None, name: str | None, options: JobOptions
    ) -> Callable[[F], F]:
        def declare(func: F) -> F:
            own_name = getattr(func, "__name__", type(func).__name__)
            as_id, as_name = (own_name if given is None else given for given in (job_id, name))
            new = read_job(as_id, as_name, func, schedule, options)
            self._declarations.declare(new, is_running=self.is_running)
            return func

        return declare
