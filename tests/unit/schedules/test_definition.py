"""
What registration makes of a schedule, and what is written of it.
"""

import pickle
import subprocess
import sys
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chrono_async.errors import ScheduleError
from chrono_async.schedules import (
    CronSchedule,
    IntervalSchedule,
    OneShotSchedule,
    Schedule,
    WindowedSchedule,
    bind,
    count,
    declared,
    dump,
    latest,
    load,
    occurrences,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = datetime(2026, 3, 1, tzinfo=UTC)
SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)


class EveryDay:
    """Someone's own: nothing but `next`."""

    def next(self, after: datetime) -> datetime:
        return after.replace(hour=0, minute=0, second=0, microsecond=0) + DAY


@dataclass(frozen=True)
class Every:
    """Someone's own with a repr."""

    length: timedelta

    def next(self, after: datetime) -> datetime:
        return after + self.length


class Stuck:
    def next(self, after: datetime) -> datetime:
        return after


def bound(schedule: Schedule, **options: object) -> Schedule:
    return bind(schedule, job_id="job", timezone="Asia/Tokyo", now=NOW, **options)


def test_a_cron_schedule_without_a_zone_gets_the_schedulers():
    assert bound(CronSchedule("@daily")) == CronSchedule("@daily", timezone="Asia/Tokyo")
    assert bound(CronSchedule("@daily", timezone="UTC")) == CronSchedule("@daily", timezone="UTC")


def test_the_slots_of_a_job_are_its_own_and_the_same_everywhere():
    expr = CronSchedule("H H * * *", dialect="extended")
    slots = {bind(expr, job_id=f"job {n}", timezone="UTC", now=NOW).next(NOW) for n in range(50)}
    assert len(slots) > 40
    assert bound(expr).next(NOW) == bound(expr).next(NOW)
    assert bound(expr).next(NOW).isoformat() == "2026-01-01T17:54:00+09:00"


def test_a_slot_is_drawn_once():
    """A bound schedule that is bound again, by another job or another zone, stays what it was."""
    first = bound(CronSchedule("H H * * *", dialect="extended"))
    assert bind(first, job_id="other", timezone="UTC", now=LATER) == first


def test_a_name_with_an_h_is_no_slot():
    assert bound(CronSchedule("0 0 * * THU", dialect="extended")).next(NOW).weekday() == 3


def test_an_interval_without_a_start_gets_the_windows_or_now():
    assert bound(IntervalSchedule(30)) == IntervalSchedule(30, start=NOW)
    assert bound(IntervalSchedule(30), start_at=LATER).next(NOW) == LATER
    assert bound(IntervalSchedule(30, start=LATER)) == IntervalSchedule(30, start=LATER)


def test_a_one_shot_needs_nothing():
    schedule = OneShotSchedule(5)
    assert bound(schedule) == schedule


def test_someones_own_comes_back_as_it_is():
    own = EveryDay()
    assert bound(own) is own
    assert bound(own, end_at=LATER).schedule is own


def test_a_window_cuts_at_both_ends_and_keeps_them():
    schedule = bound(CronSchedule("0 0 * * *", timezone="UTC"), start_at=NOW, end_at=NOW + 2 * DAY)
    assert list(schedule.occurrences(NOW - 99 * DAY)) == [NOW, NOW + DAY, NOW + 2 * DAY]
    assert schedule.previous(LATER) == NOW + 2 * DAY
    assert schedule.previous(NOW + 1 * SECOND) == NOW
    assert schedule.previous(NOW) is None


def test_a_window_over_someones_own_works_like_any_other():
    schedule = bound(EveryDay(), start_at=NOW, end_at=NOW + 2 * DAY)
    assert list(schedule.occurrences(NOW - 99 * DAY)) == [NOW, NOW + DAY, NOW + 2 * DAY]
    assert latest(schedule, NOW, LATER) == NOW + 2 * DAY
    assert count(schedule, NOW - DAY, LATER, 99) == 3
    with pytest.raises(ScheduleError, match="has no method previous"):
        schedule.previous(LATER)


def test_an_interval_without_a_start_has_its_grid_in_a_window_before_it_is_bound_too():
    """Not from a moment before that opens."""
    window = WindowedSchedule(IntervalSchedule(60), start_at=NOW, end_at=NOW + HOUR)
    assert window.next(NOW - DAY) == NOW
    assert window.next(NOW + SECOND) == NOW + 60 * SECOND
    assert window.previous(LATER) == NOW + HOUR
    assert latest(window, NOW - DAY, NOW + 90 * SECOND) == NOW + 60 * SECOND
    assert count(window, NOW - DAY, NOW + 90 * SECOND, 99) == 2
    assert window.schedule == IntervalSchedule(60)


