"""
Rules of what must happen, and when: in the calm after a storm, or wherever nothing was wrong.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from chrono_async import JobRecord, Misfire
from chrono_async.models import pending_manual

from .breach import Breach, Lease, fire_times, leases, schedule_of
from .history import Asked, Began, Called, Changed, Claimed, Defect, History, Lived, Seen

_A_MOMENT = 0.7
"""Seconds within which what is due has begun, when all is well."""
_PLACES, _HAIR = 3, 0.1
"""How many run at a time on an instance that is bounded, and by how many seconds their places outlast their leases."""
_MOST_CALLS = 80
"""How often a process may call the storage within a second; a verb made of eight methods is up to four calls."""
_CALLS_OF_A_VERB = 3
"""And how often for a verb that a user calls: it asks the time, reads and writes."""


def all_is_well_in_the_end(history: History) -> Iterator[Breach]:
    """
    After the storm, and time to recover, nothing that is due lies about, and nobody's lease is a dead one's, nor lasts
    longer than one that is granted now (I23).

    Excused: a paused job, which nobody claims; so what a process that died has left on it stays until it is resumed.
    A job that whoever had its function was asked to remove, even if the storage did not get to know of it; and one
    whose function only those have whose places are all taken by other runs. And one that runs every single fire time of
    a backlog, and takes longer for it than new ones take to come. With eight methods also a manual request, of which
    only the process knows that it came from, and the lease's end in the record, which is not written at each renewal.
    """
    last = {seen.job: seen for seen in history.of(Seen) if seen.at <= history.ended}
    since = history.ended - history.poll - _A_MOMENT - history.moment
    moment = history.wall(since) - history.skew
    for job, seen in last.items():
        record = seen.record
        waits = record is not None and _waits_for_retry(record, moment)
        if history.has_eight_methods and record is not None:
            record = replace(record, triggered=None, manual=None, lease_until=None)
        can_run = any(_could_begin(history, who, job, since) for who in _living(history, history.ended))
        if record is not None and can_run and seen.at < since and not waits and _lies_about(record, moment):
            yield Breach(history.ended, job, f"it is left lying: {record}")
        longest = history.wall(history.ended) + timedelta(seconds=history.ttl + _A_MOMENT) + history.skew
        if record is not None and record.lease_until is not None and record.lease_until > longest:
            yield Breach(history.ended, job, f"its lease outlasts any: {record}")


def _could_begin(history: History, who: str, job: str, since: float) -> bool:
    return _has_function(history, who, job) and (_has_room_for(history, who, job) or not _was_full(history, who, since))


def _was_full(history: History, who: str, since: float) -> bool:
    """Whether all places of a process that is bounded were taken, from then to the end."""
    own = [lease for lease in _leases_of_bounded(history) if lease.claim.who == who]
    looks = [since, *(lease.ended + 2 * _HAIR for lease in own if since < lease.ended < history.ended)]
    return all(sum(_takes_a_place(lease, at) for lease in own) >= _PLACES for at in looks)


def _takes_a_place(lease: Lease, at: float) -> bool:
    return lease.claim.at - _HAIR <= at <= min(lease.ended, lease.until) + _HAIR


def _waits_for_retry(record: JobRecord, moment: datetime) -> bool:
    manual = pending_manual(record)
    pause = record.not_before if manual is None else manual.not_before
    return record.owner is None and pause is not None and pause > moment


def _lies_about(record: JobRecord, moment: datetime) -> bool:
    if record.owner is not None:
        ends, fire_time = record.lease_until, record.running
        return ends is not None and fire_time is not None and max(ends, fire_time) < moment and not record.paused
    if record.options.misfire is Misfire.FIRE_ALL:
        return False
    waiting = [trigger.at for trigger in (record.triggered, record.manual) if trigger is not None]
    if record.next_run is not None and not record.paused:
        waiting.append((record.bound_fire_time or record.next_run) + record.options.jitter)
    return any(at < moment for at in waiting)


class Target(NamedTuple):
    """Something that must begin between these moments."""

    begin: datetime
    end: datetime


def unmatched(targets: Iterable[Target], moments: Iterable[datetime]) -> list[Target]:
    """Match moments with targets, the target that ends first before others; return the targets that are left."""
    free = sorted(moments)
    left = []
    for target in sorted(targets, key=lambda target: target.end):
        found = next((moment for moment in free if target.begin <= moment <= target.end), None)
        if found is None:
            left.append(target)
        else:
            free.remove(found)
    return left


def peace_is_punctual(history: History) -> Iterator[Breach]:
    """
    When all is well, each fire time of a job that is always done in time is begun at once, on the schedule (I20, I24).

    Whatever its neighbours do: they fail, hang and ignore their cancellation all the while. Not judged: jobs that are
    paused, that have been set in the calm, and those of which only instances have the function that run no more than
    three at a time. One of these that is full may be the only one to know that a job is due, until others poll. A
    storage's clock that was ahead for a while may have left a job's pointer there: it is judged from there on.
    """
    bounded = _leases_of_bounded(history)
    for job, events in history.by_job.items():
        record = _steady(history, events)
        has_room = any(_has_room_for(history, who, job) for who in _living(history, history.judged_from))
        if record is None or not has_room or not history.traits[job].is_short:
            continue
        begin, end = (history.wall(at) for at in (history.judged_from, history.ended - 2 * _A_MOMENT - history.moment))
        lateness = timedelta(seconds=_A_MOMENT + history.moment) + record.options.jitter + history.skew
        if history.steps:
            begin = max(begin, _pointer_at(events, history.judged_from) or begin)
        targets = [
            Target(at - history.skew, at + lateness + _until_others_know(history, bounded, at))
            for at in _targets(record, begin, end)
        ]
        began = [history.wall(e.at) for e in events if type(e) is Began and not e.manual]
        for target in unmatched(targets, began):
            yield Breach((target.end - history.start).total_seconds(), job, f"{target.begin} has not begun in time")


def _leases_of_bounded(history: History) -> list[Lease]:
    """Return the leases of instances that may run no more than some at a time."""
    held = [lease for events in history.by_job.values() for lease in leases(events)]
    return [lease for lease in held if not lease.claim.who.startswith("a")]


def _until_others_know(history: History, bounded: Iterable[Lease], fire_time: datetime) -> timedelta:
    """Return a poll's length if one of those who are bounded has no place free just then."""
    at = (fire_time - history.start).total_seconds()
    taken = Counter(lease.claim.who for lease in bounded if _takes_a_place(lease, at))
    return timedelta(seconds=history.poll if max(taken.values(), default=0) >= _PLACES else 0)


