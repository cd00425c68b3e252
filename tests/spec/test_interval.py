"""
Interval schedules: a grid that begins at a start and that nothing shifts.
"""

import math
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from chrono_async import AnySchedule, IntervalSchedule, InvalidIntervalError, ScheduleError

START = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def test_a_number_is_seconds():
    assert IntervalSchedule(30) == IntervalSchedule(timedelta(seconds=30)) == IntervalSchedule(30.0)
    assert IntervalSchedule(0.5).interval == timedelta(milliseconds=500)


def test_it_fires_at_its_start_and_every_so_often_after_it():
    schedule = IntervalSchedule(30, start=START)
    found = list(islice(schedule.occurrences(START - timedelta(days=9)), 3))
    assert found == [START, START + 30 * SECOND, START + 60 * SECOND]


def test_asking_late_does_not_shift_the_grid():
    schedule = IntervalSchedule(30, start=START)
    assert schedule.next(START + 44.7 * SECOND) == START + 60 * SECOND
    assert schedule.next(START + 60 * SECOND) == START + 90 * SECOND


def test_without_a_start_the_next_is_an_interval_from_now():
    assert IntervalSchedule(30).next(START + SECOND) == START + 31 * SECOND
    assert IntervalSchedule(30).previous(START + SECOND) == START - 29 * SECOND


def test_real_time_goes_on_through_a_change_of_the_clocks():
    zone = ZoneInfo("Europe/London")
    schedule = IntervalSchedule(3600, start=datetime(2026, 10, 25, 0, 30, tzinfo=zone))
    found = [time.astimezone(zone).isoformat() for time in islice(schedule.occurrences(schedule.start), 3)]
    assert found == ["2026-10-25T01:30:00+01:00", "2026-10-25T01:30:00+00:00", "2026-10-25T02:30:00+00:00"]


def test_before_its_start_there_is_nothing():
    schedule = IntervalSchedule(30, start=START)
    assert schedule.previous(START) is None
    assert schedule.previous(START + timedelta(microseconds=1)) == START


@given(
    every=st.timedeltas(timedelta(microseconds=1), timedelta(days=4000)),
    asked=st.datetimes(timezones=st.just(UTC)),
)
def test_next_and_previous_are_neighbours_on_the_grid(every, asked):
    schedule = IntervalSchedule(every, start=START)
    later, earlier = schedule.next(asked), schedule.previous(asked)
    if later is not None:
        assert later > asked
        assert (later - START) % every == timedelta(0)
        assert later == START or later - every <= asked
    if earlier is not None:
        assert START <= earlier < asked <= earlier + every
    else:
        assert asked <= START


def test_the_calendar_ends_without_an_error():
    last = datetime.max.replace(tzinfo=UTC)
    assert IntervalSchedule(30).next(last) is None
    assert IntervalSchedule(30, start=START).next(last) is None
    assert IntervalSchedule(30).previous(datetime.min.replace(tzinfo=UTC)) is None
    assert IntervalSchedule(timedelta.max, start=START).next(START) is None
    assert IntervalSchedule(timedelta.max).previous(START) is None
    assert IntervalSchedule(30, start=START).next(datetime.min.replace(tzinfo=ZoneInfo("Asia/Tokyo"))) == START


@pytest.mark.parametrize(
    ("every", "problem"),
    [
        (0, "every=0: must be longer than nothing"),
        (-1, "every=-1: must be longer than nothing"),
        (timedelta(0), "every=datetime.timedelta(0): must be longer than nothing"),
        (timedelta(seconds=-1), "must be longer than nothing"),
        (1e-9, "every=1e-09: must be longer than nothing"),
        (math.nan, "every=nan: must be a timedelta or a finite number of seconds"),
        (math.inf, "every=inf: must be a timedelta or a finite number of seconds"),
        (1e300, "every=1e+300: is longer than a timedelta can be"),
        (True, "every=True: must be a timedelta or a finite number of seconds"),
        (None, "every=None: must be a timedelta or a finite number of seconds"),
        ("soon", "every='soon': is no duration in the form of ISO 8601, such as 'PT30S'"),
        ("-PT5S", "must be longer than nothing"),
    ],
)
def test_what_is_no_positive_length_of_time_is_refused(every, problem):
    with pytest.raises(InvalidIntervalError) as caught:
        IntervalSchedule(every)
    assert problem in str(caught.value)


def test_a_start_that_is_no_instant_is_refused():
    with pytest.raises(ScheduleError, match="has no time zone"):
        IntervalSchedule(30, start=datetime(2026, 1, 1))  # noqa: DTZ001  # that is the point
    with pytest.raises(ScheduleError, match="start=5: must be an aware datetime"):
        IntervalSchedule(30, start=5)
    with pytest.raises(ScheduleError, match="lies outside the years 1 to 9999"):
        IntervalSchedule(30, start=datetime.min.replace(tzinfo=ZoneInfo("Asia/Tokyo")))


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(ScheduleError, match="has no time zone"):
        IntervalSchedule(30).next(datetime(2026, 1, 1))  # noqa: DTZ001  # that is the point


def test_inside_another_model_it_is_that_librarys_error_with_our_words():
    class Settings(BaseModel):
        when: AnySchedule

    with pytest.raises(ValidationError, match="every=0: must be longer than nothing"):
        Settings.model_validate({"when": {"kind": "interval", "every": 0}})


@given(every=st.timedeltas(timedelta(microseconds=1)), start=st.none() | st.datetimes(timezones=st.just(UTC)))
def test_it_goes_to_json_and_back(every, start):
    schedules = TypeAdapter(AnySchedule)
    schedule = IntervalSchedule(every, start=start)
    assert schedules.validate_json(schedules.dump_json(schedule)) == schedule
