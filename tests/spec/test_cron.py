"""
Cron schedules: what an expression means, in every zone and on every day that is unlike the others.
"""

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from chrono_async import AnySchedule, ChronoError, CronSchedule, InvalidCronExprError, ScheduleError

TWO_DAYS = "day-of-month and day-of-week are both given"
LEAP = "on 2026-03-29 the clocks of Europe/London go from 01:00 to 02:00"
BACK = "on 2026-10-25 the clocks of Europe/London go from 02:00 to 01:00"


def times(schedule: CronSchedule, after: str, count: int = 3) -> list[str]:
    """Return the next fire times after an ISO time, without seconds where there are none."""
    found = islice(schedule.occurrences(datetime.fromisoformat(after)), count)
    return [time.isoformat(" ", "minutes" if not time.second else "seconds") for time in found]


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        ("* * * * *", "2026-01-01 00:01"),
        ("*/5 * * * *", "2026-01-01 00:05"),
        ("30 * * * *", "2026-01-01 00:30"),
        ("0 9-17 * * *", "2026-01-01 09:00"),
        ("10-30/10 * * * *", "2026-01-01 00:10"),
        ("15,30,45 * * * *", "2026-01-01 00:15"),
        ("10-15/20 4 * * *", "2026-01-01 04:10"),
        ("  07\t08   * *\t* ", "2026-01-01 08:07"),
        ("000 0012 * * *", "2026-01-01 12:00"),
        ("0 0 * feb *", "2026-02-01 00:00"),
        ("0 0 * Mar-4,12 *", "2026-03-01 00:00"),
        ("0 0 * * sat", "2026-01-03 00:00"),
        ("0 0 * * SUN", "2026-01-04 00:00"),
        ("0 0 * * 0", "2026-01-04 00:00"),
        ("0 0 * * Mon-3,6", "2026-01-03 00:00"),
        (f"*/{'9' * 900} 5 * * *", "2026-01-01 05:00"),
        ("@yearly", "2027-01-01 00:00"),
        ("@annually", "2027-01-01 00:00"),
        ("@Monthly", "2026-02-01 00:00"),
        ("@WEEKLY", "2026-01-04 00:00"),
        (" @daily ", "2026-01-02 00:00"),
        ("@midnight", "2026-01-02 00:00"),
        ("@hourly", "2026-01-01 01:00"),
    ],
)
def test_the_standard_dialect_fires_at(expr, expected):
    assert times(CronSchedule(expr), "2026-01-01T00:00Z", 1) == [expected + "+00:00"]


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        ("15 0 0 1 1 *", "2026-01-01 00:00:15"),
        ("*/20 * * * * *", "2026-01-01 00:00:20"),
        ("0 0 * * 7", "2026-01-04 00:00"),
        ("0 0 * * 5-7", "2026-01-02 00:00"),
        ("5/20 * * * *", "2026-01-01 00:05"),
        ("0 0 ? * 3", "2026-01-07 00:00"),
        ("0 0 5 * ?", "2026-01-05 00:00"),
        ("0 0 L * *", "2026-01-31 00:00"),
        ("0 0 LW * *", "2026-01-30 00:00"),
        ("0 0 3W * *", "2026-01-02 00:00"),
        ("0 0 4W * *", "2026-01-05 00:00"),
        ("0 0 1W 8 *", "2026-08-03 00:00"),
        ("0 0 31W 1,5 *", "2026-01-30 00:00"),
        ("0 0 31W 5 *", "2026-05-29 00:00"),
        ("0 0 * * 1#2", "2026-01-12 00:00"),
        ("0 0 * * fri#5", "2026-01-30 00:00"),
        ("0 0 * * 7#1", "2026-01-04 00:00"),
        ("0 0 * * 5L", "2026-01-30 00:00"),
        ("0 0 * * sunL", "2026-01-25 00:00"),
        ("0 0 15,l * *", "2026-01-15 00:00"),
        ("0 0 * 2 MON#5", "2044-02-29 00:00"),
        ("0 0 10 * 1#2", "2026-01-10 00:00"),
        ("@daily", "2026-01-02 00:00"),
    ],
)
def test_the_extended_dialect_fires_at(expr, expected):
    assert times(CronSchedule(expr, dialect="extended"), "2026-01-01T00:00Z", 1) == [expected + "+00:00"]


