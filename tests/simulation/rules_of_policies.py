"""
Rules of what becomes of each fire time: run, folded, skipped or queued, as the job's own policy says.

They go by the schedule's fire times, and by when claims were asked for and bodies ended; not by what the engine counts.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from chrono_async import JobRecord, Misfire, Overlap
from chrono_async.policies import COUNT_LIMIT, Missed
from chrono_async.schedules import Schedule

from .breach import Breach, both, fire_times, is_created, is_done, is_set, leases, schedule_of, versions
from .history import Advanced, Called, Claimed, Event, History, Seen, Settled
from .rules_of_bodies import LONG_PAUSE, LONG_WAY, bodies_of

_HAIR = timedelta(seconds=0.1)
_TICK = timedelta(microseconds=1)
_PLACES = 3
"""How many run at a time on an instance that is bounded."""
_SINCE_IT_WAS_SET = 20.0
"""Seconds after which everybody has heard that the storage's clock was set."""


class Span(NamedTuple):
    """Between these moments, by the storage's clock, something was decided or had ended."""

    begin: datetime
    end: datetime


# ── each fire time is told of ────────────────────────────────────────────────────────────────────────────────────────


def no_fire_time_gets_lost(history: History) -> Iterator[Breach]:
    """
    Each fire time that the pointer passes was run, or is reported as missed or as skipped, in the same write (I20).

    They are compared one by one with the schedule's, in their order. Excused: what an at-most-once run has folded into
    it, which its outcome reports, if there is one; what `max_runs` has put an end to; runs of a schedule that the job
    has no more, which move no pointer; and more fire times than are counted, as an hour holds of a busy job.
    """
    for job, events in history.by_job.items():
        claims = {lease.claim.token: lease.claim for lease in leases(events)}
        for before, after, between in versions(events):
            old, new = both(before, after)
            if old.next_run is None or new.next_run is None or old.next_run == new.next_run:
                continue
            begin, told = _accounted(old.next_run, between, claims)
            schedule = _schedule(new)
            if told is None or schedule is None:
                continue
            passed = fire_times(schedule, begin, new.next_run)
            if not _are_told(passed, told):
                text = f"from {old.next_run} to {new.next_run} it passed {len(passed)} fire times and told of {told}"
                yield Breach(after.at, job, text)


def _accounted(
    pointer: datetime, between: Sequence[Event], claims: Mapping[int, Claimed]
) -> tuple[datetime, list[Missed] | None]:
    """Return from where on the pointer's move is accounted for, and which fire times were told of, in their order."""
    if any(map(is_set, between)):
        return pointer, None
    for event in between:
        if is_done(event) and not event.manual:
            had_moved = claims[event.token].moves
            told = (event.skipped,) if had_moved else (event.missed, _alone(event.fire_time), event.skipped)
            return pointer, [missed for missed in told if missed is not None]
        if type(event) is Claimed and event.moves:
            return event.fire_time, [_alone(event.fire_time)]
        if type(event) is Advanced and event.done:
            return pointer, [] if event.missed is None else [event.missed]
    return pointer, []


def _alone(fire_time: datetime) -> Missed:
    return Missed(1, fire_time, fire_time)


def _are_told(passed: Sequence[datetime], told: Sequence[Missed]) -> bool:
    """Whether these are the fire times that were told of, each once, in their order."""
    number = 0
    for some in told:
        mine = [at for at in passed[number:] if at <= some.last]
        number += len(mine)
        if not mine or (mine[0], mine[-1]) != (some.first, some.last):
            return False
        if len(mine) != some.count and not len(mine) > some.count >= COUNT_LIMIT:
            return False
    return number == len(passed)


# ── misfires ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def misfires_follow_their_policy(history: History) -> Iterator[Breach]:
    """
    Of the fire times that have come, a claim is for the one that the job's policy says, and passes over no other (I20).

    With FIRE_ONCE for the latest, into which the others are folded; with FIRE_ALL for the next, of a very long backlog
    for the earliest that is still caught up with; with SKIP for the first that is no older than its grace, and only
    with SKIP does the pointer move without a run. What was begun or queued before goes first.

    What time it was when that was decided is known only so far as it takes to ask, and as the asker knew the storage's
    time. Excused: a storage's clock that was set lately; and with SKIP what waited for a free place on an instance that
    runs no more than three at a time.
    """
    clerk = _Clerk(history)
    for job, events in history.by_job.items():
        record: JobRecord | None = None
        planned: dict[int, tuple[Claimed, Schedule]] = {}
        for event in events:
            schedule = None if record is None else _schedule(record)
            if type(event) is Seen:
                record = event.record
            elif record is None or schedule is None:
                continue
            elif type(event) is Claimed and not (event.again or event.manual):
                planned[event.token] = event, schedule
                for text in _of_claim(clerk, record, schedule, event):
                    yield Breach(event.at, job, text)
            elif type(event) is Advanced and event.done:
                for text in _of_advance(clerk, record, event):
                    yield Breach(event.at, job, text)
            elif is_done(event) and event.token in planned and not _tells_what_it_folds(event, *planned[event.token]):
                yield Breach(event.at, job, f"{event.fire_time} tells of {event.missed}, which it has not passed over")


