"""
What a rule for wall clocks means in a zone whose clocks change.

The rule is Debian cron's. A job for a fixed time that the clocks leap over runs right after the leap; one whose time
comes twice runs at the first. Jobs whose minute or hour begins with a star follow real time: what the clock does not
show does not happen, and what it shows twice happens twice. A change of more than three hours is no summer time but a
correction of the calendar (Samoa has no 30 December 2011), and then nothing is made up and nothing is left out.

A zone's time is seen as stretches between two changes, in which wall time is UTC plus a constant. Instants here are
naive datetimes in UTC, and wall times are datetimes in the zone itself, of which Python compares and adds what the wall
shows: neither asks the zone anything.
"""

from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import NamedTuple

from ._calendar import FIRST, LAST, Wall

_SUMMER_TIME = timedelta(hours=3)
_NOTHING = timedelta(0)
_SECOND = timedelta(seconds=1)

_DAY = timedelta(days=1)

# Changes are looked for by asking the offset every so often. The closest two of any zone are almost four days apart
# (Freetown in September 1939).
_PROBE = timedelta(days=3)

# More than any two offsets of a zone lie apart (Apia: -11:26 in 1892, +14 in 2012).
_MARGIN = timedelta(days=3)


class Stretch(NamedTuple):
    """The instants in `[start, end)`, in which wall time is UTC plus `offset`; before `start` it was plus `before`."""

    start: datetime
    end: datetime
    offset: timedelta
    before: timedelta
    change: timedelta
    """How far the clocks leap forward at the start; nothing for a correction of the calendar."""
    left: datetime
    """What the clock on the wall showed when the start came."""
    opens: datetime
    """What it shows at the start."""
    closes: datetime
    """What it shows when the end comes."""
    settled: datetime
    """From when on it shows what it has not shown before."""


def first_after(wall: Wall, zone: tzinfo, local: datetime) -> datetime | None:
    """Return the first fire time later than `local` if the wall alone can tell, as nearly always; or None."""
    if local.fold:
        return None
    for stretch in _stretches(zone, local.year):
        if local < stretch.closes:
            shown = wall.following(local) if local >= stretch.settled else None
            return shown if shown is not None and shown < stretch.closes else None
    return None


def first_from(wall: Wall, zone: tzinfo, instant: datetime) -> datetime | None:
    """Return the first fire time at or after `instant`, in `zone`."""
    while True:
        stretch = _stretch_at(zone, instant)
        shown = _first_shown(stretch, wall, instant)
        if shown is not None and shown < stretch.closes:
            return shown.replace(fold=shown < stretch.left)
        if shown is None or stretch.end == LAST:
            return None
        instant = _next_look(stretch, instant, _instant(stretch, shown))


def _first_shown(stretch: Stretch, wall: Wall, instant: datetime) -> datetime | None:
    """Return the first wall time that fires at or after `instant` if time went on as in `stretch`."""
    since = _on_the_wall(stretch, instant)
    if stretch.change and wall.is_fixed:
        if instant == stretch.start and shown_between(wall, stretch.left, stretch.opens):
            return stretch.opens
        since = max(since, stretch.left)
    return wall.at_or_following(since)


def _next_look(stretch: Stretch, instant: datetime, found: datetime) -> datetime:
    """Return from where to go on if nothing fires up to the end of `stretch`, nor up to `found` but for changes."""
    # No wall time on the way matches, so fire times could only hide near the changes at either end of the way.
    is_near_change = stretch.end - instant < _MARGIN
    return stretch.end if is_near_change else max(stretch.end, _shift(found, -_MARGIN))


def last_until(wall: Wall, zone: tzinfo, instant: datetime) -> datetime | None:
    """Return the last fire time at or before `instant`, in `zone`: `first_from` in the mirror."""
    while True:
        stretch = _stretch_at(zone, instant)
        shown = _last_shown(stretch, wall, instant)
        if shown is not None and shown >= stretch.opens:
            return shown.replace(fold=shown < stretch.left)
        if shown is None or stretch.start == FIRST:
            return None
        instant = _previous_look(stretch, instant, _instant(stretch, shown))


def _last_shown(stretch: Stretch, wall: Wall, instant: datetime) -> datetime | None:
    """Return the last wall time that fires at or before `instant` if time had always gone as in `stretch`."""
    until = _on_the_wall(stretch, instant)
    if _instant(stretch, until) > instant:
        return None  # the wall shows a time before the calendar begins
    shown = until if wall.matches(until) else wall.preceding(until)
    if shown is None or not (stretch.change and wall.is_fixed):
        return shown
    # What the change leapt over fires right after it; what it repeats has fired before it.
    return max(shown, stretch.opens) if shown >= stretch.left else min(shown, stretch.opens - _SECOND)


