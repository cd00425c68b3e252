"""
Schedules that fire every so often.
"""

from datetime import datetime, timedelta
from typing import Literal, Self

from pydantic import field_validator

from ..durations import Duration
from ..errors import InvalidIntervalError
from .base import ScheduleModel, as_instant, as_length, minus, plus, to_utc


class IntervalSchedule(ScheduleModel):
    """
    A fire time at `start` and every so often after it: a grid that no late run shifts.

    Without a `start` there is no grid yet: `next` answers `after + every`, and registration makes its moment the start.
    """

    kind: Literal["interval"] = "interval"
    every: timedelta
    start: datetime | None = None

    def __init__(self, every: Duration, *, start: datetime | None = None) -> None:
        self._build({"every": every, "start": start})

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # see CronSchedule

    @field_validator("every", mode="before")
    @classmethod
    def _check_every(cls, value: object) -> timedelta:
        try:
            return as_length(value, "every")
        except ValueError as error:
            raise InvalidIntervalError(str(error)) from None

    @field_validator("start", mode="before")
    @classmethod
    def _check_start(cls, value: object) -> object:
        return None if value is None else as_instant(value, "start")

    @property
    def interval(self) -> timedelta:
        """The length of time between two fire times."""
        return self.every

    def __str__(self) -> str:
        return f"every {self.every}"

    def next(self, after: datetime) -> datetime | None:
        """Return the first fire time strictly later than `after`, in UTC."""
        instant = to_utc(after, "after")
        if self.start is None:
            return plus(instant, self.every)
        return plus(self.start, max(0, (instant - self.start) // self.every + 1) * self.every)

    def previous(self, before: datetime) -> datetime | None:
        """Return the last fire time strictly earlier than `before`, in UTC."""
        instant = to_utc(before, "before")
        if self.start is None:
            return minus(instant, self.every)
        steps = -((self.start - instant) // self.every) - 1
        return None if steps < 0 else plus(self.start, steps * self.every)

    def anchored(self, start: datetime) -> Self:
        """Return the same with a grid that begins at `start`, unless it has one."""
        return self if self.start is not None else self.model_copy(update={"start": start})

    def count(self, after: datetime, until: datetime) -> int:
        """Return how many fire times lie in `(after, until]`, without walking over them."""
        start = self.start or to_utc(after, "after")
        begun, ended = (max(-1, (to_utc(end, "end") - start) // self.every) for end in (after, until))
        return max(0, ended - begun)

    def bind(self, *, job_id: str, timezone: str, now: datetime, start_at: datetime | None = None) -> Self:
        """Return the same with a start: its own, or `start_at`, or `now`."""
        del job_id, timezone
        return self.anchored(start_at or now)
