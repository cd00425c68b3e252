"""
Cron against two others: a walker of our own that looks at every minute, and `cronsim` where its semantics are ours.

The walker knows nothing of masks, stretches or bisection. It steps through real time minute by minute, looks at the
clock on the wall, and notices when that clock has leapt or shows a time again.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from chrono_async.schedules import CronSchedule

MINUTE = timedelta(minutes=1)
SUMMER_TIME = timedelta(hours=3)
RANGES = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)]


def values(field: str, low: int, high: int) -> set[int]:
    """Read one field in the plainest way there is."""
    found: set[int] = set()
    for item in field.split(","):
        body, _, step = item.partition("/")
        first, _, last = (f"{low}-{high}" if body == "*" else body).partition("-")
        found |= set(range(int(first), int(last or first) + 1, int(step or 1)))
    return found


class Walker:
    """An expression, looked up one minute at a time."""

    def __init__(self, expr: str, day_match: str = "either") -> None:
        fields = expr.split()
        self.minutes, self.hours, self.days, self.months, self.weekdays = (
            values(field, *bounds) for field, bounds in zip(fields, RANGES, strict=True)
        )
        self.is_fixed = fields[0][0] != "*" and fields[1][0] != "*"
        self.is_either = day_match == "either" and fields[2][0] != "*" and fields[4][0] != "*"

    def matches_day(self, day: datetime) -> bool:
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return day.month in self.months and (of_month or of_week if self.is_either else of_month and of_week)

    def matches(self, wall: datetime) -> bool:
        return wall.minute in self.minutes and wall.hour in self.hours and self.matches_day(wall)

    def walk(self, after: datetime, until: datetime, zone: tzinfo) -> Iterator[datetime]:
        """Yield the fire times in `(after, until]`."""
        moment = after.astimezone(UTC).replace(second=0, microsecond=0)
        earlier = moment.astimezone(zone).replace(tzinfo=None)
        while (moment := moment + MINUTE) <= until:
            local = moment.astimezone(zone)
            wall = local.replace(tzinfo=None)
            if self.fires(earlier, wall, local):
                yield local
            earlier = wall

    def fires(self, earlier: datetime, wall: datetime, local: datetime) -> bool:
        leap = wall - earlier - MINUTE
        if not self.is_fixed:
            return self.matches(wall)
        if local.fold and local.replace(fold=0).utcoffset() - local.utcoffset() <= SUMMER_TIME:
            return False
        skipped = range(int(leap / MINUTE)) if leap <= SUMMER_TIME else ()
        return self.matches(wall) or any(self.matches(earlier + MINUTE * (n + 1)) for n in skipped)


def number(low: int, high: int) -> st.SearchStrategy[str]:
    return st.integers(low, high).map(str)


def field(low: int, high: int) -> st.SearchStrategy[str]:
    ranges = st.tuples(st.integers(low, high), st.integers(low, high)).map(sorted).map("{0[0]}-{0[1]}".format)
    # cronsim reads `5-5/10` as `5/10`.
    wide = st.tuples(st.integers(low, high - 1), st.just(high)).map("{0[0]}-{0[1]}".format)
    steps = st.tuples(st.one_of(st.just("*"), wide), st.integers(1, high + 2)).map("{0[0]}/{0[1]}".format)
    item = st.one_of(number(low, high), ranges, steps)
    return st.one_of(st.just("*"), item, st.lists(item, min_size=1, max_size=3).map(",".join))


def often(strategy: st.SearchStrategy[str], other: str) -> st.SearchStrategy[str]:
    return st.one_of(st.just(other), strategy)


expressions = st.tuples(
    field(0, 59), field(0, 23), often(field(1, 28), "*"), often(field(1, 12), "*"), often(field(0, 6), "*")
).map(" ".join)

# The night's hours alone: most expressions that a change of the clocks can touch.
night_hours = st.one_of(field(0, 3), st.just("23"), st.just("22-23"))
night_expressions = st.tuples(field(0, 59), night_hours, often(number(1, 28), "*")).map(" ".join).map("{} * *".format)

# A moment near a change of the clocks, for every kind of change that zones have had.
CHANGES = [
    ("Europe/London", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    ("Europe/London", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
    ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),
    ("Pacific/Kwajalein", datetime(1969, 9, 30, 13, tzinfo=UTC)),
    ("Pacific/Kwajalein", datetime(1993, 8, 21, 12, tzinfo=UTC)),
    ("Africa/Casablanca", datetime(2026, 2, 15, 2, tzinfo=UTC)),
    ("Africa/Casablanca", datetime(2026, 3, 22, 2, tzinfo=UTC)),
    ("Antarctica/Troll", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    ("Antarctica/Troll", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    ("America/Sao_Paulo", datetime(2018, 11, 4, 3, tzinfo=UTC)),
    ("America/Sao_Paulo", datetime(2019, 2, 17, 2, tzinfo=UTC)),
    ("Africa/Freetown", datetime(1939, 9, 1, 1, tzinfo=UTC)),
    ("Asia/Pyongyang", datetime(2018, 5, 4, 15, tzinfo=UTC)),
    ("America/Caracas", datetime(2007, 12, 9, 7, tzinfo=UTC)),
    ("UTC", datetime(2028, 2, 28, 12, tzinfo=UTC)),
    ("Asia/Tokyo", datetime(2026, 12, 31, 15, tzinfo=UTC)),
]
near_changes = st.tuples(st.sampled_from(CHANGES), st.integers(-90 * 3600, 90 * 3600))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    expr=st.one_of(expressions, night_expressions),
    change=near_changes,
    day_match=st.sampled_from(["either", "both"]),
)
@example(expr="*/30 1 1,8 11 *", change=(CHANGES[3], -900), day_match="either")
@example(expr="30 1 * * *", change=(CHANGES[1], 900), day_match="either")
@example(expr="*/30 0-3 * * *", change=(CHANGES[8], 900), day_match="either")
def test_cron_fires_when_the_walker_does_forwards_and_backwards(expr, change, day_match):
    (zone, moment), seconds = change
    after = moment + timedelta(seconds=seconds)
    until = after + timedelta(days=4)
    expected = list(islice(Walker(expr, day_match).walk(after, until, ZoneInfo(zone)), 300))
    schedule = CronSchedule(expr, timezone=zone, day_match=day_match)
    found = list(islice(schedule.occurrences(after, until), 300))
    assert [time.isoformat() for time in found] == [time.isoformat() for time in expected]
    assert backwards(schedule, expected, after) == [time.isoformat() for time in expected]
    assert min(schedule.count(after, until), 300) == len(expected)


def backwards(schedule: CronSchedule, times: list[datetime], after: datetime) -> list[str]:
    """Return the fire times that `previous` finds on the way back from just behind the last of `times`."""
    found: list[str] = []
    reached = schedule.previous(times[-1].astimezone(UTC) + timedelta(microseconds=1)) if times else None
    while reached is not None and reached.astimezone(UTC) > after.astimezone(UTC):
        found.insert(0, reached.isoformat())
        reached = schedule.previous(reached)
    return found


@settings(max_examples=200, deadline=None)
@given(
    expr=st.one_of(expressions, night_expressions, st.sampled_from(["* * * * *", "0 0 1 1 *", "0 1 29 2 *"])),
    second=st.sampled_from(["", "*/7 ", "59 "]),
    change=near_changes,
    length=st.one_of(st.integers(-60, 3 * 3600), st.integers(0, 800 * 86400)),
    fraction=st.sampled_from([0, 1, 999_999]),
)
@example(expr="0 1 * * *", second="", change=(CHANGES[0], -3600), length=86400, fraction=0)
@example(expr="0 1,2 * * *", second="", change=(CHANGES[0], -3600), length=86400, fraction=0)
@example(expr="* * * * *", second="", change=(CHANGES[6], -1), length=86400, fraction=999_999)
def test_cron_counts_what_a_walk_finds(expr, second, change, length, fraction):
    (zone, moment), seconds = change
    after = moment + timedelta(seconds=seconds, microseconds=fraction)
    until = after + timedelta(seconds=length)
    schedule = CronSchedule(second + expr, timezone=zone, dialect="extended" if second else "standard")
    walked = list(islice(schedule.occurrences(after, until), 3000))
    assert schedule.count(after, walked[-1] if len(walked) == 3000 else until) == len(walked)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_cron_counts_up_to_the_calendars_ends(zone):
    """Where a zone's own calendar begins or ends within them."""
    schedule, days = CronSchedule("0 0 * * *", timezone=zone), timedelta(days=9)
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    assert schedule.count(last - days, last) == len(list(schedule.occurrences(last - days))) >= 8
    assert schedule.count(first, first + days) == len(list(schedule.occurrences(first, first + days))) >= 8


