"""
Rules of what becomes of a run: its outcome says what its body did, a failure is tried again, poison is given up.

They count bodies and leases, not what the engine says of them.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from chrono_async import JobRecord, Overlap

from .breach import Breach, Lease, leases
from .history import FOREVER, Claimed, History, Released, Seen, Settled, Traits
from .rules_of_bodies import Body, bodies_of

_MOST_DEATHS = 3
"""An occurrence of which so many processes have died is given up."""
_HAIR = 0.01
"""Seconds by which what is placed in time may be misplaced."""

_Tries = dict[tuple[str, int], list[Body]]


def _tries(history: History) -> _Tries:
    """Return the bodies that were begun under each token of a job, in their order."""
    found: _Tries = defaultdict(list)
    for job, bodies in bodies_of(history).items():
        for body in bodies:
            found[job, body.began.token].append(body)
    return found


def outcomes_tell_what_bodies_did(history: History) -> Iterator[Breach]:
    """
    Who says that a run is completed has seen its body return; failed, raise or take too long; cancelled, be cut (I8).

    And who gives a run back has not seen its body return. Whatever comes to the storage is judged, even if it is not
    believed there. An occurrence that is given up has no body, which is another rule's affair; and a run may be cut
    before its body has begun.
    """
    tries, claims = _tries(history), {(claim.job, claim.token): claim for claim in history.of(Claimed)}
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
        elif told.status == "cancelled" and told.job not in cancelling:
            claim = claims.get((told.job, told.token))
            if claim is None or not history.disturbances(told.who, claim.at, told.at, {"stopping"}):
                yield Breach(told.at, told.job, f"{told.fire_time} is cancelled, and nobody has cut it")


def _is_cancelling(record: JobRecord | None) -> bool:
    return record is not None and record.options.overlap is Overlap.CANCEL_RUNNING


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
    it has made behind: the next attempt makes all of them.
    """
    tries = _tries(history)
    for job, events in history.by_job.items():
        traits = history.traits[job]
        failed: dict[object, list[Body]] = {}
        errors = {event.token: event for event in events if type(event) is Settled and event.status == "failed"}
        for lease in leases(events):
            name = (lease.life, lease.claim.fire_time, lease.claim.manual)
            before, mine = failed.get(name, []), tries.get((job, lease.claim.token), [])
            made = [*before, *mine]
            if mine:
                yield from _of_tries(history, made, traits)
            told = errors.get(lease.claim.token)
            if told is not None and not _is_given_up(told) and len(made) < traits.tries:
                yield Breach(told.at, job, f"{told.fire_time} failed after {len(made)} tries of {traits.tries}")
            if lease.how == "released":
                is_cut = not mine or _may_be_cut(history, mine[-1]) or not _has_failed(mine[-1], traits)
                failed[name] = [] if is_cut else made


def _may_be_cut(history: History, body: Body) -> bool:
    """Whether a body that was cancelled, for whatever reason, was so by a stop at the latest."""
    began = body.began
    return body.how == "CancelledError" and bool(history.disturbances(began.who, began.at, body.ended, {"stopping"}))


def _of_tries(history: History, made: Sequence[Body], traits: Traits) -> Iterator[Breach]:
    """Judge the tries of an occurrence, those of its last attempt at the end."""
    last = made[-1].began
    if len(made) > traits.tries:
        yield Breach(last.at, last.job, f"{last.fire_time} was tried {len(made)} times of {traits.tries}")
    for before, after in pairwise(made):
        at, pause = after.began.at, after.began.at - before.ended
        if before.how == "returned":
            yield Breach(at, last.job, f"{last.fire_time} was tried again, though its body had returned")
        elif pause < traits.pause - _HAIR - history.moment and not history.was_set(before.ended, at):
            yield Breach(at, last.job, f"{last.fire_time} was tried again after {pause:.3f} s of {traits.pause}")


def poison_is_given_up(history: History) -> Iterator[Breach]:
    """An occurrence of which three processes have died runs no fourth body, and one is not given up before (I8)."""
    begun = {(began.began.job, began.began.token): began.began for b in bodies_of(history).values() for began in b}
    for job, events in history.by_job.items():
        poisoned = {event.token: event for event in events if type(event) is Settled and _is_given_up(event)}
        deaths: dict[object, int] = defaultdict(int)
        for lease in leases(events):
            token, name = lease.claim.token, (lease.life, lease.claim.fire_time, lease.claim.manual)
            body, told = begun.get((job, token)), poisoned.get(token)
            if body is not None and max(deaths[name] + 1, body.attempt) > _MOST_DEATHS:
                yield Breach(body.at, job, f"{body.fire_time} has begun again after {deaths[name]} deaths")
            if told is not None and deaths[name] < _MOST_DEATHS:
                yield Breach(told.at, job, f"{told.fire_time} is given up after {deaths[name]} deaths")
            deaths[name] += lease.ended == FOREVER
