"""
Rules of what becomes of each fire time: run, folded, skipped or queued, as the job's own policy says.

They go by the schedule's fire times, and by when claims were asked for and bodies ended; not by what the engine counts.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from chrono_async import JobRecord, Misfire, Overlap
from chrono_async.schedules import Schedule

from .breach import Breach, both, fire_times, is_created, is_done, is_set, versions
from .clerk import Clerk, Span, next_after, schedule_in
from .history import Advanced, Claimed, Event, History, Seen, Settled
from .rules_of_bodies import LONG_PAUSE, Body, bodies_by_token
from .rules_of_fire_times import are_told

_TICK = timedelta(microseconds=1)


# ── misfires ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def misfires_follow_their_policy(history: History) -> Iterator[Breach]:
    """
    Of the fire times that have come, a claim is for the one that the job's policy says, and passes over no other (I20).

    With FIRE_ONCE for the latest, into which the others are folded; with FIRE_ALL for the next, of a very long backlog
    for the earliest that is still caught up with; with SKIP for the first that is no older than its grace, and only
    with SKIP does the pointer move without a run. What was begun or queued before goes first.

    What time it was when that was decided is known only so far as it takes to ask, and as the asker knew the storage's
    time. Excused: a storage's clock that was set lately; and with SKIP what waited for a free place on an instance that
    runs no more than three at a time, which claims that were not answered may have kept.
    """
    clerk = Clerk(history)
    for job, events in history.by_job.items():
        record: JobRecord | None = None
        planned: dict[int, tuple[Claimed, Schedule]] = {}
        for event in events:
            schedule = None if record is None else schedule_in(record)
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


def _grace(history: History, record: JobRecord) -> timedelta:
    options = record.options
    if options.misfire_grace is not None:
        return options.misfire_grace
    return timedelta(seconds=history.poll if options.misfire is Misfire.SKIP else 0)


def _of_claim(clerk: Clerk, record: JobRecord, schedule: Schedule, claim: Claimed) -> Iterator[str]:
    bound, fire_time = record.bound_fire_time, claim.fire_time
    if bound is not None:
        if fire_time != bound:
            yield f"{fire_time} was claimed before {bound}, which was begun or queued"
    elif clerk.knows(claim.at):
        yield from _JUDGES[record.options.misfire](clerk, record, schedule, claim)


def _of_all(clerk: Clerk, record: JobRecord, schedule: Schedule, claim: Claimed) -> Iterator[str]:
    most = record.options.max_catchup
    caught_up_with = fire_times(schedule, claim.fire_time, clerk.decided(claim).end + _TICK)
    if claim.fire_time != claim.pointer and len(caught_up_with) < most:
        yield f"{claim.fire_time} was claimed, and not {claim.pointer}, which is not to be missed"


def _of_the_latest(clerk: Clerk, record: JobRecord, schedule: Schedule, claim: Claimed) -> Iterator[str]:
    now, later = clerk.decided(claim).begin - record.options.jitter, next_after(schedule, claim.fire_time)
    grace = _grace(clerk.history, record)
    is_in_time = grace and claim.fire_time == claim.pointer and claim.fire_time >= now - grace
    if later is not None and later <= now and not is_in_time:
        yield f"{claim.fire_time} was claimed when {later} had come"


def _of_what_is_in_time(clerk: Clerk, record: JobRecord, schedule: Schedule, claim: Claimed) -> Iterator[str]:
    decided, grace, fire_time = clerk.decided(claim), _grace(clerk.history, record), claim.fire_time
    if fire_time < decided.begin - record.options.jitter - grace and not clerk.waited(claim, fire_time + grace):
        yield f"{fire_time} was claimed, which was older than {grace}"
    passed = [] if claim.pointer is None else fire_times(schedule, claim.pointer, fire_time)
    if passed and passed[-1] >= decided.end - grace:
        yield f"{fire_time} was claimed, and {passed[-1]} was passed over, which was no older than {grace}"


_JUDGES = {Misfire.FIRE_ALL: _of_all, Misfire.FIRE_ONCE: _of_the_latest, Misfire.SKIP: _of_what_is_in_time}


def _of_advance(clerk: Clerk, record: JobRecord, advance: Advanced) -> Iterator[str]:
    grace, now = _grace(clerk.history, record), clerk.history.wall(advance.at) + clerk.moment
    if record.options.misfire is not Misfire.SKIP:
        yield f"{advance.pointer} was passed over, which is to be run"
    elif advance.missed is not None and advance.missed.last >= now - grace and clerk.knows(advance.at):
        yield f"{advance.missed.last} was passed over, which was no older than {grace}"


def _tells_what_it_folds(told: Settled, claim: Claimed, schedule: Schedule) -> bool:
    if claim.pointer is None:
        return False
    passed = fire_times(schedule, claim.pointer, claim.fire_time)
    return are_told(passed, [] if told.missed is None else [told.missed])


# ── overlaps ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def overlaps_follow_their_policy(history: History) -> Iterator[Breach]:
    """
    Of the fire times that come during a run, the latest runs next if they are queued, none if they are skipped (I20).

    After a run during which none has come the pointer is at the next; so it is where the next had come before the
    claim: these are misfires. After as many runs as `max_runs` allows it is nowhere. The outcome of a run that is not
    the pointer's any more does not move it.

    When a run has ended is known only so far as its process knew the storage's time; when it was claimed, where many
    are claimed in several steps, only so far as it takes to hear of all.
    """
    clerk, bodies = Clerk(history), bodies_by_token(history)
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
            if not granted or not clerk.knows(told.at) or schedule_in(old) is None:
                continue
            run = _Run.of(clerk, granted, bodies.get((job, told.token), []), told)
            for text in _of_outcome(old, new, run, counted[told.token]):
                yield Breach(after.at, job, text)


class _Run(NamedTuple):
    """A run, and when it was claimed and had ended by the storage's time, as its process knew it."""

    claim: Claimed
    claimed: Span
    ended: Span

    @classmethod
    def of(cls, clerk: Clerk, granted: Sequence[Claimed], bodies: Sequence[Body], told: Settled) -> "_Run":
        """Return the run of these claims, all of one token."""
        heard = [claim.now for claim in granted]
        if clerk.history.moment:
            heard.append(clerk.history.wall(bodies[0].began.at if bodies else told.at))
        ended = _ended(clerk, told, bodies[-1].ended if bodies else None)
        return cls(granted[0], Span(min(heard), max(heard)), ended)


