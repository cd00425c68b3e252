"""
A breach of a rule, and what the rules have in common: the lives of a job, its leases, its schedule.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from chrono_async import JobRecord
from chrono_async.schedules import Schedule, load

from .history import FOREVER, Changed, Claimed, Event, OfJob, Released, Renewed, Seen, Settled, Stepped


class Breach(NamedTuple):
    """When, for which job, and what."""

    at: float
    job: str
    text: str


def is_created(event: Event) -> bool:
    """Whether a job's life begins here."""
    return type(event) is Changed and event.verb == "register" and event.verdict == "created"


def is_deleted(event: Event) -> bool:
    """Whether a job's life ends here."""
    return type(event) is Changed and event.verb == "delete_job"


def is_set(event: Event) -> bool:
    """Whether a user, or new code, has pointed the job elsewhere."""
    if type(event) is not Changed:
        return False
    return (event.verb, event.verdict) in {("register", "changed"), ("resume", "done"), ("reschedule", "done")}


def is_done(event: Event) -> bool:
    """Whether an outcome is written here."""
    return type(event) is Settled and event.verdict == "done"


def lives(events: Iterable[Event]) -> Iterator[tuple[int, Event]]:
    """
    Yield each event of a job with the number of the life that it falls in.

    A user who points the job elsewhere by a clock that was set back asks for fire times that have been once: then, too,
    another life begins, but not for a manual run; see `Lease.life`.
    """
    life, ahead, latest = 0, 0.0, -FOREVER
    for event in events:
        if type(event) is Stepped:
            latest, ahead = max(latest, event.at + ahead), event.ahead
        life += is_created(event) or (is_set(event) and event.at + ahead < latest)
        yield life, event


def versions(events: Iterable[Event]) -> Iterator[tuple[Seen, Seen, list[Event]]]:
    """Yield each two versions of a record that follow one another within a life, and what happened between."""
    before: Seen | None = None
    between: list[Event] = []
    for event in events:
        if type(event) is not Seen:
            between.append(event)
            continue
        if before is not None and before.record is not None and event.record is not None:
            yield before, event, between
        before, between = event, []


def both(before: Seen, after: Seen) -> tuple[JobRecord, JobRecord]:
    """Return the records of two versions that `versions` has yielded."""
    assert before.record is not None
    assert after.record is not None
    return before.record, after.record


class Lease:
    """A claim, how long it lasted, and how it came to an end."""

    def __init__(self, claim: Claimed, life: int) -> None:
        self.claim = claim
        self.life = life
        """A manual run's ends with its job only: wherever the pointer is set to, what was asked for by hand stays."""
        self.extensions = [(claim.at, claim.until)]
        self.ended = FOREVER
        self.how = "ran out"

    @property
    def until(self) -> float:
        """When it ran out, or would have."""
        return max(until for _, until in self.extensions)

    def until_as_of(self, moment: float) -> float:
        """Return how long it lasted by what had been granted until then."""
        return max((until for at, until in self.extensions if at <= moment), default=self.claim.until)

    def measured_as_of(self, moment: float, ttl: float) -> float:
        """Return from when it counts, by what had been granted until then: it may have been written later."""
        return self.until_as_of(moment) - ttl

    @property
    def ran_out(self) -> bool:
        """Whether nobody ended it in time."""
        return self.ended > self.until


def leases(events: OfJob) -> Sequence[Lease]:
    """Return all leases that were granted on a job, in their order."""
    if "leases" not in events.made:
        events.made["leases"] = _leases(events)
    made: Sequence[Lease] = events.made["leases"]
    return made


def _leases(events: Iterable[Event]) -> list[Lease]:
    found: dict[int, Lease] = {}
    births = 0
    for life, event in lives(events):
        births += is_created(event)
        if is_deleted(event):
            for lease in found.values():
                _end(lease, event.at, "deleted")
        lease = found.get(getattr(event, "token", 0))
        if type(event) is Claimed and lease is None:
            found[event.token] = Lease(event, births if event.manual else life)
        elif lease is None:
            continue
        elif type(event) in {Claimed, Renewed}:
            lease.extensions.append((event.at, event.until))
        elif is_done(event):
            _end(lease, event.at, "settled")
        elif type(event) is Released and event.done:
            _end(lease, event.at, "released")
    return list(found.values())


def _end(lease: Lease, at: float, how: str) -> None:
    if lease.ended == FOREVER:
        lease.ended, lease.how = at, how


@lru_cache(maxsize=4096)
def schedule_of(bound: str) -> Schedule | None:
    """Return the schedule that a record's text stands for."""
    return load(bound)


def fire_times(schedule: Schedule, begin: datetime, end: datetime) -> list[datetime]:
    """Return `begin`, and the fire times between it and `end`, which is not one of them."""
    found, moment = [], begin
    while moment < end:
        found.append(moment)
        upcoming = schedule.next(moment)
        if upcoming is None:
            break
        moment = upcoming
    return found
