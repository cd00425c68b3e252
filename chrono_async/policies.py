"""
The rules: what becomes of a backlog, of fire times that come during a run, of a failed try.

Everything here is a pure function of values to a decision. No clock is read, nothing is awaited; the engine asks and
acts.
"""

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from .durations import CENTURY, Duration, at_most_a_century, to_non_negative
from .errors import InvalidOptionError
from .schedules import Schedule, WindowedSchedule, count, latest

MAX_ATTEMPTS = 3
"""An occurrence whose process died this often is settled as failed, so that poison passes."""

COUNT_LIMIT = 10_000
"""Missed fire times are counted up to here; a longer backlog says "at least"."""

_TICK = timedelta(microseconds=1)


class Misfire(StrEnum):
    """What becomes of fire times that passed while nobody looked."""

    FIRE_ONCE = "fire_once"
    """One run, at the latest of them; the others are folded into it."""
    SKIP = "skip"
    """None of them runs; a fire time within `misfire_grace` is not missed yet, and runs late."""
    FIRE_ALL = "fire_all"
    """Each runs, in order; of a very long backlog the latest `max_catchup`."""


class Overlap(StrEnum):
    """What becomes of a fire time that comes while the job's own earlier run is going."""

    SKIP = "skip"
    """It is reported and passed over."""
    QUEUE = "queue"
    """The latest of them runs right after."""
    CANCEL_RUNNING = "cancel_running"
    """The running one is cancelled, and the new one runs."""
    ALLOW = "allow"
    """Both run at once. Such runs are at most once: a dead process's are not taken over."""


class Recovery(StrEnum):
    """What becomes of a run whose process died."""

    RERUN = "rerun"
    """It is due again: at least once."""
    SKIP = "skip"
    """It is lost, and the history says so: at most once."""


@dataclass(frozen=True, slots=True)
class Missed:
    """Fire times that had no run of their own."""

    count: int
    """How many; `COUNT_LIMIT` means at least that many."""
    first: datetime
    last: datetime


class Backlog(NamedTuple):
    """What to do about a due pointer."""

    run: datetime | None
    """The fire time to run now."""
    next_run: datetime | None
    """Where the pointer goes when nothing is to run now."""
    missed: Missed | None = None
    """The fire times that get no run of their own."""


class Move(NamedTuple):
    """Where the pointer goes after a run."""

    next_run: datetime | None
    queued: bool = False
    """The fire time came during the run and waits its turn: it is no misfire, however late it starts."""
    skipped: Missed | None = None


_FIVE_MINUTES = timedelta(minutes=5)


def _non_negative(value: Any) -> Any:
    return None if value is None else to_non_negative(value, "duration")


def _at_most_a_century(value: Any) -> Any:
    return None if value is None else at_most_a_century(to_non_negative(value, "duration"), "duration")


NonNegativeDuration = Annotated[timedelta, BeforeValidator(_non_negative)]
BoundedDuration = Annotated[timedelta, BeforeValidator(_at_most_a_century)]


def refused(error: ValidationError, given: Mapping[str, Any]) -> InvalidOptionError:
    """Return what pydantic found as an error of ours: the first option that cannot be, and why."""
    first = error.errors()[0]
    name, cause = str(first["loc"][0]), first.get("ctx", {}).get("error")
    problem = cause.problem if isinstance(cause, InvalidOptionError) else first["msg"]
    return InvalidOptionError(name, given[name], problem)


