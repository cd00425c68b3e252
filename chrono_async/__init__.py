"""
Cron, interval and one-shot jobs for asyncio services.

    async with AsyncScheduler() as s:
        await s.add_cron_job("cleanup", "Temp Cleanup", cleanup, "*/5 * * * *")
        await s.run_forever()
"""

from typing import TYPE_CHECKING

from . import storage
from .clock import Clock, SystemClock
from .durations import Duration
from .engine import Health, LeaderElection, RunContext, ThreadSafe, current_run
from .errors import (
    ChronoError,
    EmptyJobIDError,
    InvalidCronExprError,
    InvalidDelayError,
    InvalidIntervalError,
    InvalidJobFuncError,
    InvalidOptionError,
    JobAlreadyExistsError,
    JobNotFoundError,
    LeaseLostError,
    PoisonedError,
    RemoteRunError,
    RunNotFoundError,
    ScheduleError,
    SchedulerRunningError,
    SchedulerStoppedError,
    StorageCorruptError,
    StorageError,
    TriggerPendingError,
)
from .models import InstanceInfo, JobInfo, JobRecord, JobResult, JobStatus, RunRecord, RunStatus
from .options import JobFunc, JobOptions
from .policies import Misfire, Missed, Overlap, Recovery, Retry
from .scheduler import AsyncScheduler
from .schedules import (
    AnySchedule,
    CronSchedule,
    IntervalSchedule,
    OneShotSchedule,
    Schedule,
    WindowedSchedule,
    occurrences,
)
from .storage import InMemoryStorage, LeasingStorage, Storage

if TYPE_CHECKING:
    from .storage import FileStorage, PostgresStorage, RedisStorage, SQLiteStorage, open_storage

# What these borrow is imported by those who use them.
_LAZY = ("FileStorage", "PostgresStorage", "RedisStorage", "SQLiteStorage", "open_storage")

__version__ = "0.1.0"

__all__ = [
    "AnySchedule",
    "AsyncScheduler",
    "ChronoError",
    "Clock",
    "CronSchedule",
    "Duration",
    "EmptyJobIDError",
    "FileStorage",
    "Health",
    "InMemoryStorage",
    "InstanceInfo",
    "IntervalSchedule",
    "InvalidCronExprError",
    "InvalidDelayError",
    "InvalidIntervalError",
    "InvalidJobFuncError",
    "InvalidOptionError",
    "JobAlreadyExistsError",
    "JobFunc",
    "JobInfo",
    "JobNotFoundError",
    "JobOptions",
    "JobRecord",
    "JobResult",
    "JobStatus",
    "LeaderElection",
    "LeaseLostError",
    "LeasingStorage",
    "Misfire",
    "Missed",
    "OneShotSchedule",
    "Overlap",
    "PoisonedError",
    "PostgresStorage",
    "Recovery",
    "RedisStorage",
    "RemoteRunError",
    "Retry",
    "RunContext",
    "RunNotFoundError",
    "RunRecord",
    "RunStatus",
    "SQLiteStorage",
    "Schedule",
    "ScheduleError",
    "SchedulerRunningError",
    "SchedulerStoppedError",
    "Storage",
    "StorageCorruptError",
    "StorageError",
    "SystemClock",
    "ThreadSafe",
    "TriggerPendingError",
    "WindowedSchedule",
    "current_run",
    "occurrences",
    "open_storage",
]


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(storage, name)
    return value
