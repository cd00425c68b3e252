"""
One-shot schedules: an instant, or a delay from the moment of construction.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from chrono_async import AnySchedule, InvalidDelayError, OneShotSchedule, ScheduleError, SystemClock

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)


def test_it_fires_once():
    schedule = OneShotSchedule(at=NOON)
    assert schedule.run_at == NOON
    assert [schedule.next(NOON + d) for d in (-TICK, 0 * TICK, TICK)] == [NOON, None, None]
    assert [schedule.previous(NOON + d) for d in (-TICK, 0 * TICK, TICK)] == [None, None, NOON]
    assert list(schedule.occurrences(NOON - TICK)) == [NOON]


def test_a_delay_counts_from_construction():
    clock = SystemClock()
    before = clock.now()
    schedule = OneShotSchedule(5)
    assert before + timedelta(seconds=5) <= schedule.run_at <= clock.now() + timedelta(seconds=5)


def test_with_both_the_instant_counts_and_the_delay_is_remembered():
    """A scheduler counts a delay from its own clock, and still knows it as the same definition."""
    schedule = OneShotSchedule(5, at=NOON)
    assert (schedule.run_at, schedule.delay) == (NOON, timedelta(seconds=5))


def test_it_knows_whether_anybody_has_said_when():
    """A delay may be counted again where it is to count from something else; it is the same schedule all the same."""
    counted = OneShotSchedule(5)
    said = OneShotSchedule(5, at=counted.at)
    assert (counted.is_counted, said.is_counted, OneShotSchedule(at=NOON).is_counted) == (True, False, False)
    assert counted == said
    assert OneShotSchedule.model_validate({"delay": 5}).is_counted
    assert not OneShotSchedule.model_validate_json(counted.model_dump_json()).is_counted


def test_an_instant_in_any_zone_is_the_same_instant():
    tokyo = OneShotSchedule(at=datetime(2026, 1, 1, 21, tzinfo=ZoneInfo("Asia/Tokyo")))
    assert tokyo == OneShotSchedule(at=NOON)
    assert tokyo.run_at.tzinfo is UTC


def test_of_a_time_that_comes_twice_it_means_the_pass_that_it_names():
    zone = ZoneInfo("Europe/London")
    schedule = OneShotSchedule(at=datetime(2026, 10, 25, 1, 30, fold=1, tzinfo=zone))
    assert schedule.run_at == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("delay", "problem"),
    [
        (0, "delay=0: must be longer than nothing"),
        (-5, "delay=-5: must be longer than nothing"),
        (timedelta(0), "must be longer than nothing"),
        (float("nan"), "must be a timedelta or a finite number of seconds"),
        (float("-inf"), "must be a timedelta or a finite number of seconds"),
        (False, "delay=False: must be a timedelta or a finite number of seconds"),
        (timedelta.max, "ends after the year 9999"),
        ("later", "delay='later': is no duration"),
    ],
)
def test_what_is_no_positive_length_of_time_is_refused(delay, problem):
    with pytest.raises(InvalidDelayError) as caught:
        OneShotSchedule(delay)
    assert problem in str(caught.value)


def test_neither_a_delay_nor_an_instant_is_refused():
    with pytest.raises(ScheduleError, match="needs a delay or at="):
        OneShotSchedule()


def test_an_instant_without_a_zone_is_refused():
    with pytest.raises(ScheduleError, match="has no time zone"):
        OneShotSchedule(at=datetime(2026, 1, 1))  # noqa: DTZ001  # that is the point
    with pytest.raises(ScheduleError, match="has no time zone"):
        OneShotSchedule(at=NOON).next(datetime(2026, 1, 1))  # noqa: DTZ001  # that is the point
    with pytest.raises(ScheduleError, match="must be an aware datetime"):
        OneShotSchedule(at=1_767_268_800)


def test_inside_another_model_it_is_that_librarys_error_with_our_words():
    class Settings(BaseModel):
        when: AnySchedule

    with pytest.raises(ValidationError, match="delay=-1: must be longer than nothing"):
        Settings.model_validate({"when": {"kind": "one_shot", "delay": -1}})
    with pytest.raises(ValidationError, match="has no time zone"):
        Settings.model_validate({"when": {"kind": "one_shot", "at": "2026-01-01T00:00"}})


@pytest.mark.parametrize("schedule", [OneShotSchedule(at=NOON), OneShotSchedule(0.000001), OneShotSchedule(5, at=NOON)])
def test_it_goes_to_json_and_back(schedule):
    schedules = TypeAdapter(AnySchedule)
    assert schedules.validate_json(schedules.dump_json(schedule)) == schedule


def test_a_delay_can_be_read_from_a_configuration():
    schedule = TypeAdapter(AnySchedule).validate_json('{"kind": "one_shot", "delay": "PT1H"}')
    assert schedule.delay == timedelta(hours=1)
    assert schedule.run_at > SystemClock().now() + timedelta(minutes=59)