@pytest.mark.parametrize(
    ("expr", "field", "problem"),
    [
        ("0 24 * * *", "hour", "24 is not in 0-23"),
        ("60 * * * *", "minute", "60 is not in 0-59"),
        ("0 0 0 * *", "day-of-month", "0 is not in 1-31"),
        ("0 0 32 * *", "day-of-month", "32 is not in 1-31"),
        ("0 0 * 13 *", "month", "13 is not in 1-12"),
        ("0 0 * jam *", "month", "'jam' is not a value"),
        ("0 0 * * 8", "day-of-week", "8 is not in 0-6"),
        ("0 0 * * 7", "day-of-week", "7 is not in 0-6; dialect='extended' reads it"),
        ("0 0 * * 1#2", "day-of-week", "'1#2' is not a value; dialect='extended' reads it"),
        ("0 0 * * 5L", "day-of-week", "'5L' is not a value; dialect='extended' reads it"),
        ("0 0 L * *", "day-of-month", "'L' is not a value; dialect='extended' reads it"),
        ("0 0 15W * *", "day-of-month", "'15W' is not a value; dialect='extended' reads it"),
        ("0 0 ? * 1", "day-of-month", "'?' is not a value; dialect='extended' reads it"),
        ("H * * * *", "minute", "'H' is not a value; dialect='extended' reads it"),
        ("5/10 * * * *", "minute", "5/10 has a step without a range; write 5-59/10; dialect='extended' reads it"),
        ("0 0 0 * * *", "", "must have 5 fields, not 6; dialect='extended' reads it"),
        ("* * * *", "", "must have 5 fields, not 4"),
        ("", "", "must have 5 fields, not 0"),
        (" \t ", "", "must have 5 fields, not 0"),
        ("1,,2 * * * *", "minute", "an item of the list is empty"),
        (",1 * * * *", "minute", "an item of the list is empty"),
        ("1, * * * *", "minute", "an item of the list is empty"),
        ("1- * * * *", "minute", "'1-' lacks a value"),
        ("-5 * * * *", "minute", "'-5' lacks a value"),
        ("/5 * * * *", "minute", "'/5' lacks a value"),
        ("*/ * * * *", "minute", "the step of '*/' is not a number"),
        ("*/-5 * * * *", "minute", "the step of '*/-5' is not a number"),
        ("*/5/5 * * * *", "minute", "the step of '*/5/5' is not a number"),
        ("*/0 * * * *", "minute", "the step of '*/0' is zero"),
        ("1-9/00 * * * *", "minute", "the step of '1-9/00' is zero"),
        ("** * * * *", "minute", "'**' is not a value"),
        ("*-5 * * * *", "minute", "'*' is not a value"),
        ("1-2-3 * * * *", "minute", "'2-3' is not a value"),
        ("+1 * * * *", "minute", "'+1' is not a value"),
        ("1.5 * * * *", "minute", "'1.5' is not a value"),
        ("1_0 * * * *", "minute", "'1_0' is not a value"),
        ("0 22-5 * * *", "hour", "the range 22-5 runs backwards; write 22-23,0-5"),
        ("0 0 * * fri-mon", "day-of-week", "the range fri-mon runs backwards; write 5-6,0-1"),
        ("٣ * * * *", "", "the character '٣' has no place in an expression"),
        ("²  * * * *", "", "the character '²' has no place in an expression"),
        ("* * *\n* *", "", "the character '\\n' has no place in an expression"),
        ("* * * * *\x00", "", "the character '\\x00' has no place in an expression"),
        ("*\u00a0* * * *", "", "the character '\\xa0' has no place in an expression"),
        ("@reboot", "", "no such macro; there are @yearly @annually @monthly @weekly @daily @midnight @hourly"),
        ("@daily *", "", "a macro stands alone"),
        ("@ daily", "", "a macro stands alone"),
        ("0 0 31 2 *", "", "never fires: no month has such a day"),
        ("0 0 30-31 2 *", "", "never fires: no month has such a day"),
        ("0 0 31 4,6,9,11 *", "", "never fires: no month has such a day"),
        ("0 0 31 2 */2", "", "never fires: no month has such a day"),
    ],
)
def test_what_is_odd_is_refused_with_its_field_and_its_value(expr, field, problem):
    with pytest.raises(InvalidCronExprError) as caught:
        CronSchedule(expr)
    where = f"{field} field of " if field else ""
    assert str(caught.value) == f"{where}{expr!r}: {problem}"
    assert (caught.value.expression, caught.value.field, caught.value.problem) == (expr, field, problem)
    assert isinstance(caught.value, ChronoError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("expr", "problem"),
    [
        ("0 0 * * L", "day-of-week field of '0 0 * * L': 'L' is not a value"),
        ("0 0 * * 8L", "day-of-week field of '0 0 * * 8L': 8 is not in 0-7"),
        ("0 0 * * 1#6", "day-of-week field of '0 0 * * 1#6': '1#6': a month has the 1st to the 5th of a weekday"),
        ("0 0 * * #2", "day-of-week field of '0 0 * * #2': '#2' lacks a value"),
        ("0 0 W * *", "day-of-month field of '0 0 W * *': 'W' is not a value"),
        ("0 0 32W * *", "day-of-month field of '0 0 32W * *': 32 is not in 1-31"),
        ("0 0 L-3 * *", "day-of-month field of '0 0 L-3 * *': 'L' is not a value"),
        ("L * * * *", "minute field of 'L * * * *': 'L' is not a value"),
        ("0 0 ?,1 * *", "day-of-month field of '0 0 ?,1 * *': '?' is not a value"),
        ("? * * * *", "minute field of '? * * * *': '?' is not a value"),
        ("H/0 * * * *", "minute field of 'H/0 * * * *': the step of 'H/0' is zero"),
        ("0 0 31W 2,4 *", "'0 0 31W 2,4 *': never fires: no month has such a day"),
        ("60 0 0 1 1 *", "second field of '60 0 0 1 1 *': 60 is not in 0-59"),
        ("0 0 0 0 1 1 *", "'0 0 0 0 1 1 *': must have 5 or 6 fields, not 7"),
    ],
)
def test_the_extended_dialect_refuses(expr, problem):
    with pytest.raises(InvalidCronExprError) as caught:
        CronSchedule(expr, dialect="extended")
    assert str(caught.value) == problem


