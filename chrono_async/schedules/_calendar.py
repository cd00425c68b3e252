"""
The search for matching minutes on a calendar without time zones.

The masks of an expression are asked with bit arithmetic: the lowest bit above the present value is the next value. Days
are asked a month at a time, and months for no more than the 400 years after which the calendar repeats itself.
"""

from calendar import isleap
from collections.abc import Iterator
from datetime import MAXYEAR, MINYEAR, date, datetime

from ._crontab import DAY, MONTH, WEEKDAY, Columns, MovingDays, span

FIRST, LAST = datetime.min, datetime.max  # noqa: DTZ901  # walls have no zone

_CYCLE = 400
_IN_EVERY_MONTH = span(1, 28)
LENGTHS = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_SIX_WEEKS = span(0, 41, 7)
_WORKDAYS = 0b0111110 * _SIX_WEEKS


class Wall:
    """
    The fire times of an expression as a clock on a wall shows them: a pure function of masks.

    `following` and `preceding` are strict, answer in the `tzinfo` of what they are given without asking it anything,
    and answer None beyond the years 1 and 9999.
    """

    __slots__ = (
        "_days",
        "_either",
        "_hours",
        "_is_daily",
        "_minutes",
        "_months",
        "_moving",
        "_seconds",
        "_weekdays",
        "is_fixed",
    )

    def __init__(self, columns: Columns, *, always_both: bool) -> None:
        self._seconds, self._minutes, self._hours = columns.seconds, columns.minutes, columns.hours
        self._days, self._months, self._weekdays = columns.days, columns.months, columns.weekdays * _SIX_WEEKS
        self._moving = columns.moving
        minute, hour, day, weekday = columns.stars
        self.is_fixed = not (minute or hour)
        self._either = not (always_both or day or weekday)
        self._is_daily = columns.days == DAY.full and columns.weekdays == WEEKDAY.full and columns.months == MONTH.full

    def can_match(self) -> bool:
        """Say whether any day of the calendar matches."""
        is_plain = self._moving is None and (self._either or self._days & _IN_EVERY_MONTH)
        return bool(is_plain) or self._day_after(1999, 12, 31) is not None

    def following(self, wall: datetime) -> datetime | None:
        """Return the first match later than `wall`."""
        if self._seconds == 1:
            return self._minute_from(wall, wall.minute + 1)
        if self._shows_minute(wall) and (later := self._seconds >> wall.second + 1):
            return wall.replace(second=wall.second + 1 + _lowest(later), microsecond=0)
        found = self._minute_from(wall, wall.minute + 1)
        return found and found.replace(second=_lowest(self._seconds))

    def at_or_following(self, wall: datetime) -> datetime | None:
        """Return `wall` if it matches, or else the first match later than it."""
        if self._seconds == 1:
            return self._minute_from(wall, wall.minute + (wall.second > 0 or wall.microsecond > 0))
        return wall if self.matches(wall) else self.following(wall)

    def preceding(self, wall: datetime) -> datetime | None:
        """Return the last match earlier than `wall`."""
        seconds_begun = wall.second + (wall.microsecond > 0)
        if self._shows_minute(wall) and (earlier := self._seconds & (1 << seconds_begun) - 1):
            return wall.replace(second=_highest(earlier), microsecond=0)
        found = self._preceding_minute(wall)
        return found and found.replace(second=_highest(self._seconds))

    def matches(self, wall: datetime) -> bool:
        """Say whether `wall` is a fire time."""
        return self._shows_minute(wall) and not wall.microsecond and bool(self._seconds >> wall.second & 1)

    def count(self, low: datetime, high: datetime) -> int:
        """Return how many matches lie in `[low, high)`, without a walk over them."""
        if low >= high:
            return 0
        return self._matching_days(low, high) * self._times_before(None) + self._today(high) - self._today(low)

    def _today(self, wall: datetime) -> int:
        """Return how many matches the day of `wall` has before it."""
        return self._times_before(wall) if self._days_of(wall.year, wall.month) >> wall.day & 1 else 0

    def _times_before(self, wall: datetime | None) -> int:
        """Return how many times of a day that matches come before `wall`, or in all."""
        hours, minutes, seconds = self._hours.bit_count(), self._minutes.bit_count(), self._seconds.bit_count()
        if wall is None:
            return hours * minutes * seconds
        times = _below(self._hours, wall.hour) * minutes * seconds
        if self._hours >> wall.hour & 1:
            times += _below(self._minutes, wall.minute) * seconds
            if self._minutes >> wall.minute & 1:
                times += _below(self._seconds, wall.second + (wall.microsecond > 0))
        return times

    def _matching_days(self, low: datetime, high: datetime) -> int:
        """Return how many days match from that of `low` on, and before that of `high`."""
        year, month, days = low.year, low.month, -_below(self._days_of(low.year, low.month), low.day)
        while (year, month) < (high.year, high.month):
            days += self._days_of(year, month).bit_count()
            year, month = (year, month + 1) if month < 12 else (year + 1, 1)
        return days + _below(self._days_of(year, month), high.day)

    def _shows_minute(self, wall: datetime) -> bool:
        return bool(
            self._minutes >> wall.minute & 1
            and self._hours >> wall.hour & 1
            and (self._is_daily or self._days_of(wall.year, wall.month) >> wall.day & 1)
        )

    def _minute_from(self, wall: datetime, minute: int) -> datetime | None:
        """Return the first match at or after `minute` of the hour of `wall`; 60 is the next hour."""
        year, month, day, hour = wall.year, wall.month, wall.day, wall.hour
        # The lowest bit is found here and there without a function for it: this is what `next` costs.
        if self._is_daily or self._days_of(year, month) >> day & 1:
            if self._hours >> hour & 1 and (later := self._minutes >> minute):
                return datetime(year, month, day, hour, minute - 1 + (later & -later).bit_length(), 0, 0, wall.tzinfo)
            if later := self._hours >> hour + 1:
                hour += (later & -later).bit_length()
                return datetime(year, month, day, hour, _lowest(self._minutes), 0, 0, wall.tzinfo)
        found = self._day_after(year, month, day)
        return found and _at(found, _lowest(self._hours), _lowest(self._minutes), wall)

    def _day_after(self, year: int, month: int, day: int) -> tuple[int, int, int] | None:
        if later := self._days_of(year, month) >> day + 1:
            return year, month, day + 1 + _lowest(later)
        for some_year, some_month in self._months_after(year, month):
            if days := self._days_of(some_year, some_month):
                return some_year, some_month, _lowest(days)
        return None

    def _months_after(self, year: int, month: int) -> Iterator[tuple[int, int]]:
        end = min(year + _CYCLE, MAXYEAR)
        while year <= end:
            while later := self._months >> month + 1:
                month += 1 + _lowest(later)
                yield year, month
            year, month = year + 1, 0

    def _preceding_minute(self, wall: datetime) -> datetime | None:
        year, month, day, hour = wall.year, wall.month, wall.day, wall.hour
        if self._is_daily or self._days_of(year, month) >> day & 1:
            if self._hours >> hour & 1 and (earlier := self._minutes & (1 << wall.minute) - 1):
                return datetime(year, month, day, hour, _highest(earlier), 0, 0, wall.tzinfo)
            if earlier := self._hours & (1 << hour) - 1:
                return datetime(year, month, day, _highest(earlier), _highest(self._minutes), 0, 0, wall.tzinfo)
        found = self._day_before(year, month, day)
        return found and _at(found, _highest(self._hours), _highest(self._minutes), wall)

    def _day_before(self, year: int, month: int, day: int) -> tuple[int, int, int] | None:
        if earlier := self._days_of(year, month) & (1 << day) - 1:
            return year, month, _highest(earlier)
        for some_year, some_month in self._months_before(year, month):
            if days := self._days_of(some_year, some_month):
                return some_year, some_month, _highest(days)
        return None

    def _months_before(self, year: int, month: int) -> Iterator[tuple[int, int]]:
        end = max(year - _CYCLE, MINYEAR)
        while year >= end:
            while earlier := self._months & (1 << month) - 1:
                month = _highest(earlier)
                yield year, month
            year, month = year - 1, 13

    def _days_of(self, year: int, month: int) -> int:
        """Return the mask of the matching days of one month."""
        if not self._months >> month & 1:
            return 0
        length = 29 if month == 2 and isleap(year) else LENGTHS[month]
        weekday = date(year, month, 1).toordinal() % 7
        days, weekdays = self._days, self._weekdays >> weekday << 1
        if self._moving:
            days |= _moving_days(self._moving[0], weekday, length)
            weekdays |= _moving_weekdays(self._moving[1], weekday, length)
        return (days | weekdays if self._either else days & weekdays) & (2 << length) - 1


