"""The only door to wall time."""

import time
from datetime import UTC, datetime, timedelta

import time_machine

from chrono_async import Clock, SystemClock
from chrono_async.testing import VirtualClock, VirtualTimeLoop


def test_the_wall_clock_is_aware_and_in_utc():
    assert SystemClock().now().tzinfo is UTC
    with time_machine.travel(datetime(2026, 7, 1, 12, tzinfo=UTC), tick=False):
        assert SystemClock().now() == datetime(2026, 7, 1, 12, tzinfo=UTC)


def test_the_boot_clock_never_goes_back():
    clock = SystemClock()
    readings = [clock.boot() for _ in range(1000)]
    assert readings == sorted(readings)


def test_it_counts_the_time_in_suspend_where_the_system_does():
    if hasattr(time, "CLOCK_BOOTTIME"):
        assert abs(SystemClock().boot() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 5


def test_a_step_of_the_wall_clock_does_not_touch_it():
    clock = VirtualClock(loop=(loop := VirtualTimeLoop()))
    before = clock.now(), clock.boot()
    clock.step(timedelta(hours=1))
    assert (clock.now(), clock.boot()) == (before[0] + timedelta(hours=1), before[1])
    loop.close()


def test_a_clock_is_anything_that_tells_both():
    class Mine:
        def now(self):
            return datetime.now(UTC)

        def boot(self):
            return 0.0

    assert isinstance(SystemClock(), Clock)
    assert isinstance(Mine(), Clock)
    assert not isinstance(object(), Clock)


def test_a_clock_carries_nothing_else():
    assert not hasattr(SystemClock(), "__dict__")
