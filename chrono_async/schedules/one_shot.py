"""
Schedules that fire once.
"""

from datetime import datetime, timedelta
from typing import Any, Literal, Self

from pydantic import ModelWrapValidatorHandler, field_validator, model_validator

from ..clock import SystemClock
from ..durations import Duration
from ..errors import InvalidDelayError, ScheduleError
from .base import ScheduleModel, as_instant, as_length, to_utc


class OneShotSchedule(ScheduleModel):
    """
    One fire time: `at` an instant, or after a `delay`, counted from the moment of construction.

    Given both, `at` is the fire time and `delay` is remembered as what was asked for: so a delay that was counted from
    another clock, or in another process, is still the same definition.
    """

    kind: Literal["one_shot"] = "one_shot"
    delay: timedelta | None = None
    at: datetime

    def __init__(self, delay: Duration | None = None, *, at: datetime | None = None) -> None:
        self._build({"delay": delay, "at": at})

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # see CronSchedule

    @model_validator(mode="wrap")
    @classmethod
    def _count_the_delay(cls, fields: Any, make: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(fields, dict) or fields.get("at") is not None:
            return make(fields)
        if fields.get("delay") is None:
            raise ScheduleError("a one-shot schedule needs a delay or at=...")
        made = make(fields | {"at": _from_now(_as_delay(fields["delay"]))})
        made.__pydantic_fields_set__.discard("at")  # nobody has said it
        return made

    @field_validator("delay", mode="before")
    @classmethod
    def _read_delay(cls, value: object) -> timedelta | None:
        return None if value is None else _as_delay(value)

    @field_validator("at", mode="before")
    @classmethod
    def _check_at(cls, value: object) -> object:
        return as_instant(value, "at")

    @property
    def is_counted(self) -> bool:
        """Whether nobody has said when: the fire time was counted from the delay, when the schedule was made."""
        return "at" not in self.model_fields_set

    @property
    def run_at(self) -> datetime:
        """The one fire time."""
        return self.at

    def __str__(self) -> str:
        return f"once, at {self.at.isoformat()}"

    def next(self, after: datetime) -> datetime | None:
        """Return the fire time if it is strictly later than `after`."""
        return self.at if to_utc(after, "after") < self.at else None

    def previous(self, before: datetime) -> datetime | None:
        """Return the fire time if it is strictly earlier than `before`."""
        return self.at if self.at < to_utc(before, "before") else None

    def bind(self, *, job_id: str, timezone: str, now: datetime, start_at: datetime | None = None) -> Self:
        """Return the same: an instant needs nothing from registration."""
        del job_id, timezone, now, start_at
        return self


def _as_delay(value: object) -> timedelta:
    try:
        return as_length(value, "delay")
    except ValueError as error:
        raise InvalidDelayError(str(error)) from None


def _from_now(delay: timedelta) -> datetime:
    try:
        return SystemClock().now() + delay
    except OverflowError:
        raise InvalidDelayError(f"delay={delay!r}: ends after the year 9999") from None
