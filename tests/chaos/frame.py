"""
What a campaign knows of its own time: when it was, and what the storage's clock then showed.
"""

from bisect import bisect
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

NEAR = timedelta(seconds=0.25)
"""How far a moment may be from where it is looked for: two clocks, or a read and a write, are not at one."""


class Stretch(NamedTuple):
    """A stretch of true time in which the storage's clock was not set, and what it showed when that began."""

    begin: float
    end: float
    wall: datetime

    def at(self, moment: float) -> datetime:
        """Return what it showed at a moment of the stretch."""
        return self.wall + timedelta(seconds=moment - self.begin)

    @property
    def last(self) -> datetime:
        """What it showed when the stretch ended."""
        return self.at(self.end)

    def distance(self, now: datetime) -> timedelta:
        """Return how far it was, at the least, from showing that."""
        return max(self.wall - now, now - self.last, timedelta(0))


class Frame(NamedTuple):
    """What a campaign knows of its own time."""

    begin: float
    """By the boot clock: the history's zero."""
    wall: datetime
    """The storage's wall time then."""
    storm_ends: float
    judged_from: float
    ended: float
    moment: float
    """By how much later than in a simulation things may be on a real machine."""
    steps: Sequence[tuple[float, float]] = ()
    """When the server's clock was set, and by how many seconds it was ahead from then on."""

    def wall_at(self, at: float) -> datetime:
        """Return the storage's time at a true moment."""
        return self._wall(at, self._ahead(at))

    def _wall(self, at: float, ahead: float) -> datetime:
        return self.wall + timedelta(seconds=at - self.begin + ahead)

    def stretches(self, begin: float, end: float) -> list[Stretch]:
        """Return the parts of an interval in which the storage's clock was not set."""
        inner = [step for step in self.steps if begin < step[0] < end]
        ends = [*(at for at, _ in inner), end]
        firsts = [(begin, self._ahead(begin)), *inner]
        return [Stretch(at, end, self._wall(at, ahead)) for (at, ahead), end in zip(firsts, ends, strict=True)]

    def _ahead(self, at: float) -> float:
        number = bisect([moment for moment, _ in self.steps], at)
        return self.steps[number - 1][1] if number else 0.0

    @property
    def cuts(self) -> list[Stretch]:
        """The time since the storage's clock went back: leases that seem too long may be cut to their length."""
        befores = [0.0, *(ahead for _, ahead in self.steps)]
        backs = [at for (at, ahead), before in zip(self.steps, befores, strict=False) if ahead < before]
        return self.stretches(backs[0], self.ended + 60) if backs else []

    def shows(self, now: datetime, begin: float, end: float) -> bool:
        """Whether the storage's clock showed that in an interval."""
        return any(stretch.distance(now) <= NEAR for stretch in self.stretches(begin, end))

    def true(self, now: datetime, begin: float, end: float) -> float:
        """Return the true moment within an interval at which the storage's clock showed that, or nearly."""
        best = min(self.stretches(begin, end), key=lambda stretch: stretch.distance(now))
        return min(max(best.begin + (now - best.wall).total_seconds(), best.begin), best.end)
