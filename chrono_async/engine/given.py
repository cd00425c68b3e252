"""
What users hand in, checked before anything is asked of the storage.
"""

from datetime import datetime
from typing import NamedTuple

from ..counts import to_count
from ..durations import Duration
from ..errors import EmptyJobIDError, ScheduleError
from ..options import JobFunc, JobOptions, ReadOptions, check_func, read_options
from ..schedules import OneShotSchedule, Schedule

_MOST_ROWS = 2**31 - 1


class NewJob(NamedTuple):
    """A job as a user gave it, checked."""

    id: str
    name: str
    func: JobFunc
    schedule: Schedule
    options: ReadOptions


def read_job(job_id: str, name: str, func: JobFunc, schedule: Schedule, options: JobOptions) -> NewJob:
    """Check what a user gave; nothing is changed yet."""
    check_text(name, "a job's name")
    if not check_text(job_id, "a job's id"):
        raise EmptyJobIDError
    read = read_options(options)
    return NewJob(job_id, name, check_func(func, read.local), check_schedule(schedule), read)


def check_text(text: object, what: str) -> str:
    """Return what has to be text, before a storage is asked that would call it a failure of its own."""
    if not isinstance(text, str):
        raise TypeError(f"{what} must be a string, not {text!r}")
    return text


def to_rows(number: object, option: str) -> int:
    """Return a number of rows, so large at most that every storage can count them."""
    return min(to_count(number, option), _MOST_ROWS)


def delayed_or_at(delay: Duration | None, at: datetime | None) -> OneShotSchedule:
    """Return the schedule of a job that runs once; `ScheduleError` if it is not clear when."""
    if delay is not None and at is not None:
        raise ScheduleError(f"delay={delay!r}, at={at!r}: give one of them")
    return OneShotSchedule(delay, at=at)


def check_schedule(schedule: Schedule) -> Schedule:
    """Return what has to be a schedule."""
    if isinstance(schedule, str):
        raise ScheduleError(
            f"{schedule!r} is no schedule; if it is a cron expression, write CronSchedule({schedule!r})"
        )
    if isinstance(schedule, type) or not callable(getattr(schedule, "next", None)):
        raise ScheduleError(f"{schedule!r} is no schedule; it needs a method next(after)")
    return schedule