def test_an_expression_of_a_megabyte_is_refused_unread():
    with pytest.raises(InvalidCronExprError, match=r"is 1000008 characters long; at most 1000 are read"):
        CronSchedule("," * 1_000_000 + " * * * *")


def test_all_values_of_all_fields_written_out_are_not_too_long():
    fields = [range(60), range(24), range(1, 32), range(1, 13), range(7)]
    expr = " ".join(",".join(str(n) for n in field) for field in fields)
    assert times(CronSchedule(expr), "2026-01-01T00:00Z", 1) == ["2026-01-01 00:01+00:00"]


@pytest.mark.parametrize(
    ("expr", "options", "expected"),
    [
        ("0 0 13 * 5", {}, ["2026-01-02", "2026-01-09", "2026-01-13"]),
        ("0 0 13 * 5", {"day_match": "both"}, ["2026-02-13", "2026-03-13", "2026-11-13"]),
        ("0 0 */2 * 1", {}, ["2026-01-05", "2026-01-19", "2026-02-09"]),
        ("0 0 13 * */5", {}, ["2026-02-13", "2026-03-13", "2026-09-13"]),
        ("0 0 31 2 1", {}, ["2026-02-02", "2026-02-09", "2026-02-16"]),
    ],
)
def test_two_day_fields_match_either_or_both(expr, options, expected):
    """Vixie cron's rule: a star in front of one of them makes it both."""
    found = times(CronSchedule(expr, **options), "2026-01-01T00:00Z")
    assert [time[:10] for time in found] == expected


