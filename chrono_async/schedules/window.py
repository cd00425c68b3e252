"""
Schedules that hold for a time only.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal, Self, TypeGuard

from pydantic import (
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    TypeAdapter,
    ValidationInfo,
    field_validator,
    model_validator,
)

from ..errors import ScheduleError
from ._custom import describe
from .base import MICROSECOND, Schedule, ScheduleModel, as_instant, plus, to_utc
from .cron import CronSchedule
from .interval import IntervalSchedule
from .one_shot import OneShotSchedule


def _read(value: object) -> Schedule:
    if isinstance(value, dict):
        return _SCHEDULES.validate_python(value)
    if isinstance(value, Schedule) and not isinstance(value, type):
        return value
    raise ScheduleError(f"schedule={value!r}: is no schedule; it needs a method next(after)")


def fields_of(schedule: Schedule) -> Mapping[str, object]:
    """Return what JSON can say of a schedule: of someone's own what it is called."""
    return schedule.model_dump(mode="json", exclude_none=True) if is_ours(schedule) else describe(schedule)


class WindowedSchedule(ScheduleModel):
    """The fire times of another schedule that lie in `[start_at, end_at]`; an end that is None is open."""

    kind: Literal["windowed"] = "windowed"
    # Someone's own schedule is no model, so this field is read and written by hand.
    schedule: Annotated[Schedule, PlainValidator(_read), PlainSerializer(fields_of)]
    start_at: datetime | None = None
    end_at: datetime | None = None

    def __init__(self, schedule: Schedule, *, start_at: datetime | None = None, end_at: datetime | None = None) -> None:
        self._build({"schedule": schedule, "start_at": start_at, "end_at": end_at})

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # see CronSchedule

    @field_validator("start_at", "end_at", mode="before")
    @classmethod
    def _check_ends(cls, value: object, info: ValidationInfo) -> object:
        return None if value is None else as_instant(value, info.field_name or "end")

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.start_at is not None and self.end_at is not None and self.end_at < self.start_at:
            raise ScheduleError(f"end_at={self.end_at.isoformat()} lies before start_at={self.start_at.isoformat()}")
        return self

    def __str__(self) -> str:
        ends = {"from": self.start_at, "until": self.end_at}
        return " ".join([str(self.schedule), *(f"{word} {end.isoformat()}" for word, end in ends.items() if end)])

    def next(self, after: datetime) -> datetime | None:
        """Return the first fire time in the window that is strictly later than `after`."""
        found = grid_of(self).next(self._not_before(after))
        return None if found is None or (self.end_at is not None and self.end_at < found) else found

    def previous(self, before: datetime) -> datetime | None:
        """Return the last fire time in the window that is strictly earlier than `before`; the other needs one too."""
        previous = getattr(grid_of(self), "previous", None)
        if previous is None:
            raise ScheduleError(f"{self.schedule!r} has no method previous(before)")
        closing = self.end_at and plus(self.end_at, MICROSECOND)
        found: datetime | None = previous(before if closing is None else min(to_utc(before, "before"), closing))
        return None if found is None or (self.start_at is not None and found < self.start_at) else found

    def clip(self, after: datetime, until: datetime) -> tuple[datetime, datetime]:
        """Return the part of `(after, until]` that lies in the window."""
        return self._not_before(after), until if self.end_at is None else min(to_utc(until, "until"), self.end_at)

    def bind(self, *, job_id: str, timezone: str, now: datetime, start_at: datetime | None = None) -> Self:
        """Return the same window over the bound schedule."""
        if not is_ours(self.schedule):
            return self
        start = self.start_at or start_at
        bound = self.schedule.bind(job_id=job_id, timezone=timezone, now=now, start_at=start)
        return self.model_copy(update={"schedule": bound})

    def _not_before(self, after: datetime) -> datetime:
        """Return `after`, or the last moment before a window that is still to come."""
        opening = self.start_at and plus(self.start_at, -MICROSECOND)
        return after if opening is None else max(to_utc(after, "after"), opening)


def grid_of(window: WindowedSchedule) -> Schedule:
    """Return the schedule in the window; an interval without a start has its grid from the opening, as if bound."""
    within, opening = window.schedule, window.start_at
    return within.anchored(opening) if isinstance(within, IntervalSchedule) and opening is not None else within


def window_of(schedule: Schedule) -> tuple[datetime | None, datetime | None]:
    """Return from when to when the schedule has fire times, as far as its definition says: a grid begins by itself."""
    if isinstance(schedule, WindowedSchedule):
        return schedule.start_at or window_of(schedule.schedule)[0], schedule.end_at
    return (schedule.start if isinstance(schedule, IntervalSchedule) else None), None


_Ours = CronSchedule | IntervalSchedule | OneShotSchedule | WindowedSchedule
_OURS = frozenset({CronSchedule, IntervalSchedule, OneShotSchedule, WindowedSchedule})

AnySchedule = Annotated[_Ours, Field(discriminator="kind")]
"""Any schedule of this library, as a field of a pydantic model: told apart by `kind`."""

_SCHEDULES: TypeAdapter[_Ours] = TypeAdapter(AnySchedule, config=ConfigDict(defer_build=True))


def is_ours(schedule: Schedule) -> TypeGuard[_Ours]:
    """Say whether this is one of the schedules here, whose definition can be written down."""
    # Not isinstance: what a subclass overrides would be lost on the way through JSON.
    return type(schedule) in _OURS


def from_json(text: str) -> _Ours:
    """Return the schedule that was written as JSON; `ValidationError` for anything else."""
    return _SCHEDULES.validate_json(text)