class _Clerk:
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
        """Whether all places of a process that is bounded were taken at some time since then, until it asked."""
        if claim.who.startswith("a"):
            return False
        begin = (since - self.history.start).total_seconds()
        own = [lease for events in self.history.by_job.values() for lease in leases(events)]
        taken = [(lease.claim.at, min(lease.ended, lease.until)) for lease in own if lease.claim.who == claim.who]
        moments = [begin, *(at for at, _ in taken if begin <= at < claim.at)]
        return any(sum(at <= moment <= until + 0.1 for at, until in taken) >= _PLACES for moment in moments)


def _grace(history: History, record: JobRecord) -> timedelta:
    options = record.options
    if options.misfire_grace is not None:
        return options.misfire_grace
    return timedelta(seconds=history.poll if options.misfire is Misfire.SKIP else 0)


def _of_claim(clerk: _Clerk, record: JobRecord, schedule: Schedule, claim: Claimed) -> Iterator[str]:
    bound, pointer, fire_time = record.bound_fire_time, claim.pointer, claim.fire_time
    if bound is not None:
        if fire_time != bound:
            yield f"{fire_time} was claimed before {bound}, which was begun or queued"
        return
    if pointer is None or not clerk.knows(claim.at):
        return
    decided, grace, misfire = clerk.decided(claim), _grace(clerk.history, record), record.options.misfire
    now = decided.begin - record.options.jitter
    if misfire is Misfire.FIRE_ALL:
        most = record.options.max_catchup
        if fire_time != pointer and len(fire_times(schedule, fire_time, decided.end + _TICK)) < most:
            yield f"{fire_time} was claimed, and not {pointer}, which is not to be missed"
    elif fire_time == pointer and grace and fire_time >= now - grace:
        return
    elif misfire is Misfire.FIRE_ONCE:
        later = _next(schedule, fire_time)
        if later is not None and later <= now:
            yield f"{fire_time} was claimed when {later} had come"
    elif fire_time < now - grace and not clerk.waited(claim, fire_time + grace):
        yield f"{fire_time} was claimed, which was older than {grace}"
    elif fire_time != pointer and fire_times(schedule, pointer, fire_time)[-1] >= decided.end - grace:
        yield f"{fire_time} was claimed, and what came before was no older than {grace}"


def _of_advance(clerk: _Clerk, record: JobRecord, advance: Advanced) -> Iterator[str]:
    grace, now = _grace(clerk.history, record), clerk.history.wall(advance.at) + clerk.moment
    if record.options.misfire is not Misfire.SKIP:
        yield f"{advance.pointer} was passed over, which is to be run"
    elif advance.missed is not None and advance.missed.last >= now - grace and clerk.knows(advance.at):
        yield f"{advance.missed.last} was passed over, which was no older than {grace}"


def _tells_what_it_folds(told: Settled, claim: Claimed, schedule: Schedule) -> bool:
    if claim.pointer is None:
        return False
    passed = fire_times(schedule, claim.pointer, claim.fire_time)
    return _are_told(passed, [] if told.missed is None else [told.missed])


