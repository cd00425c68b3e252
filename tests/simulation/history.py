"""
What happened in a simulated world, in the order in which it took effect, as values.

`at` is the true time in seconds since the world began, which nobody in the world can read. `who` is a process: `a2` is
the second life of the instance `a`. The storage's events are noted where they take effect, whatever becomes of the
answer.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple

from chrono_async import JobRecord, Retry
from chrono_async.policies import Missed

FOREVER = float("inf")
START = datetime(2026, 1, 1, tzinfo=UTC)


class Called(NamedTuple):
    """A process has sent a request to the storage."""

    at: float
    who: str
    verb: str


class Claimed(NamedTuple):
    """A claim was granted; `again` says that it had been granted before, and the answer was lost."""

    at: float
    who: str
    job: str
    fire_time: datetime
    token: int
    attempt: int
    manual: bool
    pointer: datetime | None
    """As the asker saw it."""
    revision: int
    moves: bool
    frees: bool
    now: datetime
    """By the storage's clock."""
    until: float
    """The end of the lease, in true time: by the clock that it was measured by, whatever that shows since."""
    again: bool = False
    reasked: bool = False
    """Whether the same owner had asked before, and had heard nothing."""
    asked: float = FOREVER
    """When its owner had asked for it first, if that is known: it was decided before."""


class Refused(NamedTuple):
    """A claim was not granted."""

    at: float
    who: str
    job: str
    why: str
    reasked: bool = False


class Renewed(NamedTuple):
    """A lease was extended."""

    at: float
    who: str
    job: str
    token: int
    until: float
    was_over: bool


class NotRenewed(NamedTuple):
    """A lease that was to be extended is none any more."""

    at: float
    who: str
    job: str
    token: int


class Settled(NamedTuple):
    """An outcome has arrived at the storage."""

    at: float
    who: str
    job: str
    token: int
    fire_time: datetime
    manual: bool
    verdict: str
    status: str
    missed: Missed | None
    skipped: Missed | None
    attempt: int
    error: str


class Released(NamedTuple):
    """A lease was given back, if it still was one."""

    at: float
    who: str
    job: str
    token: int
    done: bool


class Advanced(NamedTuple):
    """The pointer was to be moved without a run."""

    at: float
    who: str
    job: str
    pointer: datetime
    next_run: datetime | None
    missed: Missed | None
    done: bool


class Changed(NamedTuple):
    """
    A user's verb has taken effect, or was refused: the verdict of a registration, else done or refused.

    Or kept: a resume that has left the job's pointer where it was, so that nothing begins anew.
    """

    at: float
    who: str
    job: str
    verb: str
    verdict: str


class Seen(NamedTuple):
    """A record that is not as it was before the call of that verb; None when it is gone."""

    at: float
    job: str
    by: str
    record: JobRecord | None


class Began(NamedTuple):
    """A body has begun. `stubborn` is for how many seconds it will ignore that it is cancelled."""

    at: float
    who: str
    job: str
    fire_time: datetime
    token: int
    attempt: int
    manual: bool
    stubborn: float
    missed: Missed | None
    number: int
    """Of all bodies: each try of a run is one."""


class Ended(NamedTuple):
    """A body has ended."""

    at: float
    who: str
    job: str
    token: int
    how: str
    number: int


class Fault(NamedTuple):
    """From then until then something was wrong with a process, or with the storage for all (`who` is empty)."""

    at: float
    until: float
    who: str
    kind: str


class Stepped(NamedTuple):
    """The storage's clock was set: from then on it is by so many seconds ahead of what it would have shown."""

    at: float
    ahead: float


class Struck(NamedTuple):
    """One message of a process has met with a mishap."""

    at: float
    who: str
    kind: str
    verb: str


class Lived(NamedTuple):
    """A process has been born, is stopping, has stopped (leaving so many tasks), or died."""

    at: float
    who: str
    what: str
    left: tuple[str, ...] = ()


class Asked(NamedTuple):
    """A user has called a verb of a scheduler, or has the answer."""

    at: float
    who: str
    job: str
    verb: str
    answer: str


class Defect(NamedTuple):
    """Something that the engine logs as an error, or that nobody caught."""

    at: float
    text: str


Event = Any


class OfJob(list[Event]):
    """The events that concern a job; what was made of them once is kept beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[str, Any] = {}


class Traits(NamedTuple):
    """What the checker must know of a job beside what its record says."""

    is_short: bool
    """Its body is always done before the next fire time, and never fails to end."""
    tries: int = 1
    """How often a run that fails is tried in all."""
    pause: float = 0.0
    """Seconds between two tries at the least."""
    timeout: float | None = None
    """Seconds that a try may take."""

    @classmethod
    def of(cls, options: Mapping[str, Any], *, is_short: bool) -> "Traits":
        """Return what a job's options say, and how its body behaves."""
        retry = options.get("max_retries", 0)
        if isinstance(retry, Retry):
            pause = 0.0 if retry.jitter else retry.delay.total_seconds()
            return cls(is_short, 1 + retry.max_retries, pause, options.get("timeout"))
        return cls(is_short, 1 + retry, timeout=options.get("timeout"))


_GRAVE_VERBS = frozenset({"claim", "renew", "settle", "release"})
_HAIR = 0.1
"""Seconds by which what is placed in time may be misplaced, where it is seen from outside."""