class Retry(BaseModel):
    """
    How a failed try is followed by another: `max_retries` more, `delay * backoff**n` apart, at most `max_delay`.

    That is five minutes unless you give it, or `delay` where that is longer.
    With `jitter` each delay is drawn evenly from between nothing and that figure ("full jitter"), so that jobs that
    failed together do not come back together. Only exceptions of the types in `on` are retried; a
    timeout is a `TimeoutError`.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, defer_build=True
    )

    max_retries: int = Field(default=3, ge=0, strict=True)
    delay: NonNegativeDuration = timedelta(seconds=1)
    backoff: float = Field(default=2.0, ge=1, strict=True, allow_inf_nan=False)
    max_delay: NonNegativeDuration | None = None
    jitter: bool = Field(default=True, strict=True)
    on: tuple[type[BaseException], ...] = (Exception,)

    def __init__(
        self,
        max_retries: int = 3,
        *,
        delay: Duration = timedelta(seconds=1),
        backoff: float = 2.0,
        max_delay: Duration | None = None,
        jitter: bool = True,
        on: tuple[type[BaseException], ...] = (Exception,),
    ) -> None:
        given = {"max_retries": max_retries, "delay": delay, "backoff": backoff, "max_delay": max_delay}
        try:
            super().__init__(**given, jitter=jitter, on=on)
        except ValidationError as error:
            raise refused(error, {**given, "jitter": jitter, "on": on}) from None

    def wants(self, error: BaseException, tries: int) -> bool:
        """Whether a try that ended with `error`, after `tries` tries in all, is to be followed by another."""
        return tries <= self.max_retries and isinstance(error, self.on)

    def delay_after(self, tries: int, chance: float) -> timedelta:
        """Return the pause after try number `tries` (1 is the first); `chance` in [0, 1) decides within the jitter."""
        if not self.delay:
            return self.delay
        most = max(self.delay, _FIVE_MINUTES) if self.max_delay is None else self.max_delay
        longest = min(most, CENTURY) / timedelta(seconds=1)
        try:
            seconds = min(self.delay / timedelta(seconds=1) * self.backoff ** (tries - 1), longest)
        except OverflowError:
            seconds = longest
        return timedelta(seconds=seconds * chance if self.jitter else seconds)


class Policies(BaseModel):
    """The options of a job that its record carries, because more than the function's own process needs them."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="ignore", ser_json_timedelta="float", defer_build=True
    )

    misfire: Misfire = Misfire.FIRE_ONCE
    misfire_grace: BoundedDuration | None = None
    max_catchup: int = Field(default=1000, ge=1, strict=True)
    overlap: Overlap = Overlap.SKIP
    recovery: Recovery = Recovery.RERUN
    jitter: BoundedDuration = timedelta(0)
    max_runs: int | None = Field(default=None, ge=1, strict=True)
    tags: tuple[str, ...] = ()

    @property
    def at_most_once(self) -> bool:
        """Whether the claim itself moves the pointer, so that no other instance ever repeats the run."""
        return self.recovery is Recovery.SKIP or self.is_parallel

    @property
    def is_parallel(self) -> bool:
        """Whether runs of the job may overlap each other."""
        return self.overlap is Overlap.ALLOW


DEFAULT_POLICIES = Policies.model_construct()  # which validates nothing, and so builds no validator at import


def resolve_backlog(
    schedule: Schedule, due: datetime, now: datetime, policies: Policies, *, grace: timedelta, found: datetime
) -> Backlog:
    """
    Sort the fire times in `[due, now]` into the one to run and those to report, and say what comes next.

    `found` is when somebody first saw `due` as due: a fire time that then waited for a free place is not missed.
    """
    if policies.misfire is Misfire.FIRE_ALL:
        return _fire_all(schedule, due, now, policies.max_catchup)
    if found - due <= grace and (grace or policies.misfire is Misfire.SKIP):
        return Backlog(due, due)
    if policies.misfire is Misfire.SKIP:
        return _skip(schedule, due, now, grace)
    return _fire_once(schedule, due, now)


def folded(schedule: Schedule, pointer: datetime, run: datetime) -> Missed | None:
    """Report the fire times from the pointer on that an earlier attempt folded into `run`, if any."""
    return _missed(schedule, pointer, run) if pointer < run else None


def _fire_once(schedule: Schedule, due: datetime, now: datetime) -> Backlog:
    upcoming = _utc(schedule.next(due))
    if upcoming is None or upcoming > now:
        return Backlog(due, due)
    run = latest(schedule, due, now) or due
    return Backlog(run, run, _missed(schedule, due, run))