def _steady(history: History, events: Sequence[object]) -> JobRecord | None:
    """Return the record of a job that nothing has disturbed since the time from which on it is judged."""
    quiet = history.judged_from - history.ttl - history.poll
    late = [e for e in events if getattr(e, "at", 0.0) >= quiet]
    if any(type(e) is Changed and e.verdict != "joined" for e in late) or _deaths(history, quiet):
        return None
    last = [e for e in events if type(e) is Seen and e.at <= history.ended]
    record: JobRecord | None = last[-1].record if last else None
    is_steady = record is not None and not record.paused and record.next_run is not None
    return record if is_steady and record is not None and record.options.max_runs is None else None


def _deaths(history: History, since: float) -> list[Lived]:
    return [life for life in history.of(Lived) if life.at >= since and life.what in {"died", "born"}]


def _pointer_at(events: Sequence[object], moment: float) -> datetime | None:
    record = next((e.record for e in reversed(events) if type(e) is Seen and e.at <= moment), None)
    return None if record is None else record.next_run


def _targets(record: JobRecord, begin: datetime, end: datetime) -> list[datetime]:
    schedule = None if record.schedule is None else schedule_of(record.schedule.bound)
    first = None if schedule is None else schedule.next(begin)
    return [] if schedule is None or first is None else fire_times(schedule, first, end)


