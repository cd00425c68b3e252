"""
Rules of a job's fire times: from when it is added, none is passed over without a word.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from chrono_async import JobRecord
from chrono_async.policies import COUNT_LIMIT, Missed

from .breach import Breach, both, fire_times, is_created, is_done, is_set, leases, versions
from .clerk import Clerk, next_after, schedule_in
from .history import Advanced, Claimed, Event, History, Seen


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
            schedule = schedule_in(new)
            if told is None or schedule is None:
                continue
            passed = fire_times(schedule, begin, new.next_run)
            if not are_told(passed, told):
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


def are_told(passed: Sequence[datetime], told: Sequence[Missed]) -> bool:
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


def what_is_set_begins_with_the_next(history: History) -> Iterator[Breach]:
    """
    A job that is added, resumed or rescheduled passes over no fire time that comes from then on (I20).

    Excused: a storage's clock that was set lately, and a job that may have run as often as `max_runs` allows.
    """
    clerk = Clerk(history)
    for job, events in history.by_job.items():
        known: JobRecord | None = None
        is_now_set = False
        for event in events:
            if type(event) is not Seen:
                is_now_set |= is_created(event) or is_set(event)
                continue
            old, new, is_judged, is_now_set = known, event.record, is_now_set, False
            known = new
            if new is None or not is_judged or not clerk.knows(event.at) or _stays(old, new):
                continue
            schedule = schedule_in(new)
            upcoming = None if schedule is None else next_after(schedule, history.wall(event.at) + clerk.moment)
            if upcoming is not None and (new.next_run is None or new.next_run > upcoming):
                yield Breach(event.at, job, f"{event.by} led to {new.next_run}, and {upcoming} is not to be missed")


def _stays(old: JobRecord | None, new: JobRecord) -> bool:
    """Whether the pointer is where it was, or may have come to its end."""
    is_spent = new.next_run is None and new.options.max_runs is not None
    return is_spent or (old is not None and old.next_run == new.next_run)
