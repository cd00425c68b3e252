"""
Rules of what is run: by whom, for which fire time, how often, and until when.
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

from chrono_async import JobRecord

from .breach import Breach, Lease, is_deleted, leases, schedule_of
from .history import FOREVER, Began, Called, Claimed, Ended, History, Lived, Seen

_TICK = timedelta(microseconds=1)
_A_MOMENT = 0.5
"""Seconds within which what is to happen at once has happened."""


LONG_WAY = 3.1
"""Seconds that a message is on its way at the most."""
LONG_PAUSE = 13.0
"""The longest pause between two questions after any outage of these worlds."""
_GRAVE = frozenset({"cut", "outage", "frozen", "died", "stopping", "giving up"})
_MISHAPS = frozenset({"refused", "answer lost", "hangs", "done then hangs", "slow"})


class Body(NamedTuple):
    """A body, from its beginning to its end, or to that of its process."""

    began: Began
    ended: float
    how: str


def bodies_of(history: History) -> dict[str, list[Body]]:
    """Return the bodies of each job, in the order in which they began."""
    deaths = {life.who: life.at for life in history.of(Lived) if life.what == "died"}
    ends = {end.number: end for end in history.of(Ended)}
    found: dict[str, list[Body]] = defaultdict(list)
    for began in history.of(Began):
        end = ends.get(began.number)
        if end is None:
            found[began.job].append(Body(began, deaths.get(began.who, FOREVER), "died"))
        else:
            found[began.job].append(Body(began, end.at, end.how))
    return found


def bodies_by_token(history: History) -> dict[tuple[str, int], list[Body]]:
    """Return the bodies that were begun under each token of a job: the tries of an attempt."""
    found: dict[tuple[str, int], list[Body]] = defaultdict(list)
    for job, bodies in bodies_of(history).items():
        for body in bodies:
            found[job, body.began.token].append(body)
    return found


def runs_belong_to_claims(history: History) -> Iterator[Breach]:
    """A body runs the occurrence that its process has claimed, under that claim's token (I1)."""
    claimed = {(c.who, c.job, c.token, c.fire_time, c.manual) for c in history.of(Claimed)}
    for began in history.of(Began):
        if (began.who, began.job, began.token, began.fire_time, began.manual) not in claimed:
            yield Breach(began.at, began.job, f"no claim of {began.who} is for {began.fire_time}")


def fire_times_are_the_schedules(history: History) -> Iterator[Breach]:
    """What is claimed is a fire time of the schedule that the job then had (I1, I22)."""
    for job, events in history.by_job.items():
        bounds: dict[int, str] = {}
        for event in events:
            if type(event) is Seen and event.record is not None and event.record.schedule is not None:
                bounds[event.record.revision] = event.record.schedule.bound
            elif type(event) is Claimed and not event.manual and event.revision in bounds:
                schedule = schedule_of(bounds[event.revision])
                if schedule is not None and schedule.next(event.fire_time - _TICK) != event.fire_time:
                    yield Breach(event.at, job, f"{event.fire_time} is no fire time of {schedule}")


def a_token_is_for_one_run(history: History) -> Iterator[Breach]:
    """Two processes never show the same token to those who compare tokens (I3)."""
    shown: dict[tuple[str, int], str] = {}
    for began in history.of(Began):
        first = shown.setdefault((began.job, began.token), began.who)
        if first != began.who:
            yield Breach(began.at, began.job, f"{began.who} runs under token {began.token}, as {first} did")


def _leases_by_token(history: History) -> dict[tuple[str, int], Lease]:
    return {(job, lease.claim.token): lease for job, events in history.by_job.items() for lease in leases(events)}