def _skip(schedule: Schedule, due: datetime, now: datetime, grace: timedelta) -> Backlog:
    in_time = _utc(schedule.next(max(due, now - grace - _TICK)))
    run = in_time if in_time is not None and in_time <= now else None
    return Backlog(run, in_time, _missed(schedule, due, run, until=now))


def _fire_all(schedule: Schedule, due: datetime, now: datetime, most: int) -> Backlog:
    if count(schedule, due, now, most) < most:
        return Backlog(due, due)
    first = _nth_latest(schedule, due, now, most)
    return Backlog(first, first, _missed(schedule, due, first))


def _nth_latest(schedule: Schedule, due: datetime, now: datetime, most: int) -> datetime:
    """Return the earliest of the latest `most` fire times in `(due, now]`."""
    if isinstance(schedule, WindowedSchedule):
        return _nth_latest(schedule.schedule, *schedule.clip(due, now), most)
    previous = getattr(schedule, "previous", None)
    if previous is None:
        return deque(_walk(schedule, due, now), maxlen=most)[0]
    moment = now + _TICK
    for _ in range(most):
        moment = previous(moment)
    return moment.astimezone(UTC)


def _walk(schedule: Schedule, after: datetime, until: datetime) -> Iterator[datetime]:
    moment = _utc(schedule.next(after))
    while moment is not None and moment <= until:
        yield moment
        moment = _utc(schedule.next(moment))


def _missed(schedule: Schedule, due: datetime, run: datetime | None, until: datetime | None = None) -> Missed | None:
    """Report the fire times in `[due, run)`, or in `[due, until]` when none of them runs."""
    end = until if run is None else run - _TICK
    if end is None or end < due:
        return None
    return Missed(1 + count(schedule, due, end, COUNT_LIMIT - 1), due, latest(schedule, due, end) or due)


def move_after_run(
    schedule: Schedule, fire_time: datetime, claimed_at: datetime, finished: datetime, overlap: Overlap
) -> Move:
    """
    Say where the pointer goes after a run of `fire_time` that was claimed and finished at these storage times.

    Fire times up to `claimed_at` were there before the run: they are backlog, not overlap.
    """
    upcoming = _utc(schedule.next(fire_time))
    if upcoming is None or upcoming > finished or upcoming <= claimed_at:
        return Move(upcoming)
    last = latest(schedule, upcoming, finished) or upcoming
    if overlap in {Overlap.QUEUE, Overlap.CANCEL_RUNNING}:
        return Move(last, queued=True, skipped=_missed(schedule, upcoming, last))
    return Move(_utc(schedule.next(last)), skipped=_missed(schedule, upcoming, None, until=last))


def move_at_claim(schedule: Schedule, fire_time: datetime) -> Move:
    """Say where the claim of an at-most-once run puts the pointer: nobody waits for its outcome."""
    return Move(_utc(schedule.next(fire_time)))


def jitter_offset(job_id: str, fire_time: datetime, jitter: timedelta) -> timedelta:
    """Return how long after `fire_time` the job starts: hashed, so that every instance comes to the same answer."""
    if not jitter:
        return jitter
    digest = hashlib.blake2b(f"{job_id}@{fire_time.isoformat()}".encode(), digest_size=8).digest()
    return jitter * (int.from_bytes(digest) / 2**64)


def default_grace(policies: Policies, poll_interval: timedelta) -> timedelta:
    """Return how late is not yet missed: what the job says, else a poll interval for SKIP, nothing for the others."""
    if policies.misfire_grace is not None:
        return policies.misfire_grace
    return poll_interval if policies.misfire is Misfire.SKIP else timedelta(0)


def _utc(moment: datetime | None) -> datetime | None:
    return moment if moment is None or moment.tzinfo is UTC else moment.astimezone(UTC)
