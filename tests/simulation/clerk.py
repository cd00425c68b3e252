"""
What the checker knows of when something was decided, and of what time its process took it to be.
"""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from chrono_async import JobRecord
from chrono_async.schedules import Schedule

from .breach import leases, schedule_of
from .history import Called, Claimed, History
from .rules_of_bodies import LONG_PAUSE, LONG_WAY

_HAIR = timedelta(seconds=0.1)
_PLACES = 3
"""How many run at a time on an instance that is bounded."""
_SINCE_IT_WAS_SET = 20.0
"""Seconds after which everybody has heard that the storage's clock was set."""


class Span(NamedTuple):
    """Between these moments, by the storage's clock, something was decided or had ended."""

    begin: datetime
    end: datetime


class Clerk:
    """Knows when something was decided, and by what time."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.moment = timedelta(seconds=history.moment)
        self._advances: dict[str, list[float]] = defaultdict(list)
        for call in history.of(Called):
            if call.verb == "advance":
                self._advances[call.who].append(call.at)

    def knows(self, at: float) -> bool:
        """Whether everybody knew the storage's time then."""
        return not self.history.was_set(at - _SINCE_IT_WAS_SET, at)

    def decided(self, claim: Claimed) -> Span:
        """Return when it was decided what to claim: before it was asked for first, and before all that came between."""
        asked = min(claim.asked, claim.at)
        begin = self._turn(claim.who, asked)
        return Span(self.history.wall(begin) - self.lag(claim.who, begin), self.history.wall(asked) + self.moment)

    def lag(self, who: str, at: float) -> timedelta:
        """Return by how much the storage's time, as a process knew it, may have been behind: by an answer's way."""
        is_shaken = self.history.disturbances(who, at - LONG_PAUSE, at)
        return (timedelta(seconds=LONG_WAY) if is_shaken else _HAIR) + self.moment

    def _turn(self, who: str, asked: float) -> float:
        """Return when the turn began in which this was asked: jobs that had nothing to run may have come first."""
        begin, patience = asked, self.history.patience + self.history.moment + 0.1
        stalls = self.history.disturbances(who, asked - LONG_PAUSE, asked, {"frozen", "giving up"})
        while True:
            earlier = [at for at in self._advances.get(who, ()) if begin - patience <= at < begin]
            earlier += [stall.at - 0.01 for stall in stalls if stall.at < begin <= stall.until + patience]
            if not earlier:
                return begin
            begin = min(earlier)

    def waited(self, claim: Claimed, since: datetime) -> bool:
        """
        Whether all places of a process that is bounded were taken at some time since then, until it asked.

        They are kept, too, for claims that were not answered, as long as a lease lasts; which these were, nobody notes.
        """
        if not self.history.is_bounded(claim.who):
            return False
        begin = (since - self.history.start).total_seconds()
        if self.history.disturbances(claim.who, begin - self.history.ttl, claim.at):
            return True
        own = [lease for events in self.history.by_job.values() for lease in leases(events)]
        taken = [(lease.claim.at, min(lease.ended, lease.until)) for lease in own if lease.claim.who == claim.who]
        moments = [begin, *(at for at, _ in taken if begin <= at < claim.at)]
        return any(sum(at <= moment <= until + 0.1 for at, until in taken) >= _PLACES for moment in moments)


def schedule_in(record: JobRecord) -> Schedule | None:
    """Return the schedule that a job has by its record."""
    return None if record.schedule is None else schedule_of(record.schedule.bound)


def next_after(schedule: Schedule, after: datetime) -> datetime | None:
    """Return the fire time that follows, in UTC."""
    upcoming = schedule.next(after)
    return None if upcoming is None else upcoming.astimezone(UTC)