def bodies_keep_apart(history: History) -> Iterator[Breach]:
    """
    Two bodies of a job never run at once (I17).

    Excused: jobs that allow it; an earlier body whose process was frozen when its trust in the lease ended, or that
    ignores its cancellation; one whose job was removed, which ends soon (see there); and one whose lease was measured
    by a storage's clock that has been set since, which ends before the lease would have ended.
    """
    granted, allowing = _leases_by_token(history), _allowing(history)
    for job, bodies in bodies_of(history).items():
        if job in allowing:
            continue
        for number, later in enumerate(bodies):
            for earlier in bodies[max(0, number - 5) : number]:
                first, second = (granted.get((job, body.began.token)) for body in (earlier, later))
                if earlier.ended <= later.began.at or _were_parted_by_a_set_clock(history, first, second):
                    continue
                if not _may_overlap(history, earlier, later, first):
                    text = f"token {earlier.began.token} was still running on {earlier.began.who}"
                    yield Breach(later.began.at, job, text)


def _allowing(history: History) -> set[str]:
    return {seen.job for seen in history.of(Seen) if seen.record is not None and seen.record.options.is_parallel}


def _may_overlap(history: History, earlier: Body, later: Body, lease: Lease | None) -> bool:
    if earlier.began.stubborn or lease is None:
        return lease is not None
    removed = [event for event in history.by_job[later.began.job] if is_deleted(event)]
    if any(earlier.began.at <= event.at <= later.began.at for event in removed):
        return True
    return _was_frozen(history, earlier, lease, later.began.at)


def _were_parted_by_a_set_clock(history: History, one: Lease | None, other: Lease | None) -> bool:
    """Whether the storage's clock was set between that a lease was granted or extended last, and that another was."""
    if one is None or other is None:
        return False
    old, new = sorted((one, other), key=lambda lease: lease.claim.token)
    return old is not new and history.was_set(old.measured_as_of(new.claim.at, history.ttl), new.claim.at)


def _was_frozen(history: History, body: Body, lease: Lease, moment: float) -> bool:
    since = lease.measured_as_of(moment, history.ttl)
    return bool(history.disturbances(body.began.who, since, moment, {"frozen"}))


def a_body_ends_before_its_lease(history: History) -> Iterator[Breach]:
    """
    A process that cannot renew its lease cancels the body before the lease can end (I18).

    Excused: bodies that ignore their cancellation, and processes that were frozen when they should have cancelled.
    """
    granted = _leases_by_token(history)
    for job, bodies in bodies_of(history).items():
        for body in bodies:
            lease = granted.get((job, body.began.token))
            if lease is None or body.began.stubborn or body.how == "died":
                continue
            if body.ended > lease.until_as_of(body.ended) and not _was_frozen(history, body, lease, body.ended):
                until = lease.until_as_of(body.ended)
                yield Breach(body.ended, job, f"the lease ended at {until:.3f}, the body on {body.began.who} later")


def a_removed_job_ends_its_body(history: History) -> Iterator[Breach]:
    """
    A body whose job is removed is cancelled at the next renewal at the latest (I18).

    Excused: bodies that ignore it, and processes that had trouble in between, or so shortly before that a renewal may
    have been under way for all that time.
    """
    for job, bodies in bodies_of(history).items():
        removals = [event.at for event in history.by_job[job] if is_deleted(event)]
        for body in bodies:
            removed = next((at for at in removals if body.began.at <= at < body.ended), None)
            if removed is None or body.began.stubborn or body.how == "died":
                continue
            bound = removed + history.ttl / 3 + _A_MOMENT + history.moment
            if body.ended > bound and not history.disturbances(body.began.who, removed - LONG_WAY, bound):
                yield Breach(body.ended, job, f"it was removed at {removed:.3f}, and went on on {body.began.who}")


def at_most_once_is_begun_once(history: History) -> Iterator[Breach]:
    """
    An occurrence of a job that says so is begun once at most, whatever happens (I19).

    Not promised with eight methods: a record is written whole there, so that the write of another process, which has
    read it before, can undo the move of the pointer that a claim has made.
    """
    careful = {seen.job for seen in history.of(Seen) if _is_careful(seen.record)}
    granted = _leases_by_token(history)
    begun: dict[object, tuple[str, int]] = {}
    for began in history.of(Began):
        run, lease = (began.who, began.token), granted.get((began.job, began.token))
        name = (began.job, lease and lease.life, began.fire_time, began.manual)
        first = begun.setdefault(name, run)
        if began.job in careful and first != run:
            yield Breach(began.at, began.job, f"{began.fire_time} was begun again on {began.who}")