@settings(max_examples=60, deadline=None)
@given(
    time=st.tuples(st.integers(0, 59), st.integers(0, 23)),
    day=st.one_of(st.just("*"), number(1, 31), st.just("29-31")),
    month=st.one_of(st.just("*"), number(1, 12), st.just("2")),
    weekday=st.one_of(st.just("*"), number(0, 6), st.just("*/7")),
    after=st.datetimes(datetime(1890, 1, 1), datetime(2390, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001  # hypothesis adds the zone
)
def test_cron_finds_the_day_that_a_walk_over_the_days_of_years_finds(time, day, month, weekday, after):
    minute, hour = time
    expr = f"{minute} {hour} {day} {month} {weekday}"
    try:
        schedule = CronSchedule(expr)
    except ValueError:
        assert (int(day[:2]), month) in {(30, "2"), (31, "2"), (31, "4"), (31, "6"), (31, "9"), (31, "11")}
        return
    walker = Walker(expr)
    noon = after.replace(hour=hour, minute=minute, second=0, microsecond=0)
    days = (noon + timedelta(days=n) for n in range(41 * 366))
    assert schedule.next(after) == next(day for day in days if walker.matches_day(day) and day > after)


@settings(max_examples=150, deadline=None)
@given(expr=expressions, after=st.datetimes(datetime(1980, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001  # hypothesis adds the zone
def test_cron_agrees_with_cronsim_in_utc(expr, after):
    theirs = list(islice(CronSim(expr, after), 8))
    assert list(islice(CronSchedule(expr).occurrences(after), 8)) == theirs


@pytest.mark.parametrize("zone", ["Europe/London", "America/New_York"])
@settings(max_examples=40, deadline=None)
@given(hour=number(0, 23), minute=number(0, 59), offset=st.integers(0, 365))
def test_cron_agrees_with_cronsim_about_daily_jobs_in_summer_time(zone, hour, minute, offset):
    after = datetime(2026, 1, 1, tzinfo=ZoneInfo(zone)) + timedelta(days=offset)
    theirs = list(islice(CronSim(f"{minute} {hour} * * *", after), 200))
    assert list(islice(CronSchedule(f"{minute} {hour} * * *", timezone=zone).occurrences(after), 200)) == theirs


@settings(max_examples=150, deadline=None)
@given(
    expr=st.one_of(expressions, st.sampled_from(["* * * * *", "0 0 1 1 *", "59 23 31 12 *", "0 0 29 2 */7"])),
    zone=st.sampled_from(["UTC", "Asia/Tokyo", "America/New_York", "Pacific/Apia", "Europe/Amsterdam"]),
    after=st.datetimes(timezones=st.sampled_from([UTC, ZoneInfo("Asia/Tokyo"), ZoneInfo("America/New_York")])),
)
@example(expr="* * * * *", zone="UTC", after=datetime.max.replace(tzinfo=UTC))
@example(expr="* * * * *", zone="Asia/Tokyo", after=datetime.min.replace(tzinfo=UTC))
@example(expr="* * * * *", zone="America/New_York", after=datetime.min.replace(tzinfo=UTC))
@example(expr="* * * * *", zone="America/New_York", after=datetime.min.replace(tzinfo=ZoneInfo("Asia/Tokyo")))
@example(expr="* * * * *", zone="Asia/Tokyo", after=datetime.max.replace(tzinfo=ZoneInfo("America/New_York")))
@example(expr="* * * * *", zone="America/New_York", after=datetime.max.replace(tzinfo=UTC))
@example(expr="59 23 31 12 *", zone="America/New_York", after=datetime.max.replace(tzinfo=UTC))
@example(expr="* * * * *", zone="America/New_York", after=datetime(9999, 12, 31, 23, 59, 30, tzinfo=UTC))
@example(expr="* * * * *", zone="Asia/Tokyo", after=datetime(1, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC))
@example(expr="* * * * *", zone="America/New_York", after=datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=UTC))
@example(expr="* * * * *", zone="America/New_York", after=datetime(1, 1, 1, 3, 0, tzinfo=UTC))
@example(expr="0 0 1 1 *", zone="Asia/Tokyo", after=datetime.min.replace(tzinfo=UTC))
@example(expr="0 0 1 1 *", zone="Asia/Tokyo", after=datetime(9999, 12, 31, 14, 59, tzinfo=UTC))
def test_cron_answers_something_later_and_something_earlier_at_any_time_in_any_zone(expr, zone, after):
    schedule = CronSchedule(expr, timezone=zone)
    later, earlier = schedule.next(after), schedule.previous(after)
    assert later is None or instant(later) > instant(after)
    assert earlier is None or instant(earlier) < instant(after)
    assert later is not None or after.year > 9950
    assert earlier is not None or after.year < 50
    assert all(moment.tzinfo in {UTC, ZoneInfo(zone)} for moment in (later, earlier) if moment)


def instant(moment: datetime) -> timedelta:
    """Return what can be compared: two times of one zone compare by their walls, and UTC can overflow."""
    offset = moment.utcoffset()
    assert offset is not None
    return moment.replace(tzinfo=None) - datetime.min - offset  # noqa: DTZ901  # a number is all that is wanted