@pytest.mark.parametrize(
    ("expr", "after", "expected"),
    [
        ("0 0 29 2 *", "2096-02-29T00:00Z", ["2104-02-29", "2108-02-29", "2112-02-29"]),
        ("0 0 29 2 */7", "2032-02-29T00:00Z", ["2060-02-29", "2088-02-29", "2128-02-29"]),
        ("0 0 31 * *", "2026-01-31T00:00Z", ["2026-03-31", "2026-05-31", "2026-07-31"]),
        ("0 0 30 * *", "2026-01-30T00:00Z", ["2026-03-30", "2026-04-30", "2026-05-30"]),
        ("59 23 31 12 *", "2026-12-31T23:58Z", ["2026-12-31", "2027-12-31", "2028-12-31"]),
    ],
)
def test_the_ends_of_months_and_the_leap_days_are_found(expr, after, expected):
    assert [time[:10] for time in times(CronSchedule(expr), after)] == expected


@pytest.mark.parametrize(
    ("zone", "expr", "after", "expected"),
    [
        # The clocks of London leap from 1:00 to 2:00.
        ("Europe/London", "30 1 * * *", "2026-03-28T12:00Z", ["2026-03-29 02:00+01:00", "2026-03-30 01:30+01:00"]),
        ("Europe/London", "0,30 1 * * *", "2026-03-28T12:00Z", ["2026-03-29 02:00+01:00", "2026-03-30 01:00+01:00"]),
        ("Europe/London", "15 1,2 * * *", "2026-03-28T12:00Z", ["2026-03-29 02:00+01:00", "2026-03-29 02:15+01:00"]),
        ("Europe/London", "*/30 1 * * *", "2026-03-28T12:00Z", ["2026-03-30 01:00+01:00", "2026-03-30 01:30+01:00"]),
        ("Europe/London", "0 * * * *", "2026-03-29T00:30Z", ["2026-03-29 02:00+01:00", "2026-03-29 03:00+01:00"]),
        # They go back from 2:00 to 1:00.
        ("Europe/London", "30 1 * * *", "2026-10-24T12:00Z", ["2026-10-25 01:30+01:00", "2026-10-26 01:30+00:00"]),
        ("Europe/London", "30 1 * * *", "2026-10-25T01:15Z", ["2026-10-26 01:30+00:00", "2026-10-27 01:30+00:00"]),
        ("Europe/London", "*/30 1 * * *", "2026-10-25T00:15Z", ["2026-10-25 01:30+01:00", "2026-10-25 01:00+00:00"]),
        ("Europe/London", "0 2 * * *", "2026-10-24T12:00Z", ["2026-10-25 02:00+00:00", "2026-10-26 02:00+00:00"]),
        # The job that the Go original never ran again after a spring in America.
        ("America/New_York", "30 2 * * *", "2026-03-08T05:00Z", ["2026-03-08 03:00-04:00", "2026-03-09 02:30-04:00"]),
        # Half an hour of summer time.
        (
            "Australia/Lord_Howe",
            "15 2 * * *",
            "2026-10-03T12:00Z",
            ["2026-10-04 02:30+11:00", "2026-10-05 02:15+11:00"],
        ),
        (
            "Australia/Lord_Howe",
            "45 1 * * *",
            "2026-04-04T12:00Z",
            ["2026-04-05 01:45+11:00", "2026-04-06 01:45+10:30"],
        ),
        (
            "Australia/Lord_Howe",
            "*/15 1 * * *",
            "2026-04-04T14:40Z",
            ["2026-04-05 01:45+11:00", "2026-04-05 01:30+10:30"],
        ),
        # A day that Samoa does not have is not made up for.
        ("Pacific/Apia", "0 12 * * *", "2011-12-29T12:00Z", ["2011-12-29 12:00-10:00", "2011-12-31 12:00+14:00"]),
        ("Pacific/Apia", "0 0 30 12 *", "2011-12-29T12:00Z", ["2012-12-30 00:00+14:00", "2013-12-30 00:00+14:00"]),
        # A day that Kwajalein had twice counts twice.
        ("Pacific/Kwajalein", "0 12 * * *", "1969-09-29T02:00Z", ["1969-09-30 12:00+11:00", "1969-09-30 12:00-12:00"]),
        # Summer time that pauses for Ramadan.
        ("Africa/Casablanca", "30 2 * * *", "2026-02-14T12:00Z", ["2026-02-15 02:30+01:00", "2026-02-16 02:30+00:00"]),
        ("Africa/Casablanca", "30 2 * * *", "2026-03-21T12:00Z", ["2026-03-22 03:00+01:00", "2026-03-23 02:30+01:00"]),
        # A midnight that does not exist.
        ("America/Sao_Paulo", "0 0 * * *", "2018-11-03T12:00Z", ["2018-11-04 01:00-02:00", "2018-11-05 00:00-02:00"]),
        # Clocks that leap two hours.
        ("Antarctica/Troll", "30 1 * * *", "2026-03-28T12:00Z", ["2026-03-29 03:00+02:00", "2026-03-30 01:30+02:00"]),
    ],
)
def test_when_the_clocks_change_debian_crons_rule_holds(zone, expr, after, expected):
    schedule = CronSchedule(expr, timezone=zone)
    assert times(schedule, after, 2) == expected
    later = datetime.fromisoformat(expected[1])
    assert schedule.previous(later).isoformat(" ", "minutes") == expected[0]


