"""
Rules of what becomes of a run: its outcome says what its body did, a failure is tried again, poison is given up.

They count bodies and leases, not what the engine says of them.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from chrono_async import JobRecord, Overlap

from .breach import Breach, Lease, is_set, leases
from .history import Advanced, Claimed, History, Released, Seen, Settled, Traits
from .rules_of_bodies import LONG_PAUSE, Body, bodies_by_token, bodies_of

_MOST_DEATHS = 3
"""An occurrence of which so many processes have died is given up."""
_HAIR = 0.01
"""Seconds by which what is placed in time may be misplaced."""


def outcomes_tell_what_bodies_did(history: History) -> Iterator[Breach]:
    """
    Who says that a run is completed has seen its body return; failed, raise or take too long; cancelled, be cut (I8).

    A job that is paused all the while has no fire time that may cut its run. And who gives a run back has not seen its
    body return. Whatever comes to the storage is judged, even if it is not believed there. An occurrence that is given
    up has no body, which is another rule's affair; and a run may be cut before its body has begun.
    """
    tries, claims = bodies_by_token(history), {(claim.job, claim.token): claim for claim in history.of(Claimed)}
    cancelling = {seen.job for seen in history.of(Seen) if _is_cancelling(seen.record)}
    for told in history.of(Settled, Released):
        mine = tries.get((told.job, told.token), [])
        last = mine[-1] if mine else None
        if last is not None and last.ended > told.at + _HAIR:
            yield Breach(told.at, told.job, f"token {told.token} is said to be over, and its body goes on")
        elif type(told) is Released:
            if last is not None and last.how == "returned":
                yield Breach(told.at, told.job, f"token {told.token} is given back, and its body has returned")
        elif not _agrees(told, last, history.traits[told.job]):
            how = "never begun" if last is None else last.how
            yield Breach(told.at, told.job, f"{told.fire_time} is {told.status} {told.error!r}, its body {how}")
        elif told.status == "cancelled":
            claim = claims.get((told.job, told.token))
            if told.job in cancelling and (claim is None or not _is_paused(history, claim, told.at)):
                continue
            if claim is None or not history.disturbances(told.who, claim.at, told.at, {"stopping"}):
                yield Breach(told.at, told.job, f"{told.fire_time} is cancelled, and nobody has cut it")


def _is_cancelling(record: JobRecord | None) -> bool:
    return record is not None and record.options.overlap is Overlap.CANCEL_RUNNING


def _is_paused(history: History, claim: Claimed, end: float) -> bool:
    """Whether the job was so all the time from the claim on."""
    seen = [event for event in history.by_job[claim.job] if type(event) is Seen and event.at <= end]
    before = sum(event.at < claim.at for event in seen)
    return before > 0 and all(event.record is not None and event.record.paused for event in seen[before - 1 :])


def _agrees(told: Settled, last: Body | None, traits: Traits) -> bool:
    if told.status == "completed":
        return last is not None and last.how == "returned"
    if told.status == "cancelled":
        return last is None or last.how != "returned"
    if _is_given_up(told):
        return last is None
    if last is None or not _has_failed(last, traits):
        return False
    return told.error.startswith("TimeoutError" if last.how == "CancelledError" else last.how)


def _is_given_up(told: Settled) -> bool:
    return told.error.startswith("PoisonedError")


def _has_failed(body: Body, traits: Traits) -> bool:
    """Whether it has raised by itself, or taken too long."""
    if body.how == "CancelledError":
        return traits.timeout is not None and body.ended - body.began.at >= traits.timeout - _HAIR
    return body.how not in {"returned", "died"}


def failures_are_tried_again(history: History) -> Iterator[Breach]:
    """
    A try that fails is followed by another after its pause, here or elsewhere, until as many have failed as may (I8).

    One that returned is followed by none. Whose process dies, or whose run is cut and given back, leaves the tries that
    it has made uncounted. What a scheduled run has behind it is lost if the pointer was set meanwhile. A pause may be
    of another length if the storage's clock was set and whoever measured it had not heard of that.
    """
    tries = bodies_by_token(history)
    for job, events in history.by_job.items():
        traits, kept = history.traits[job], dict[object, _Kept]()
        errors = {event.token: event for event in events if type(event) is Settled and event.status == "failed"}
        moves = [event.at for event in events if is_set(event) or (type(event) is Advanced and event.done)]
        for lease in leases(events):
            claim, mine = lease.claim, tries.get((job, lease.claim.token), [])
            name = (lease.life, claim.fire_time, claim.manual)
            before = kept.get(name, _Kept(0, 0, None, claim.at))
            if not claim.manual and any(before.since <= at <= claim.at for at in moves):
                before = before._replace(least=0, last=None)
            told, made = errors.get(claim.token), before.most + len(mine)
            yield from _of_tries(history, before, mine, traits)
            if told is not None and not _is_given_up(told) and made < traits.tries:
                yield Breach(told.at, job, f"{told.fire_time} failed after {made} tries of {traits.tries}")
            if lease.how == "released" and not mine:
                before = before._replace(since=lease.ended)
            elif lease.how == "released":
                is_counted = _is_counted(history, mine, traits)
                last = (before.least + len(mine), made, mine[-1]) if is_counted else (0, 0, None)
                before = _Kept(*last, lease.ended)
            kept[name] = before


class _Kept(NamedTuple):
    """How many tries a run has behind it, the last of them, and when that was written down."""

    least: int
    most: int
    last: Body | None
    since: float


def _is_counted(history: History, mine: Sequence[Body], traits: Traits) -> bool:
    """Whether a run was given back for its next try, and not because it was cut."""
    return _has_failed(mine[-1], traits) and not _may_be_cut(history, mine[-1])


def _may_be_cut(history: History, body: Body) -> bool:
    """Whether a body that was cancelled, for whatever reason, was so by a stop at the latest."""
    began = body.began
    return body.how == "CancelledError" and bool(history.disturbances(began.who, began.at, body.ended, {"stopping"}))


def _of_tries(history: History, before: _Kept, mine: Sequence[Body], traits: Traits) -> Iterator[Breach]:
    """Judge the tries of an attempt, after those that the run has behind it."""
    slack = _HAIR + history.moment + history.skew.total_seconds()
    if mine and before.least + len(mine) > traits.tries:
        last, made = mine[-1].began, before.least + len(mine)
        yield Breach(last.at, last.job, f"{last.fire_time} was tried {made} times of {traits.tries}")
    for earlier, later in pairwise([*([before.last] if before.last is not None else []), *mine]):
        began, pause = later.began, later.began.at - earlier.ended
        if earlier.how == "returned":
            yield Breach(began.at, began.job, f"{began.fire_time} was tried again, though its body had returned")
        elif pause < traits.pause - slack and not history.was_set(_heard(history, earlier), began.at):
            yield Breach(began.at, began.job, f"{began.fire_time} was tried again after {pause:.3f} s")


def _heard(history: History, body: Body) -> float:
    """Return since when, at the latest, the process of a body had known the time by which it then measured a pause."""
    who, end = body.began.who, body.ended
    return end - (LONG_PAUSE if history.disturbances(who, end - LONG_PAUSE, end) else history.poll + _HAIR)


def poison_is_given_up(history: History) -> Iterator[Breach]:
    """
    An occurrence of which three processes have died runs no fourth body, and one is not given up before (I8).

    A user who resumes a job by a clock that was set back may have begun the same fire time anew, or not. With eight
    methods nobody knows of a claim that was written, and whose asker heard nothing of it.
    """
    begun = {(job, body.began.token): body.began for job, bodies in bodies_of(history).items() for body in bodies}
    for job, events in history.by_job.items():
        poisoned = {event.token: event for event in events if type(event) is Settled and _is_given_up(event)}
        granted = leases(events)
        for number, lease in enumerate(granted):
            claim = lease.claim
            body, told = begun.get((job, claim.token)), poisoned.get(claim.token)
            if body is None and told is None:
                continue
            lost = [before for before in granted[:number] if _is_lost_of(before, claim)]
            mine = sum(before.life == lease.life for before in lost)
            if body is not None and max(mine + 1, body.attempt) > _MOST_DEATHS:
                yield Breach(body.at, job, f"{body.fire_time} has begun again after {mine} deaths")
            if told is not None and len(lost) < _MOST_DEATHS:
                yield Breach(told.at, job, f"{told.fire_time} is given up after {len(lost)} deaths")


def _is_lost_of(before: Lease, claim: Claimed) -> bool:
    """Whether an earlier attempt of the same occurrence had not come to an end when this one was claimed."""
    is_same = (before.claim.fire_time, before.claim.manual) == (claim.fire_time, claim.manual)
    return is_same and before.ended > claim.at