def _is_careful(record: JobRecord | None) -> bool:
    return record is not None and record.options.at_most_once


def repeats_have_a_reason(history: History) -> Iterator[Breach]:
    """
    An occurrence is claimed again only when its lease was given back, or has run out; never once settled (I8).

    Excused: a lease that was measured by a storage's clock which has been set since.
    """
    for job, events in history.by_job.items():
        claimed: dict[object, Lease] = {}
        for lease in leases(events):
            name = (lease.life, lease.claim.fire_time, lease.claim.manual)
            before, at = claimed.get(name), lease.claim.at
            claimed[name] = lease
            if before is None or (before.how == "released" and before.ended <= at):
                continue
            if before.how == "settled" and before.ended <= at:
                yield Breach(at, job, f"{lease.claim.fire_time} had been settled already")
            elif before.until > at and not history.was_set(before.measured_as_of(at, history.ttl), at):
                yield Breach(at, job, f"{lease.claim.fire_time} was granted to somebody already")


def no_lease_runs_out_by_itself(history: History) -> Iterator[Breach]:
    """
    A process that lives, and can reach the storage, begins, renews and settles what was granted to it (I8).

    Excused: processes that were dead, stopping, frozen or cut off in that time, or whose driver was giving up on a
    question, or shortly before (the pauses between their questions have grown then, to a lease's length in these worlds
    of short leases); those of which two messages or more have met with a mishap, since one is asked again; bodies that
    ignored that they were cancelled for want of trust, whose lease may have been renewed meanwhile all the same; and
    leases that a storage's clock, set meanwhile, has cut short. Where a verb takes several messages, answers that come
    late, one by one, are as bad as a cut.
    """
    is_grave = _GRAVE | {"fading"} if history.is_on_rows else _GRAVE
    stubborn = {(began.job, began.token) for began in history.of(Began) if began.stubborn}
    for job, events in history.by_job.items():
        for lease in leases(events):
            if not lease.ran_out or lease.until >= history.ended or (job, lease.claim.token) in stubborn:
                continue
            who, begin = lease.claim.who, lease.until - history.ttl
            if history.was_set(begin, lease.until):
                continue
            grave = history.disturbances(who, begin - LONG_PAUSE, lease.until, is_grave)
            strikes = history.disturbances(who, begin - LONG_WAY, lease.until, _MISHAPS)
            if not grave and len(strikes) < 2:
                yield Breach(lease.until, job, f"token {lease.claim.token} of {who} ran out; it had met with {strikes}")


def a_stopped_instance_is_silent(history: History) -> Iterator[Breach]:
    """
    What has stopped runs nothing, asks for nothing and leaves no task behind (I16).

    Excused: a body that ignores its cancellation, which stop() leaves behind after five seconds and says so. Users may
    call verbs all the same.
    """
    stopped = {life.who: life for life in history.of(Lived) if life.what == "stopped"}
    for event in history.of(Began, Called):
        life = stopped.get(event.who)
        if life is not None and event.at > life.at and getattr(event, "verb", "claim") in _ENGINES_VERBS:
            yield Breach(event.at, getattr(event, "job", ""), f"{event.who} had stopped at {life.at:.3f}: {event}")
    for life in stopped.values():
        left = [name for name in life.left if name not in _LEFT_BEHIND]
        going = [body for bodies in bodies_of(history).values() for body in bodies if _goes_on(body, life)]
        if left or any(not body.began.stubborn for body in going) or len(life.left) > len(going):
            yield Breach(life.at, "", f"{life.who} has stopped, and leaves {life.left}")


_LEFT_BEHIND = {"Runner._run"}
_ENGINES_VERBS = {"claim", "renew", "settle", "release", "advance", "heartbeat"}


def _goes_on(body: Body, life: Lived) -> bool:
    return body.began.who == life.who and body.began.at <= life.at < body.ended