def test_a_time_that_comes_twice_is_told_apart_by_its_fold():
    """Both passes of 1:30 follow from each other, and neither is stuck at the other."""
    schedule = CronSchedule("*/30 * * * *", timezone="Europe/London")
    zone = ZoneInfo("Europe/London")
    first, second = datetime(2026, 10, 25, 1, 30, tzinfo=zone), datetime(2026, 10, 25, 1, 30, fold=1, tzinfo=zone)
    assert schedule.next(first).astimezone(UTC) == datetime(2026, 10, 25, 1, 0, tzinfo=UTC)
    assert schedule.next(second).astimezone(UTC) == datetime(2026, 10, 25, 2, 0, tzinfo=UTC)
    assert schedule.next(schedule.next(first)).fold == 1


def test_next_is_strictly_later_and_previous_strictly_earlier():
    schedule = CronSchedule("*/5 * * * *")
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    tick, minutes = timedelta(microseconds=1), timedelta(minutes=5)
    assert [schedule.next(noon + d) for d in (-tick, 0 * tick, tick)] == [noon, noon + minutes, noon + minutes]
    assert [schedule.previous(noon + d) for d in (-tick, 0 * tick, tick)] == [noon - minutes, noon - minutes, noon]


def test_a_time_that_no_clock_shows_is_asked_about_by_its_instant():
    """Python reads 1:10 in the gap as 1:10 by the old offset, which the new clocks show as 2:10."""
    leapt_over = datetime(2026, 3, 29, 1, 10, tzinfo=ZoneInfo("Europe/London"))
    schedule = CronSchedule("*/30 * * * *", timezone="Europe/London")
    assert schedule.next(leapt_over).isoformat() == "2026-03-29T02:30:00+01:00"
    assert schedule.previous(leapt_over).isoformat() == "2026-03-29T02:00:00+01:00"


def test_on_the_way_back_the_first_of_two_days_of_a_name_is_found():
    """At 6:00 of the second 30 September the latest noon of that name was in the first one, not a year ago."""
    schedule = CronSchedule("0 12 30 9 *", timezone="Pacific/Kwajalein")
    morning = datetime.fromisoformat("1969-09-30T06:00-12:00")
    assert schedule.previous(morning).isoformat() == "1969-09-30T12:00:00+11:00"


def test_a_hashed_step_follows_real_time_like_a_star_with_a_step():
    schedule = CronSchedule("H/30 1 * * *", timezone="Europe/London", dialect="extended")
    found = [time[:11] + time[-6:] for time in times(schedule, "2026-10-24T12:00Z", 4)]
    assert found == ["2026-10-25 +01:00"] * 2 + ["2026-10-25 +00:00"] * 2


