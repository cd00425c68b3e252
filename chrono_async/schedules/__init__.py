"""
When things happen: schedules are values that answer `next(after)`, and know neither asyncio nor a storage.
"""

from .base import Schedule, occurrences
from .between import count, latest
from .cron import CronSchedule, zone_named
from .definition import bind, declared, dump, load
from .interval import IntervalSchedule
from .one_shot import OneShotSchedule
from .window import AnySchedule, WindowedSchedule, is_ours, window_of

__all__ = [
    "AnySchedule",
    "CronSchedule",
    "IntervalSchedule",
    "OneShotSchedule",
    "Schedule",
    "WindowedSchedule",
    "bind",
    "count",
    "declared",
    "dump",
    "is_ours",
    "latest",
    "load",
    "occurrences",
    "window_of",
    "zone_named",
]