def take_over_is_prompt(history: History) -> Iterator[Breach]:
    """
    What a dead process held is claimed again within a poll after its lease has ended (I21).

    Judged where somebody else was well, has the job's function and room for it, and nobody changed the job meanwhile. A
    storage's clock that is set back makes the lease last longer, until a poll later it is cut to its length.
    """
    deaths = {life.who: life.at for life in history.of(Lived) if life.what == "died"}
    for job, events in history.by_job.items():
        claims = [event for event in events if type(event) is Claimed and not event.again]
        for lease in leases(events):
            died = deaths.get(lease.claim.who)
            if died is None or not lease.claim.at <= died < lease.until or not lease.ran_out:
                continue
            bound = _end_of(history, lease) + history.poll + _A_MOMENT + history.moment
            taken = any(lease.claim.at < claim.at <= bound for claim in claims)
            if not taken and bound < history.ended and _was_to_be_taken(history, job, lease, bound):
                yield Breach(
                    bound, job, f"token {lease.claim.token} of {lease.claim.who}, who died, was not taken over"
                )


def _end_of(history: History, lease: Lease) -> float:
    """Return when the lease has ended at the latest, however the storage's clock was set."""
    end, since = lease.until, lease.claim.until - history.ttl
    for step in history.steps:
        if since <= step.at <= end + history.poll:
            end = max(end, step.at + history.poll + history.ttl)
    return end


def _was_to_be_taken(history: History, job: str, lease: Lease, bound: float) -> bool:
    events = history.by_job[job]
    if any(type(e) is Changed and lease.claim.at <= e.at <= bound and e.verdict != "joined" for e in events):
        return False
    record = next((e.record for e in reversed(events) if type(e) is Seen and e.at <= lease.until), None)
    if record is None or record.paused or record.options.at_most_once or lease.claim.manual:
        return False
    if lease.claim.fire_time > history.wall(bound - history.poll):
        return False  # it was claimed while the storage's clock was ahead, and is due no more
    return any(_was_well(history, who, job, lease.until - history.poll, bound) for who in _born(history, lease.until))


def _born(history: History, moment: float) -> set[str]:
    return {life.who for life in history.of(Lived) if life.what == "born" and life.at < moment - 2 * history.poll}


def _living(history: History, moment: float) -> set[str]:
    gone = {life.who for life in history.of(Lived) if life.what in {"died", "stopped"} and life.at < moment}
    return _born(history, moment) - gone


def _was_well(history: History, who: str, job: str, begin: float, end: float) -> bool:
    """Whether a process, one that has room for any number of runs, could have claimed the job in that time."""
    return _has_room_for(history, who, job) and not history.disturbances(who, begin - history.ttl, end)


def _has_room_for(history: History, who: str, job: str) -> bool:
    """Whether a process has the job's function, and runs any number at a time, as the first instance does."""
    return who.startswith("a") and _has_function(history, who, job)


def _has_function(history: History, who: str, job: str) -> bool:
    """Whether a process, if it lives, is sure to have the job's function."""
    removed = any(type(e) is Asked and e.who == who and e.verb == "remove" for e in history.by_job[job])
    has_it = any(type(e) is Changed and e.who == who and e.verb == "register" for e in history.by_job[job])
    return has_it and not removed


def nobody_spins(history: History) -> Iterator[Breach]:
    """A process asks the storage for a reason, such as its users have, not as fast as it can (I25)."""
    calls = Counter((call.who, int(call.at)) for call in history.of(Called))
    asked = Counter((verb.who, int(verb.at)) for verb in history.of(Asked) if not verb.answer)
    for (who, second), count in calls.items():
        most = _MOST_CALLS + _CALLS_OF_A_VERB * asked[who, second]
        if count > most * (4 if history.has_eight_methods else 1):
            yield Breach(second, "", f"{who} called the storage {count} times within a second")


def the_engine_has_no_defects(history: History) -> Iterator[Breach]:
    """What the engine logs as an error is one of its own: none of these worlds' troubles is an error to it."""
    for defect in history.of(Defect):
        yield Breach(defect.at, "", defect.text)