def test_seconds_are_stepped_through_in_both_directions():
    schedule = CronSchedule("*/25 59 23 31 12 *", dialect="extended")
    found = times(schedule, "2026-12-31T23:59:00Z", 3)
    assert found == ["2026-12-31 23:59:25+00:00", "2026-12-31 23:59:50+00:00", "2027-12-31 23:59+00:00"]
    before = schedule.previous(datetime(2027, 12, 31, 23, 59, tzinfo=UTC))
    assert before == datetime(2026, 12, 31, 23, 59, 50, tzinfo=UTC)
    assert schedule.previous(before) == datetime(2026, 12, 31, 23, 59, 25, tzinfo=UTC)


def test_the_calendar_has_two_ends():
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    assert CronSchedule("* * * * *").next(last) is None
    assert CronSchedule("* * * * *").previous(first) is None
    assert CronSchedule("* * * * *").next(last - timedelta(minutes=1)) == last.replace(second=0, microsecond=0)
    assert CronSchedule("* * * * *").next(first.replace(tzinfo=ZoneInfo("Asia/Tokyo"))) == first
    assert CronSchedule("0 0 1 1 *", timezone="Asia/Tokyo").next(last) is None


def test_a_time_without_a_zone_is_refused():
    schedule = CronSchedule("* * * * *", timezone="Europe/London")
    for ask in (schedule.next, schedule.previous, CronSchedule("* * * * *").next, schedule.occurrences):
        with pytest.raises(ScheduleError, match="has no time zone"):
            ask(datetime(2026, 1, 1))  # noqa: DTZ001  # that is the point


@pytest.mark.parametrize("zone", ["Mars/Phobos", "America", "", "../etc/passwd", "/etc/localtime", "UTC\0", "europe"])
def test_a_zone_that_is_none_is_refused(zone):
    with pytest.raises(ScheduleError, match="no such zone; write an IANA name such as 'Europe/London'"):
        CronSchedule("* * * * *", timezone=zone)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"expr": 5}, "'5': input should be a valid string"),
        ({"expr": b"* * * * *"}, "input should be a valid string"),
        ({"expr": "* * * * *", "timezone": 5}, "timezone=5: input should be a valid string"),
        ({"expr": "* * * * *", "day_match": "any"}, "day_match='any': input should be 'either' or 'both'"),
        ({"expr": "* * * * *", "dialect": "quartz"}, "dialect='quartz': input should be 'standard' or 'extended'"),
    ],
)
def test_built_directly_a_bad_schedule_raises_an_error_of_ours(arguments, message):
    with pytest.raises(ScheduleError) as caught:
        CronSchedule(**arguments)
    assert message in str(caught.value)


def test_inside_another_model_it_is_that_librarys_error_with_our_words():
    class Settings(BaseModel):
        when: AnySchedule

    with pytest.raises(ValidationError, match="hour field of '0 24 \\* \\* \\*': 24 is not in 0-23") as caught:
        Settings(when={"kind": "cron", "expr": "0 24 * * *"})
    assert caught.value.errors()[0]["loc"] == ("when", "cron")
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Settings.model_validate({"when": {"kind": "cron", "expr": "* * * * *", "timzone": "UTC"}})


def test_a_schedule_is_a_value():
    one, same = CronSchedule("@daily", timezone="Asia/Tokyo"), CronSchedule("@daily", timezone="Asia/Tokyo")
    other = CronSchedule("@daily")
    assert (one == same, hash(one) == hash(same), one == other) == (True, True, False)
    with pytest.raises(ValidationError, match="frozen"):
        one.expr = "@hourly"


def test_a_copy_with_another_zone_fires_by_that_zone():
    """What a schedule has read from its fields must not travel to a copy whose fields are others."""
    copy = CronSchedule("@daily").model_copy(update={"timezone": "Asia/Tokyo"})
    assert times(copy, "2026-01-01T00:00Z", 1) == ["2026-01-02 00:00+09:00"]
    with pytest.raises(InvalidCronExprError):
        copy.model_copy(update={"expr": "nonsense"})


def test_its_text_is_the_expression_as_it_was_written():
    assert str(CronSchedule(" @Daily ")) == " @Daily "