def _at(day: tuple[int, int, int], hour: int, minute: int, wall: datetime) -> datetime:
    return datetime(*day, hour, minute, tzinfo=wall.tzinfo)


def _lowest(mask: int) -> int:
    """Return the number of the lowest bit of `mask`."""
    return (mask & -mask).bit_length() - 1


def _below(mask: int, bit: int) -> int:
    """Return how many bits of `mask` are lower than `bit`."""
    return (mask & (1 << bit) - 1).bit_count()


def _highest(mask: int) -> int:
    """Return the number of the highest bit of `mask`."""
    return mask.bit_length() - 1


def _moving_days(moving: MovingDays, weekday: int, length: int) -> int:
    """Return what `L`, `LW` and `nW` mean in a month of `length` days that begins with `weekday`."""
    workdays = _WORKDAYS >> weekday << 1 & (2 << length) - 2
    mask = 1 << length if moving.last else 0
    if moving.last_workday:
        mask |= 1 << _highest(workdays)
    for day in range(1, length + 1):
        if moving.near_workday >> day & 1:
            mask |= 1 << _nearest(workdays, day)
    return mask


def _nearest(workdays: int, day: int) -> int:
    """Return the workday of the same month that is nearest to `day`; no weekend is further than two days from one."""
    return min((day, day - 1, day + 1, day - 2, day + 2), key=lambda near: not workdays >> max(near, 0) & 1)


def _moving_weekdays(moving: MovingDays, weekday: int, length: int) -> int:
    """Return what `n#k` and `nL` mean in a month of `length` days that begins with `weekday`."""
    mask = (moving.last_weekdays * _SIX_WEEKS >> weekday << 1) & span(length - 6, length)
    for weekdays, week in moving.nth_weekdays:
        mask |= (weekdays * _SIX_WEEKS >> weekday << 1) & week
    return mask