def _previous_look(stretch: Stretch, instant: datetime, found: datetime) -> datetime:
    is_near_change = instant - stretch.start < _MARGIN
    return stretch.start - _SECOND if is_near_change else min(stretch.start - _SECOND, _shift(found, _MARGIN))


def count_from(wall: Wall, zone: tzinfo, instant: datetime, until: datetime) -> int:
    """Return how many fire times lie in `[instant, until)`, in `zone`."""
    found = 0
    while instant < until:
        stretch = _stretch_at(zone, instant)
        end = min(until, stretch.end)
        found += _count_shown(stretch, wall, instant, end)
        instant = end
    return found


def _count_shown(stretch: Stretch, wall: Wall, instant: datetime, end: datetime) -> int:
    """Return how many fire times `[instant, end)` has, which lies in `stretch`."""
    low, high = _on_the_wall(stretch, instant), _on_the_wall(stretch, end)
    if not (stretch.change and wall.is_fixed):
        return wall.count(low, high)
    is_made_up = instant == stretch.start and shown_between(wall, stretch.left, stretch.opens)
    return wall.count(max(low, stretch.left), high) + bool(is_made_up and not wall.matches(stretch.opens))


def shown_between(wall: Wall, low: datetime, high: datetime) -> datetime | None:
    """Return the first match in `[low, high)`."""
    shown = wall.at_or_following(low)
    return shown if shown is not None and shown < high else None


def changes(zone: tzinfo, year: int) -> list[Stretch]:
    """Return the stretches that begin within `year`, with the summer-time change that each begins with."""
    return [stretch for stretch in _stretches(zone, year) if stretch.change and stretch.start.year == year]


def _on_the_wall(stretch: Stretch, instant: datetime) -> datetime:
    return _shift(instant, stretch.offset).replace(tzinfo=stretch.opens.tzinfo)


def _instant(stretch: Stretch, shown: datetime) -> datetime:
    return _shift(shown.replace(tzinfo=None), -stretch.offset)


def _stretch_at(zone: tzinfo, instant: datetime) -> Stretch:
    for stretch in _stretches(zone, instant.year):
        if instant < stretch.end:
            return stretch
    raise AssertionError("the stretches of a year end after it")


@lru_cache(maxsize=4096)
def _stretches(zone: tzinfo, year: int) -> tuple[Stretch, ...]:
    """Return the stretches of a year and of a few days around it, so that none ends with the year."""
    probe, last = _shift(datetime(year, 1, 1), -_MARGIN), _shift(datetime(year, 12, 31), _MARGIN)  # noqa: DTZ001  # UTC
    start, offset = probe, _offset(zone, probe)
    before, stretches = offset, []
    while probe < last:
        earlier, probe = probe, min(_shift(probe, _PROBE), last)
        if _offset(zone, probe) != offset:
            change = _change_between(zone, earlier, probe)
            stretches.append(_stretch(zone, start, change, offset, before))
            start, before, offset = change, offset, _offset(zone, probe)
    return (*stretches, _stretch(zone, start, last, offset, before))


def _stretch(zone: tzinfo, start: datetime, end: datetime, offset: timedelta, before: timedelta) -> Stretch:
    leap = offset - before
    change = leap if abs(leap) <= _SUMMER_TIME else _NOTHING
    shown = _shift(start, before), _shift(start, offset), _shift(end, offset)
    left, opens, closes = (wall.replace(tzinfo=zone) for wall in shown)
    return Stretch(start, end, offset, before, change, left, opens, closes, max(left, opens))


def _change_between(zone: tzinfo, low: datetime, high: datetime) -> datetime:
    """Return the first second at which the offset is no longer that at `low`."""
    offset = _offset(zone, low)
    while high - low > _SECOND:
        middle = low + (high - low) // 2 // _SECOND * _SECOND
        low, high = (middle, high) if _offset(zone, middle) == offset else (low, middle)
    return high


def _offset(zone: tzinfo, instant: datetime) -> timedelta:
    # Within a day of the calendar's ends a zone cannot say what time it is; it was no other time the day before.
    instant = min(max(instant, FIRST + 2 * _DAY), LAST - 2 * _DAY)
    offset = instant.replace(tzinfo=UTC).astimezone(zone).utcoffset()
    return _NOTHING if offset is None else offset


def _shift(moment: datetime, by: timedelta) -> datetime:
    """Return `moment + by`, stopping at the calendar's ends."""
    try:
        return moment + by
    except OverflowError:
        return LAST if by > _NOTHING else FIRST
