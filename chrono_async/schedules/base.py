"""
What a schedule is, to those who ask it.

The engine needs one method, `next`. Everything else is optional and makes an answer faster or a definition portable, so
that anyone can pass an object of their own.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from ..durations import to_positive
from ..errors import ScheduleError

_LENGTHS = TypeAdapter(timedelta, config=ConfigDict(defer_build=True))

MICROSECOND = timedelta(microseconds=1)
FIRST = datetime.min.replace(tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)


@runtime_checkable
class Schedule(Protocol):
    """A rule that yields fire times: a pure function of time, without a cursor."""

    def next(self, after: datetime) -> datetime | None:
        """Return the first fire time strictly later than `after`, aware, or None when there is none any more."""
        ...


class ScheduleModel(BaseModel):
    """
    What the schedules of this library share: a frozen value that goes to JSON and back.

    Built directly, a bad one raises an error of this library; inside another model pydantic reports it, in its own way
    and with the same words.
    """

    # Built when the first of its kind is: a program that has no use for one does not pay for it at import.
    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    def _build(self, fields: Mapping[str, object]) -> None:
        """Do what pydantic's own constructor does, and answer a bad value with our error."""
        try:
            self.__pydantic_validator__.validate_python(fields, self_instance=self)
        except ValidationError as error:
            raise self._in_our_words(error) from None

    @classmethod
    def _in_our_words(cls, error: ValidationError) -> ScheduleError:
        """Return the error of ours that a validator raised, or one that says what pydantic said."""
        first = error.errors(include_url=False)[0]
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, ScheduleError):
            return cause
        where = ".".join(str(part) for part in first["loc"])
        return cls._wrong(where, first["input"], first["msg"][:1].lower() + first["msg"][1:])

    @classmethod
    def _wrong(cls, field: str, value: object, problem: str) -> ScheduleError:
        """Return the error for a field that pydantic itself refused."""
        return ScheduleError(f"{field}={value!r}: {problem}")

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with some fields changed, checked like any other: a copy never keeps what a field implied."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        copy = type(self).__new__(type(self))
        copy._build({**fields, **(update or {})})  # noqa: SLF001  # a copy of its own kind
        return copy

    def occurrences(self, after: datetime, until: datetime | None = None) -> Iterator[datetime]:
        """Yield the fire times in `(after, until]`, lazily; without `until` for as long as there are any."""
        return occurrences(self, after, until)  # type: ignore[arg-type]  # every schedule has a `next`


def offset_of(moment: datetime, what: str) -> timedelta:
    """Return the UTC offset of `moment`, or raise `ScheduleError` if it is naive: whose it is, is never guessed."""
    offset = moment.utcoffset()
    if offset is None:
        raise ScheduleError(f"{what}={moment!r} has no time zone; write for instance .replace(tzinfo=timezone.utc)")
    return offset


def require_aware(moment: datetime, what: str) -> datetime:
    """Return `moment` if it is aware; `ScheduleError` if not."""
    offset_of(moment, what)
    return moment


def as_instant(value: object, what: str) -> datetime:
    """Return a `datetime`, or a text of ISO 8601, as an instant in UTC."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        if not isinstance(moment, datetime):
            raise ScheduleError(f"{what}={value!r}: must be an aware datetime")
        return _plain(datetime.astimezone(require_aware(moment, what), UTC))
    except OverflowError:
        raise ScheduleError(f"{what}={value!r}: lies outside the years 1 to 9999 in UTC") from None


def _plain(moment: datetime) -> datetime:
    """Return nothing but a `datetime`: some libraries have kinds of their own, which calculate and print otherwise."""
    return datetime.combine(datetime.date(moment), datetime.time(moment), UTC)


def as_length(value: object, what: str) -> timedelta:
    """Return a duration, or a text of ISO 8601, as a positive `timedelta`."""
    try:
        length = _LENGTHS.validate_python(value) if isinstance(value, str) else value
    except ValidationError:
        raise ScheduleError(f"{what}={value!r}: is no duration in the form of ISO 8601, such as 'PT30S'") from None
    return to_positive(length, what)  # type: ignore[arg-type]  # whatever it is, it is looked at there


def to_utc(moment: datetime, what: str) -> datetime:
    """Return `moment` in UTC; what lies beyond the calendar's ends there becomes the end."""
    if moment.tzinfo is UTC:
        return moment
    try:
        return require_aware(moment, what).astimezone(UTC)
    except OverflowError:
        return FIRST if moment.year == 1 else LAST


def plus(moment: datetime, length: timedelta) -> datetime | None:
    """Return `moment + length`, or None beyond the calendar's ends."""
    try:
        return moment + length
    except OverflowError:
        return None


def minus(moment: datetime, length: timedelta) -> datetime | None:
    """Return `moment - length`, or None beyond the calendar's ends: the longest of lengths has no negative."""
    try:
        return moment - length
    except OverflowError:
        return None


def occurrences(schedule: Schedule, after: datetime, until: datetime | None = None) -> Iterator[datetime]:
    """
    Yield the fire times in `(after, until]`, lazily; without `until` for as long as there are any.

    `ScheduleError` if someone's own schedule answers a time that is naive or not later: the walk would never end.
    """
    require_aware(after, "after")
    return _walk(schedule, after, None if until is None else to_utc(until, "until"))


def _walk(schedule: Schedule, after: datetime, until: datetime | None) -> Iterator[datetime]:
    reached, moment = to_utc(after, "after"), schedule.next(after)
    while moment is not None:
        instant = to_utc(moment, "fire time")
        if instant <= reached:
            raise ScheduleError(
                f"{schedule!r} answers {moment.isoformat()}, which is not later than {reached.isoformat()}"
            )
        if until is not None and instant > until:
            return
        yield moment
        reached, moment = instant, schedule.next(moment)
