"""The storage's time as an instance knows it: never ahead, and no more behind than it must be."""

from datetime import timedelta

import pytest

from chrono_async.engine.storage_time import StorageTime
from chrono_async.testing.contract import SteppedClock

SECOND = timedelta(seconds=1)


@pytest.fixture
def clock():
    return SteppedClock()


@pytest.fixture
def time(clock):
    time = StorageTime(clock)
    time.observe(clock.now(), clock.boot())
    return time


def test_an_answer_that_was_long_under_way_makes_the_estimate_no_worse(clock, time):
    """Else all that is due would be late by that way, until the next answer."""
    sent, told = clock.boot(), clock.now()
    clock.advance(5 * SECOND)
    time.observe(told, sent)
    assert time.now() == clock.now()


def test_an_answer_from_a_clock_that_was_set_back_is_believed(clock, time):
    """The estimate lies beyond what the clock can show by now."""
    clock.advance(SECOND)
    time.observe(clock.now() - 60 * SECOND, clock.boot() - 1)
    assert time.now() == clock.now() - 60 * SECOND


def test_an_answer_from_a_clock_that_was_set_forward_is_believed(clock, time):
    """The estimate lies before what the clock has shown."""
    time.observe(clock.now() + 60 * SECOND, clock.boot() - 1)
    assert time.now() == clock.now() + 60 * SECOND


def test_this_machines_time_is_no_estimate_of_the_storages(clock):
    """The first answer counts, however near it lies."""
    time = StorageTime(clock)
    time.observe(clock.now() - SECOND, clock.boot() - 2)
    assert (time.now(), time.is_known) == (clock.now() - SECOND, True)
