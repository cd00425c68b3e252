"""
What a schedule is, to those who ask it.

The engine needs one method, `next`. Everything else is optional and makes an answer faster or a definition portable, so
that anyone can pass an object of their own.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Protocol, runtime_checkable

from ..errors import ScheduleError


@runtime_checkable
class Schedule(Protocol):
    """A rule that yields fire times: a pure function of time, without a cursor."""

    def next(self, after: datetime) -> datetime | None:
        """Return the first fire time strictly later than `after`, aware, or None when there is none any more."""
        ...


def require_aware(moment: datetime, what: str) -> datetime:
    """Return `moment`, or raise `ScheduleError` if it is naive: whose midnight it means is never guessed."""
    if moment.utcoffset() is None:
        raise ScheduleError(f"{what}={moment!r} has no time zone; write for instance .replace(tzinfo=timezone.utc)")
    return moment


def occurrences(schedule: Schedule, after: datetime, until: datetime | None = None) -> Iterator[datetime]:
    """Yield the fire times in `(after, until]`, lazily; without `until` for as long as there are any."""
    require_aware(after, "after")
    last = None if until is None else require_aware(until, "until").astimezone(UTC)
    moment = schedule.next(after)
    while moment is not None and (last is None or moment.astimezone(UTC) <= last):
        yield moment
        moment = schedule.next(moment)