def test_it_goes_to_json_and_back():
    schedules = TypeAdapter(AnySchedule)
    schedule = CronSchedule("0 0 L * *", timezone="Asia/Tokyo", day_match="both", dialect="extended")
    back = schedules.validate_json(schedules.dump_json(schedule))
    assert back == schedule
    assert back.next(datetime(2026, 1, 1, tzinfo=UTC)) == schedule.next(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("expr", "options", "words"),
    [
        ("*/5 9-17 * * 1-5", {}, "Every 5 minutes, between 09:00 and 17:59, Monday through Friday"),
        ("@daily", {}, "At 00:00"),
        ("0 0 1 * 1", {}, "At 00:00, on day 1 of the month, or on Monday"),
        ("0 0 1 * 1", {"day_match": "both"}, "At 00:00, on day 1 of the month, and only on Monday"),
        ("0 0 * * */7", {}, "At 00:00, only on Sunday"),
        ("3,*/20 0 * * *", {}, "At 0, 3, 20, and 40 minutes past the hour, at 00:00"),
        (
            "0 0 1,L * *",
            {"dialect": "extended"},
            "At 00:00, on day 1 of the month; or At 00:00, on the last day of the month",
        ),
        ("0 0 LW * *", {"dialect": "extended"}, "At 00:00, on the last weekday of the month"),
        (
            "H/30 5 * * THU",
            {"dialect": "extended", "spread": "a"},
            "At 3 and 33 minutes past the hour, at 05:00, only on Thursday",
        ),
    ],
)
def test_it_can_be_said_in_words(expr, options, words):
    assert CronSchedule(expr, **options).explain() == words


@pytest.mark.parametrize(
    ("expr", "options", "warnings"),
    [
        ("*/5 9-17 * * 1-5", {"timezone": "Europe/London"}, []),
        ("*/5 * * * *", {"timezone": "Europe/London"}, []),
        ("*/7 * * * *", {}, ["minute */7: 60 is no multiple of 7, so one step in 9 is shorter"]),
        ("0 8 * * THU", {"dialect": "extended"}, []),
        ("H H * * *", {"dialect": "extended", "spread": "a"}, []),
        *(
            (
                expr,
                {"dialect": "extended"},
                ["H: the time depends on the job's id, which is not known here: each job has another"],
            )
            for expr in ("H 8 * * *", "0 8,h * * *", "H/30 8 * * *")
        ),
        ("0 */24 * * *", {}, ["hour */24: the step is as long as the field, so there is one value only"]),
        (
            "0 0 */2 * *",
            {},
            ["day-of-month */2: begins anew on the 1st of every month, so the last step of a month is shorter"],
        ),
        (
            "0 0 31 1-4 *",
            {},
            ["day-of-month 31: there is none in February, April; it is skipped there, not moved"],
        ),
        (
            "0 0 29 2 *",
            {},
            ["day-of-month 29: there is none in February (but in leap years); it is skipped there, not moved"],
        ),
        (
            "0 0 1 * 1",
            {},
            [f"{TWO_DAYS}: a day matches if either does; day_match='both' asks for both"],
        ),
        (
            "0 0 1 * 1",
            {"day_match": "both"},
            [f"{TWO_DAYS}: a day has to match both, as day_match='both' asks for"],
        ),
        (
            "30 1 * * *",
            {"timezone": "Europe/London"},
            [
                f"{LEAP}: 01:30 is skipped, and runs at 02:00 instead",
                f"{BACK}: 01:30 comes twice, and runs the first time only",
            ],
        ),
        (
            "*/30 1 * * *",
            {"timezone": "Europe/London"},
            [
                f"{LEAP}: 01:00 is skipped, and does not run",
                f"{BACK}: 01:00 comes twice, and runs twice",
            ],
        ),
    ],
)
def test_it_warns_of_what_may_surprise_its_author(expr, options, warnings):
    assert CronSchedule(expr, **options).warnings(datetime(2026, 1, 1, tzinfo=UTC)) == warnings


def test_without_the_package_for_words_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cron_descriptor", None)
    with pytest.raises(ScheduleError, match=r"pip install 'chrono-async\[words\]'"):
        CronSchedule("@daily").explain()
