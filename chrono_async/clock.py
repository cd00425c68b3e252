"""
The only door to wall time.

Nothing else here calls `datetime.now` or `time.time`: whoever holds the clock holds the scheduler, which is what
makes a year of schedules testable in a second. Sleeping is not here: the event loop does that.
"""

import time
from datetime import UTC, datetime
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