def test_a_window_whose_ends_are_the_wrong_way_round_is_refused():
    with pytest.raises(ScheduleError, match="lies before start_at"):
        WindowedSchedule(EveryDay(), start_at=LATER, end_at=NOW)
    with pytest.raises(ScheduleError, match=r"end_at=.* has no time zone"):
        WindowedSchedule(EveryDay(), end_at=datetime(2026, 1, 1))  # noqa: DTZ001  # that is the point


@pytest.mark.parametrize("value", [5, None, "* * * * *", EveryDay])
def test_a_window_over_what_is_no_schedule_is_refused(value):
    with pytest.raises(ScheduleError, match=r"is no schedule; it needs a method next\(after\)"):
        WindowedSchedule(value)


def test_a_window_that_is_bound_binds_what_it_holds():
    window = WindowedSchedule(IntervalSchedule(30), start_at=LATER)
    assert bound(window) == WindowedSchedule(IntervalSchedule(30, start=LATER), start_at=LATER)


@pytest.mark.parametrize(
    ("schedule", "text"),
    [
        (
            CronSchedule(" @daily"),
            '{"kind":"cron","expr":" @daily","timezone":"Asia/Tokyo","day_match":"either","dialect":"standard"}',
        ),
        (
            WindowedSchedule(OneShotSchedule(5), end_at=LATER),
            f'{{"kind":"windowed","schedule":{{"kind":"one_shot","delay":"PT5S"}},"end_at":"{LATER:%Y-%m-%dT%H:%M:%SZ}"}}',
        ),
        (IntervalSchedule(30), '{"kind":"interval","every":"PT30S"}'),
        (OneShotSchedule(5), '{"kind":"one_shot","delay":"PT5S"}'),
        (OneShotSchedule(5, at=NOW), '{"kind":"one_shot","delay":"PT5S"}'),
        (OneShotSchedule(at=NOW), '{"kind":"one_shot","at":"2026-01-01T00:00:00Z"}'),
    ],
)
def test_what_is_declared_is_what_was_written(schedule, text):
    assert declared(schedule, timezone="Asia/Tokyo") == text


def test_someones_own_declares_its_name_and_its_repr():
    assert declared(EveryDay(), timezone="UTC") == f'{{"kind":"custom","type":"{__name__}:EveryDay"}}'
    text = declared(Every(HOUR), timezone="UTC")
    assert (
        text == f'{{"kind":"custom","type":"{__name__}:Every","repr":"Every(length=datetime.timedelta(seconds=3600))"}}'
    )


def test_an_address_in_a_repr_is_not_declared():
    """It would be another definition at every start."""

    @dataclass
    class Holder:
        held: object

        def next(self, after: datetime) -> datetime:
            return after + HOUR

    assert " at 0x" not in declared(Holder(object()), timezone="UTC")


def test_a_subclass_of_ours_is_someones_own():
    """What it overrides could not be read back."""

    class Holidays(CronSchedule):
        pass

    assert '"kind":"custom"' in declared(Holidays("@daily"), timezone="UTC")


@pytest.mark.parametrize(
    "schedule",
    [
        CronSchedule("H 0 L * *", timezone="Europe/London", day_match="both", dialect="extended", spread="job"),
        IntervalSchedule(0.25, start=NOW),
        OneShotSchedule(5),
        OneShotSchedule(at=NOW),
        WindowedSchedule(CronSchedule("@daily"), start_at=NOW),
        WindowedSchedule(WindowedSchedule(IntervalSchedule(5)), end_at=NOW),
    ],
)
def test_what_is_dumped_is_loaded_as_an_equal(schedule):
    for back in (load(dump(schedule)), pickle.loads(pickle.dumps(schedule)), deepcopy(schedule)):  # noqa: S301  # our own
        assert back == schedule
        assert hash(back) == hash(schedule)
        assert back.next(NOW) == schedule.next(NOW)


@pytest.mark.parametrize("schedule", [EveryDay(), Every(HOUR), WindowedSchedule(Every(HOUR), end_at=NOW)])
def test_someones_own_is_loaded_as_nothing(schedule):
    assert load(dump(schedule)) is None


@pytest.mark.parametrize("text", ["", "5", "null", "{}", '{"kind":"cron"}', '{"kind":"lunar"}', '{"kind":"windowed"}'])
def test_a_text_that_is_no_schedule_is_refused(text):
    with pytest.raises(ScheduleError, match="is no schedule"):
        load(text)


