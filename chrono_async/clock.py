"""
The only door to wall time.

Nothing else here calls `datetime.now` or `time.time`: whoever holds the clock holds the scheduler, which is what
makes a year of schedules testable in a second. Sleeping is not here: the event loop does that.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol, runtime_checkable

# CLOCK_BOOTTIME counts through a suspend, CLOCK_MONOTONIC does not. macOS and Windows have only the latter.
_BOOT_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", None)


@runtime_checkable
class Clock(Protocol):
    """
    What tells a scheduler the time.

    A clock that knows when it is set may have a method `on_set(callback)`, which calls back then and returns a function
    that ends it. Without one a scheduler looks up every second, lest it sleep on by a clock that has changed.
    """

    def now(self) -> datetime:
        """Return the wall time, aware and in UTC. It may step in either direction."""
        ...

    def boot(self) -> float:
        """Return seconds since some fixed moment, on a clock that neither steps nor stops while the machine sleeps."""
        ...


class SystemClock:
    """The machine's own clocks."""

    __slots__ = ()

    def now(self) -> datetime:
        """Return the machine's wall time."""
        return datetime.now(UTC)

    def boot(self) -> float:
        """Return seconds since the machine started, time in suspend included where the system counts it."""
        return time.monotonic() if _BOOT_CLOCK is None else time.clock_gettime(_BOOT_CLOCK)


class DistantClock:
    """
    A clock somewhere else, as far as its answers tell it; until one has come, a guess.

    Between two answers it is carried on by the boot clock, which neither steps nor stops, from the moment at which the
    answer arrived: so the estimate is never ahead of the truth, and a step of this machine's wall clock cannot move it.
    An answer that was long under way makes it no worse: it is believed only where it proves the estimate wrong.
    """

    __slots__ = ("_base", "_base_boot", "boot", "is_known")

    def __init__(self, boot: Callable[[], float], guess: datetime) -> None:
        self.boot: Callable[[], float] = boot
        self._begin_anew(guess)
        self.is_known: bool = False

    def observe(self, now: datetime, sent: float) -> None:
        """Take in the time that came with an answer to what was sent at `sent`, by the boot clock."""
        latest = now + timedelta(0, self.boot() - sent)
        if not self.is_known or not now <= self.now() <= latest:
            self._begin_anew(now)
        self.is_known = True

    def _begin_anew(self, now: datetime) -> None:
        self._base, self._base_boot = now, self.boot()

    def now(self) -> datetime:
        """Return the time there, or a little less."""
        return self._base + timedelta(0, self.boot() - self._base_boot)
