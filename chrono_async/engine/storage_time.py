"""
The storage's clock, as far as this instance knows it: it is the clock that plans.

Where the storage's clock *is* this machine's, a step is noticed and the storage is asked again.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from ..clock import Clock, DistantClock, SystemClock

_STEP = timedelta(milliseconds=500)


class StorageTime(DistantClock):
    """What time it is in the storage; this machine's time, until the storage has told its own."""

    __slots__ = ("_clock", "_wall_lead", "on_jump")

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock.boot, clock.now())
        self._clock = clock
        self._wall_lead = self._lead()
        self.on_jump: Callable[[], None] = lambda: None
        """Called when the storage's time turns out to be another, by more than `_STEP`."""

    @property
    def is_the_machines(self) -> bool:
        """Whether it goes on as this machine's clocks do, whatever the event loop does."""
        return isinstance(self._clock, SystemClock)

    def observe(self, now: datetime, sent: float) -> None:
        """Take in the time that came with an answer to what was sent at `sent`, by the boot clock."""
        before = self.now()
        super().observe(now, sent)
        if abs(self.now() - before) > _STEP:
            self.on_jump()

    def has_stepped(self) -> bool:
        """Whether this machine's wall clock was set since the last time of asking."""
        before, self._wall_lead = self._wall_lead, self._lead()
        return abs(self._wall_lead - before) > _STEP

    @contextmanager
    def wakes_when_set(self, wake: Callable[[], None]) -> Iterator[bool]:
        """Have `wake` called when this machine's wall clock is set; whether its clock can do that."""
        on_set: Callable[[Callable[[], None]], Callable[[], None]] | None = getattr(self._clock, "on_set", None)
        end = on_set(wake) if on_set is not None else None
        try:
            yield end is not None
        finally:
            if end is not None:
                end()

    def _lead(self) -> timedelta:
        """Return how far wall time is ahead of boot time: it changes only when the wall clock is set."""
        return (self._clock.now() - _EPOCH) - timedelta(seconds=self._clock.boot())


_EPOCH = datetime.fromisoformat("2000-01-01T00:00:00+00:00")