def test_another_process_declares_and_draws_the_same():
    """Python's own hashes differ from process to process."""
    program = (
        "from datetime import *; from chrono_async.schedules import *\n"
        "s = CronSchedule('H H H * *', dialect='extended')\n"
        "b = bind(s, job_id='job', timezone='UTC', now=datetime.now(timezone.utc))\n"
        "print(declared(s, timezone='UTC'), dump(b), b.next(datetime(2026, 1, 1, tzinfo=timezone.utc)))"
    )
    run = [subprocess.check_output([sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}) for seed in "12"]
    assert run[0] == run[1]
    assert run[0].startswith(b'{"kind":"cron","expr":"H H H * *"')


@pytest.mark.parametrize(
    "schedule",
    [CronSchedule("*/5 * * * *"), IntervalSchedule(300), IntervalSchedule(300, start=NOW), Every(5 * 60 * SECOND)],
)
def test_the_latest_and_the_count_are_those_of_a_walk(schedule):
    walked = list(occurrences(schedule, NOW, NOW + HOUR))
    assert latest(schedule, NOW, NOW + HOUR) == walked[-1]
    assert count(schedule, NOW, NOW + HOUR, 99) == len(walked) == 12
    assert count(schedule, NOW, NOW + HOUR, 5) == 5
    assert latest(schedule, NOW, NOW + SECOND) is None
    assert count(schedule, NOW, NOW + SECOND, 5) == 0
    assert count(schedule, NOW, NOW - HOUR, 5) == 0


@given(
    start=st.none() | st.integers(-1000, 1000),
    every=st.integers(1, 50),
    after=st.integers(-1000, 1000),
    length=st.integers(-9, 500),
)
def test_the_short_cuts_of_an_interval_agree_with_a_walk(start, every, after, length):
    schedule = IntervalSchedule(every, start=None if start is None else NOW + start * SECOND)
    first, last = NOW + after * SECOND, NOW + (after + length) * SECOND
    walked = list(occurrences(schedule, first, last))
    assert count(schedule, first, last, 1000) == len(walked)
    assert latest(schedule, first, last) == (walked[-1] if walked else None)


def test_the_backlog_of_a_century_of_microseconds_is_found_at_once():
    schedule = IntervalSchedule(timedelta(microseconds=1), start=NOW)
    assert latest(schedule, NOW, NOW + 36500 * DAY) == NOW + 36500 * DAY
    assert count(schedule, NOW, NOW + 36500 * DAY, 10**6) == 10**6


def test_the_latest_up_to_the_end_of_the_calendar_is_found():
    end = datetime.max.replace(tzinfo=UTC)
    assert latest(OneShotSchedule(at=NOW), NOW - DAY, end) == NOW
    assert latest(CronSchedule("0 0 1 1 *"), NOW, end) == datetime(9999, 1, 1, tzinfo=UTC)


def test_a_walk_over_a_schedule_that_does_not_move_ends_with_an_error():
    with pytest.raises(ScheduleError, match="is not later than"):
        list(occurrences(Stuck(), NOW))


def test_a_walk_refuses_a_start_without_a_zone_at_once():
    with pytest.raises(ScheduleError, match=r"after=.* has no time zone"):
        occurrences(EveryDay(), datetime(2026, 1, 1))  # noqa: DTZ001  # that is the point


class OddTime(datetime):
    """As some libraries have them: another kind of datetime, which calculates and prints in its own way."""

    def __add__(self, other):
        raise ZeroDivisionError

    __sub__ = isoformat = astimezone = __add__


class OddLength(timedelta):
    def __truediv__(self, other):
        raise ZeroDivisionError

    __add__ = __radd__ = __truediv__


def test_other_kinds_of_datetime_and_timedelta_become_plain_ones():
    schedules = [OneShotSchedule(at=OddTime(2026, 1, 1, tzinfo=UTC)), IntervalSchedule(OddLength(seconds=30))]
    assert schedules == [OneShotSchedule(at=NOW), IntervalSchedule(30)]
    window = WindowedSchedule(schedules[1], start_at=OddTime(2026, 1, 1, tzinfo=UTC))
    assert {type(schedules[0].at), type(window.start_at)} == {datetime}
    assert type(schedules[1].every) is timedelta


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (CronSchedule("0 8 * * 1-5"), "0 8 * * 1-5"),
        (IntervalSchedule(90), "every 0:01:30"),
        (OneShotSchedule(at=NOW), "once, at 2026-01-01T00:00:00+00:00"),
        (WindowedSchedule(CronSchedule("@daily"), end_at=NOW), "@daily until 2026-01-01T00:00:00+00:00"),
    ],
    ids=str,
)
def test_a_schedule_is_readable_as_text(schedule, words):
    """As on a status page."""
    assert str(schedule) == words
