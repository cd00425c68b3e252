"""
What lies between two instants: the latest fire time, and how many there are.

A backlog of a week of seconds must not cost a walk over it, so both ask a schedule for its short cut and walk only
where there is none.
"""

from datetime import datetime
from itertools import islice

from .base import LAST, MICROSECOND, Schedule, occurrences, plus, to_utc
from .cron import CronSchedule
from .interval import IntervalSchedule
from .window import WindowedSchedule, grid_of


def latest(schedule: Schedule, after: datetime, until: datetime) -> datetime | None:
    """Return the latest fire time in `(after, until]`, or None if there is none."""
    if isinstance(schedule, WindowedSchedule):
        return latest(grid_of(schedule), *schedule.clip(after, until))
    anchored = getattr(schedule, "anchored", None)  # of an interval, or of somebody's subclass of it, held to its word
    if anchored is not None:
        schedule = anchored(after)
    previous = getattr(schedule, "previous", None)
    if previous is None:
        return _last_of_walk(schedule, after, until)
    found: datetime | None = previous(_just_after(until))
    return found if found is not None and to_utc(after, "after") < found else None


def count(schedule: Schedule, after: datetime, until: datetime, limit: int) -> int:
    """Return how many fire times lie in `(after, until]`, counting no further than `limit`."""
    if isinstance(schedule, WindowedSchedule):
        return count(grid_of(schedule), *schedule.clip(after, until), limit)
    if isinstance(schedule, IntervalSchedule):
        schedule = schedule.anchored(after)
    if isinstance(schedule, IntervalSchedule | CronSchedule):
        return min(limit, schedule.count(after, until))
    return sum(1 for _ in islice(occurrences(schedule, after, until), max(0, limit)))


def _last_of_walk(schedule: Schedule, after: datetime, until: datetime) -> datetime | None:
    last = None
    for last in occurrences(schedule, after, until):  # noqa: B007  # the last one is what is asked for
        pass
    return last


def _just_after(until: datetime) -> datetime:
    return plus(to_utc(until, "until"), MICROSECOND) or LAST
