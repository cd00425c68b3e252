"""
Schedules in the language of crontab.
"""

from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import StrictStr, model_validator

from ..clock import SystemClock
from ..errors import InvalidCronExprError, ScheduleError
from . import _words, _zones
from ._calendar import FIRST, LAST, Wall
from ._crontab import Dialect, parse, split
from .base import MICROSECOND, ScheduleModel, offset_of, require_aware

DayMatch = Literal["either", "both"]


class CronSchedule(ScheduleModel):
    """
    The fire times of a cron expression, by the clocks of a time zone.

    Five fields (minute, hour, day of month, month, day of week) or a macro such as `@daily`; `dialect="extended"` adds
    a leading seconds field, 7 as Sunday, `L LW nW n#k nL ?`, and `H`, a slot hashed from `spread` (registration fills
    in the job's id). Without a `timezone` the expression is read in UTC until registration fills in the scheduler's.

    When neither day field begins with `*` a day matches if either does, as in Vixie cron; `day_match="both"` always
    asks for both. In a zone that changes its clocks Debian cron's rule holds: a fixed time that is leapt over runs
    right after the leap and one that comes twice runs once; an expression whose minute or hour begins with `*` follows
    real time.
    """

    kind: Literal["cron"] = "cron"
    expr: StrictStr
    timezone: StrictStr | None = None
    day_match: DayMatch = "either"
    dialect: Dialect = "standard"
    spread: StrictStr | None = None

    def __init__(
        self,
        expr: str,
        *,
        timezone: str | None = None,
        day_match: DayMatch = "either",
        dialect: Dialect = "standard",
        spread: str | None = None,
    ) -> None:
        fields = {"expr": expr, "timezone": timezone, "day_match": day_match, "dialect": dialect, "spread": spread}
        self._build(fields)

    # Without this mark pydantic would call the constructor to validate, and report all that it refuses as one error.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # pydantic's own mark on its own constructor

    if TYPE_CHECKING:
        # No private attributes of pydantic's, which would cost twice as much to look at as the search itself.
        _wall: Wall
        _zone: tzinfo

    @model_validator(mode="after")
    def _read(self) -> Self:
        wall = Wall(parse(self.expr, self.dialect, self.spread or ""), always_both=self.day_match == "both")
        if not wall.can_match():
            raise InvalidCronExprError(self.expr, "", "never fires: no month has such a day")
        object.__setattr__(self, "_wall", wall)
        object.__setattr__(self, "_zone", UTC if self.timezone is None else zone_named(self.timezone))
        return self

    def next(self, after: datetime) -> datetime | None:
        """Return the first fire time strictly later than `after`, in the schedule's zone."""
        if after.tzinfo is UTC and self._zone is UTC:
            return self._wall.following(after)
        if after.tzinfo is self._zone and (found := _zones.first_after(self._wall, self._zone, after)):
            return found
        instant = _instant_after(after)
        return instant and _zones.first_from(self._wall, self._zone, instant)

    def previous(self, before: datetime) -> datetime | None:
        """Return the last fire time strictly earlier than `before`, in the schedule's zone."""
        instant = _instant_before(before)
        return instant and _zones.last_until(self._wall, self._zone, instant)

    def count(self, after: datetime, until: datetime) -> int:
        """Return how many fire times lie in `(after, until]`, without walking over them."""
        first, end = _instant_after(after), _instant_after(until)
        return 0 if first is None else _zones.count_from(self._wall, self._zone, first, LAST if end is None else end)

    def bind(self, *, job_id: str, timezone: str, now: datetime, start_at: datetime | None = None) -> "CronSchedule":
        """Return the same with a zone, and with the slots of `H` drawn for this job."""
        del now, start_at
        draws = self.dialect == "extended" and self.spread is None and "H" in self.expr.upper()
        spread = job_id if draws else self.spread
        return _shared(self.expr, self.timezone or timezone, self.day_match, self.dialect, spread)

    def in_zone(self, timezone: str) -> "CronSchedule":
        """Return the same with a zone, for one that names none."""
        return self if self.timezone else _shared(self.expr, timezone, self.day_match, self.dialect, self.spread)

    def explain(self) -> str:
        """Say it in words; `ScheduleError`, with the command that installs it, without the package that knows how."""
        return _words.explain(self._reading())

    def warnings(self, after: datetime | None = None) -> list[str]:
        """Say what might surprise its author; changes of the clocks are those of two years, from `after` or now on."""
        return _words.warnings(self._reading(), require_aware(after or SystemClock().now(), "after"))

    def _reading(self) -> _words.Reading:
        columns = parse(self.expr, self.dialect, self.spread or "")
        texts, asks_both = split(self.expr, self.dialect), self.day_match == "both"
        return _words.Reading(texts, columns, self._wall, self._zone, asks_both, self.spread)

    @classmethod
    def _wrong(cls, field: str, value: object, problem: str) -> ScheduleError:
        if field == "expr":
            return InvalidCronExprError(str(value), "", problem)
        return super()._wrong(field, value, problem)

    def __str__(self) -> str:
        return self.expr


# A hundred thousand jobs often share a handful of expressions, and then they may share these.
@lru_cache(maxsize=1024)
def _shared(expr: str, zone: str, day_match: DayMatch, dialect: Dialect, spread: str | None) -> CronSchedule:
    return CronSchedule(expr, timezone=zone, day_match=day_match, dialect=dialect, spread=spread)


@lru_cache(maxsize=1024)
def zone_named(name: str) -> tzinfo:
    """Return the zone of an IANA name; `ScheduleError` if there is none."""
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ValueError, LookupError, OSError):
        raise ScheduleError(f"timezone={name!r}: no such zone; write an IANA name such as 'Europe/London'") from None


def _instant_after(moment: datetime) -> datetime | None:
    """Return the first instant later than `moment`, as `_zones` has them."""
    try:
        return moment.replace(tzinfo=None) - offset_of(moment, "after") + MICROSECOND
    except OverflowError:
        return FIRST if moment.year == 1 else None


def _instant_before(moment: datetime) -> datetime | None:
    """Return the last instant earlier than `moment`, as `_zones` has them."""
    try:
        return moment.replace(tzinfo=None) - offset_of(moment, "before") - MICROSECOND
    except OverflowError:
        return None if moment.year == 1 else LAST - MICROSECOND