# ── overlaps ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def overlaps_follow_their_policy(history: History) -> Iterator[Breach]:
    """
    Of the fire times that come during a run, the latest runs next if they are queued, and none if they are skipped (I20).

    After a run during which none has come the pointer is at the next; so it is where the next had come before the claim:
    these are misfires. After as many runs as `max_runs` allows it is nowhere. The outcome of a run that is not the
    pointer's any more does not move it.

    When a run has ended is known only so far as its process knew the storage's time.
    """
    clerk, ends = _Clerk(history), _ends(history)
    for job, events in history.by_job.items():
        claims: dict[int, list[Claimed]] = defaultdict(list)
        for event in events:
            if type(event) is Claimed:
                claims[event.token].append(event)
        counted = _counted(events)
        for before, after, between in versions(events):
            outcomes = [event for event in between if is_done(event) and not event.manual]
            if len(outcomes) != 1 or any(map(is_set, between)):
                continue
            told, (old, new) = outcomes[0], both(before, after)
            granted = claims[told.token]
            if not granted or not clerk.knows(told.at) or _schedule(old) is None:
                continue
            ended = _ended(clerk, told, ends.get((job, told.token)))
            for text in _of_outcome(old, new, granted, ended, counted[told.token]):
                yield Breach(after.at, job, text)


def _ends(history: History) -> dict[tuple[str, int], float]:
    """Return when the last body under a token ended."""
    return {(job, body.began.token): body.ended for job, bodies in bodies_of(history).items() for body in bodies}


def _ended(clerk: _Clerk, told: Settled, end: float | None) -> Span:
    """Return when the run had ended, by the storage's time as its process knew it."""
    history, latest = clerk.history, told.at
    if end is not None and told.status != "cancelled" and not history.disturbances(told.who, end, latest, {"frozen"}):
        latest = min(end + 0.001 + history.moment, latest)
    begin = told.at - LONG_PAUSE if end is None else end
    return Span(history.wall(begin) - clerk.lag(told.who, begin), history.wall(latest) + clerk.moment)


def _counted(events: Sequence[Event]) -> dict[int, int]:
    """Return how many runs of a life counted towards `max_runs`, up to the outcome of each token."""
    found: dict[int, int] = {}
    runs, at_claims = 0, set[int]()
    for event in events:
        if is_created(event):
            runs = 0
        elif type(event) is Claimed and event.moves and not event.again:
            runs += 1
            at_claims.add(event.token)
        elif is_done(event):
            runs += not (event.manual or event.token in at_claims)
            found[event.token] = runs
    return found


def _of_outcome(
    old: JobRecord, new: JobRecord, granted: Sequence[Claimed], ended: Span, runs: int
) -> Iterator[str]:
    claim, schedule = granted[0], _schedule(old)
    assert schedule is not None
    upcoming = _next(schedule, claim.fire_time)
    is_old = old.revision != claim.revision or old.next_run != (upcoming if claim.moves else claim.pointer)
    if claim.frees or is_old:
        if new.next_run != old.next_run:
            yield f"{old.next_run} became {new.next_run} by the outcome of {claim.fire_time}, which was not the next"
        return
    most = old.options.max_runs
    if most is not None and runs >= most:
        if new.next_run is not None:
            yield f"it has run {runs} times of {most}, and is to run at {new.next_run}"
        return
    allowed = _pointers(schedule, upcoming, granted, ended, queues=_queues(old))
    if (new.next_run, new.bound_fire_time == new.next_run) not in allowed:
        yield f"after {claim.fire_time}, claimed {claim.now}, ended {ended}: {new.next_run}, bound {new.bound_fire_time}"


def _queues(record: JobRecord) -> bool:
    return record.options.overlap in {Overlap.QUEUE, Overlap.CANCEL_RUNNING}


def _pointers(
    schedule: Schedule, upcoming: datetime | None, granted: Sequence[Claimed], ended: Span, *, queues: bool
) -> set[tuple[datetime | None, bool]]:
    """Return where the pointer may be after a run, and whether what it is at is to be run however late it is."""
    if upcoming is None:
        return {(None, True)}
    first, last = min(claim.now for claim in granted), max(claim.now for claim in granted)
    allowed: set[tuple[datetime | None, bool]] = set()
    if upcoming > ended.begin or upcoming <= last:
        allowed.add((upcoming, False))
    if first < upcoming <= ended.end:
        during = fire_times(schedule, upcoming, ended.end + _TICK)
        latest = [at for at, after in zip(during, [*during[1:], None], strict=True) if _may_be_last(after, ended)]
        allowed |= {(at, True) for at in latest} if queues else {(_next(schedule, at), False) for at in latest}
    return allowed


def _may_be_last(after: datetime | None, ended: Span) -> bool:
    return after is None or after > ended.begin


def _schedule(record: JobRecord) -> Schedule | None:
    return None if record.schedule is None else schedule_of(record.schedule.bound)


def _next(schedule: Schedule, after: datetime) -> datetime | None:
    upcoming = schedule.next(after)
    return None if upcoming is None else upcoming.astimezone(UTC)
