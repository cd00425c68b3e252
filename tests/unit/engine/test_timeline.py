"""The instance's heap of deadlines."""

from datetime import UTC, datetime, timedelta

import pytest

from chrono_async.engine.timeline import Timeline
from chrono_async.models import Due

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def due(job_id, seconds=0):
    moment = NOW + timedelta(seconds=seconds)
    return Due(job_id, moment, moment, 1)


@pytest.fixture
def woken():
    return []


@pytest.fixture
def timeline(woken):
    return Timeline(on_earlier=lambda: woken.append(True))


def arm(timeline, job_id, seconds):
    entry = due(job_id, seconds)
    timeline.arm(entry, entry.when)


def test_what_is_due_comes_off_in_the_order_of_its_deadlines(timeline):
    """Equal ones in the order in which they were armed."""
    for job_id, seconds in [("c", 3), ("a", 1), ("late", 9), ("b", 1)]:
        arm(timeline, job_id, seconds)
    assert [entry.job_id for entry in timeline.pop_due(NOW + timedelta(seconds=3))] == ["a", "b", "c"]
    assert timeline.next_deadline() == NOW + timedelta(seconds=9)


def test_a_job_has_one_place(timeline):
    """Arming it again moves it, earlier or later."""
    for seconds in (5, 9, 2):
        arm(timeline, "a", seconds)
    assert len(timeline) == 1
    assert timeline.next_deadline() == NOW + timedelta(seconds=2)
    assert len(timeline.pop_due(NOW + timedelta(seconds=20))) == 1


def test_a_disarmed_job_does_not_come_up(timeline):
    """Nor does it count as the next deadline."""
    arm(timeline, "a", 1)
    arm(timeline, "b", 2)
    timeline.disarm("a")
    timeline.disarm("nobody")
    assert timeline.next_deadline() == NOW + timedelta(seconds=2)
    assert [entry.job_id for entry in timeline.pop_due(NOW + timedelta(seconds=5))] == ["b"]
    assert timeline.next_deadline() is None


def test_only_a_new_earliest_deadline_wakes_the_sleeper(timeline, woken):
    """Who sleeps until then need not hear of later ones."""
    arm(timeline, "a", 10)
    assert len(woken) == 1
    arm(timeline, "b", 20)
    arm(timeline, "a", 10)
    assert len(woken) == 1
    arm(timeline, "c", 5)
    assert len(woken) == 2


def test_what_was_replaced_does_not_pile_up(timeline):
    """A job that is put off again and again leaves no trace of where it was."""
    arm(timeline, "first", 1)
    for n in range(10_000):
        arm(timeline, "a", 100 + n)
    assert len(timeline._heap) < 200
    assert [entry.when for entry in timeline.pop_due(NOW + timedelta(days=1))] == [
        NOW + timedelta(seconds=1),
        NOW + timedelta(seconds=100 + 9999),
    ]


def test_nor_does_what_was_disarmed_or_put_ever_earlier(timeline):
    """Whoever adds and removes jobs all day long keeps none of them."""
    for n in range(10_000):
        arm(timeline, f"job {n}", 100)
        timeline.disarm(f"job {n}")
    assert len(timeline._heap) < 200
    for n in range(10_000):
        arm(timeline, "a", 20_000 - n)
    assert len(timeline._heap) < 200
    assert timeline.next_deadline() == NOW + timedelta(seconds=10_001)