def _ended(clerk: Clerk, told: Settled, end: float | None) -> Span:
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


def _of_outcome(old: JobRecord, new: JobRecord, run: _Run, runs: int) -> Iterator[str]:
    claim, schedule = run.claim, schedule_in(old)
    assert schedule is not None
    upcoming = next_after(schedule, claim.fire_time)
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
    allowed = _pointers(schedule, upcoming, run, queues=_queues(old))
    if (new.next_run, new.bound_fire_time == new.next_run) not in allowed:
        about = f"{claim.fire_time}, claimed at {claim.now}, ended at {run.ended.end}"
        yield f"after {about}, the pointer is at {new.next_run}, bound {new.bound_fire_time}"


def _queues(record: JobRecord) -> bool:
    return record.options.overlap in {Overlap.QUEUE, Overlap.CANCEL_RUNNING}


def _pointers(
    schedule: Schedule, upcoming: datetime | None, run: _Run, *, queues: bool
) -> set[tuple[datetime | None, bool]]:
    """Return where the pointer may be after a run, and whether what it is at is to be run however late it is."""
    if upcoming is None:
        return {(None, True)}
    allowed: set[tuple[datetime | None, bool]] = set()
    if upcoming > run.ended.begin or upcoming <= run.claimed.end:
        allowed.add((upcoming, False))
    if run.claimed.begin < upcoming <= run.ended.end:
        during = fire_times(schedule, upcoming, run.ended.end + _TICK)
        latest = [at for at, after in zip(during, [*during[1:], None], strict=True) if _may_be_last(after, run.ended)]
        allowed |= {(at, True) for at in latest} if queues else {(next_after(schedule, at), False) for at in latest}
    return allowed


def _may_be_last(after: datetime | None, ended: Span) -> bool:
    return after is None or after > ended.begin
