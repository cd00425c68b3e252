"""
The storage's clock, as far as this instance knows it: it is the clock that plans.

Between two answers it is carried on by the boot clock, which neither steps nor stops, from the moment at which the
answer arrived: so the estimate is never ahead of the truth, and a step of this machine's wall clock cannot move it. An
answer that was long under way makes it no worse: it is believed only where it proves the estimate wrong.
Where the storage's clock *is* this machine's, a step is noticed and the storage is asked again.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from ..clock import Clock

_STEP = timedelta(milliseconds=500)


class StorageTime:
    """What time it is in the storage."""

    __slots__ = ("_base", "_base_boot", "_clock", "_wall_lead", "boot", "is_known", "on_jump")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.boot: Callable[[], float] = clock.boot  # seconds; trust in leases is counted by it
        self._wall_lead = self._lead()
        self._begin_anew(clock.now())
        self.is_known: bool = False  # whether the storage has told it, or it is this machine's time until then
        self.on_jump: Callable[[], None] = lambda: None  # called when it turns out to be another by more than a moment

    def observe(self, now: datetime, sent: float) -> None:
        """Take in the time that came with an answer to what was sent at `sent`, by the boot clock."""
        latest, before = now + timedelta(0, self.boot() - sent), self.now()
        if not self.is_known or not now <= before <= latest:
            self._begin_anew(now)
            if abs(now - before) > _STEP:
                self.on_jump()
        self.is_known = True

    def _begin_anew(self, now: datetime) -> None:
        self._base, self._base_boot = now, self.boot()

    def now(self) -> datetime:
        """Return the storage's time, or a little less."""
        return self._base + timedelta(0, self.boot() - self._base_boot)

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