@dataclass
class History:
    """The events of one world, and what they are judged by."""

    ttl: float
    poll: float
    patience: float
    """How long a call of the storage is waited for."""
    has_eight_methods: bool = False
    is_on_rows: bool = False
    """Whether a verb takes several messages, each of which can be late by itself."""
    storm_ends: float = FOREVER
    judged_from: float = FOREVER
    """When all that was wrong must have been made good."""
    ended: float = FOREVER
    skew: timedelta = timedelta(0)
    """By how much a claim may be early, where each instance goes by its own clock."""
    moment: float = 0.0
    """By how many seconds more than in a simulation things may be late: on a machine with other things to do."""
    traits: Mapping[str, Traits] = field(default_factory=dict)
    bounded: frozenset[str] | None = None
    """The names of those that run no more than a few at a time; None if that is not noted: all but `a` may be so."""
    start: datetime = START
    """The storage's wall time at the beginning."""
    events: list[Event] = field(default_factory=list)

    def is_bounded(self, who: str) -> bool:
        """Whether this process may be one that runs no more than a few at a time."""
        return not who.startswith("a") if self.bounded is None else who.rstrip("0123456789") in self.bounded

    def of(self, *kinds: type[Event]) -> Iterator[Any]:
        """Return the events of these kinds, in order."""
        if len(kinds) == 1:
            return iter(self._by_kind[kinds[0]])
        return (event for event in self.events if type(event) in kinds)

    @cached_property
    def _by_kind(self) -> Mapping[type[Event], list[Event]]:
        found: dict[type[Event], list[Event]] = defaultdict(list)
        for event in self.events:
            found[type(event)].append(event)
        return found

    @cached_property
    def by_job(self) -> dict[str, OfJob]:
        """The events that concern a job, in order; that the storage's clock was set concerns all."""
        found: dict[str, OfJob] = {}
        for event in self.events:
            if hasattr(event, "job") and event.job not in found:
                found[event.job] = OfJob()
        for event in self.events:
            if type(event) is Stepped:
                for events in found.values():
                    events.append(event)
            elif hasattr(event, "job"):
                found[event.job].append(event)
        return found

    @cached_property
    def steps(self) -> list[Stepped]:
        """When the storage's clock was set."""
        return list(self.of(Stepped))

    def was_set(self, begin: float, end: float) -> bool:
        """
        Whether the storage's clock was set between these moments.

        A lease that was granted before and judged after was measured by two clocks: that is all that is ever excused.
        """
        return any(begin - _HAIR <= step.at <= end + _HAIR for step in self.steps)

    def wall(self, at: float) -> datetime:
        """Return the storage's time at a true moment."""
        ahead = next((step.ahead for step in reversed(self.steps) if step.at <= at), 0.0)
        return self.start + timedelta(seconds=at + ahead)

    @cached_property
    def faults(self) -> dict[str, list[Fault]]:
        """What was wrong, by process; under an empty name what was wrong for all."""
        found: dict[str, list[Fault]] = defaultdict(list)
        for event in self.of(Fault, Struck, Lived):
            if type(event) is Fault:
                found[event.who].append(event)
            elif type(event) is Struck:
                kind = event.kind if event.verb in _GRAVE_VERBS else "mishap of no weight"
                found[event.who].append(Fault(event.at, event.at, event.who, kind))
            elif event.what in {"stopping", "stopped", "died"}:
                found[event.who].append(Fault(event.at, FOREVER, event.who, event.what))
        return found

    def disturbances(self, who: str, begin: float, end: float, kinds: Iterable[str] = ()) -> list[Fault]:
        """Return what was wrong with the process, or with the storage for all, between these moments."""
        wanted = frozenset(kinds)
        return [
            fault
            for fault in (*self.faults.get(who, ()), *self.faults.get("", ()))
            if fault.at <= end and fault.until >= begin and (not wanted or fault.kind in wanted)
        ]

    def excerpt(self, job: str, around: float, *, before: float = 15, after: float = 5) -> list[str]:
        """Return the lines that tell of this job, and of what went wrong, about that time."""
        told = (e for e in self.events if getattr(e, "job", job) == job and type(e) is not Called)
        return [line(e) for e in told if around - before <= e.at <= around + after]


def line(event: Event) -> str:
    """Return an event as a line of text, the same in every process and on every interpreter."""
    if isinstance(event, Seen) and event.record is not None:
        r = event.record
        what = (
            f"next={_clock(r.next_run)} rev={r.revision} token={r.token} owner={r.owner is not None} "
            f"until={_clock(r.lease_until)} claimed={_clock(r.claimed)} attempt={r.attempt} runs={r.run_count} "
            f"errors={r.error_count} paused={r.paused} status={r.status} flights={len(r.flights)} "
            f"manual={r.manual} triggered={r.triggered}"
        )
        return f"{event.at:10.4f} Seen {event.job} by={event.by} {what}"
    values = " ".join(f"{name}={_clock(value)}" for name, value in zip(event._fields[1:], event[1:], strict=True))
    return f"{event.at:10.4f} {type(event).__name__} {values}"


def _clock(value: object) -> object:
    return value.strftime("%H:%M:%S.%f") if isinstance(value, datetime) else value
