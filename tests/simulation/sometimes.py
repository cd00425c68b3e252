"""
What must happen in some world, lest the rules about it hold only because nothing ever puts them to the test.
"""

from collections.abc import Callable, Mapping
from typing import Any

from .breach import is_deleted, is_done
from .history import Advanced, Began, Changed, Claimed, Ended, Event, Fault, History, Lived, Refused, Renewed, Settled
from .rules_of_bodies import bodies_of

IsSeen = Callable[[History], bool]


def _some(kind: type[Event], condition: Callable[[Any], bool]) -> IsSeen:
    return lambda history: any(condition(event) for event in history.of(kind))


def _during_a_run(condition: Callable[[Event], bool]) -> IsSeen:
    def is_seen(history: History) -> bool:
        moments = [(event.job, event.at) for event in history.of(Changed) if condition(event)]
        runs = bodies_of(history)
        return any(body.began.at < at < body.ended for job, at in moments for body in runs.get(job, ()))

    return is_seen


def _bodies_overlap(history: History) -> bool:
    work = bodies_of(history).get("work", [])
    return any(a.began.at < b.began.at < a.ended for a in work for b in work)


def _is_set_during_a_run(history: History) -> bool:
    runs = [body for bodies in bodies_of(history).values() for body in bodies]
    return any(body.began.at < step.at < body.ended for step in history.steps for body in runs)


SOMETIMES: Mapping[str, IsSeen] = {
    "a stale settle is refused": _some(Settled, lambda e: e.verdict == "stale"),
    "a settle is asked again, and known": _some(Settled, lambda e: e.verdict == "repeated"),
    "a run is taken over": _some(Claimed, lambda e: e.attempt == 2 and not e.again),
    "an unanswered claim turns out to be granted": _some(Claimed, lambda e: e.again),
    "an unanswered claim turns out to have been none": _some(Claimed, lambda e: e.reasked and not e.again),
    "an unanswered claim turns out to be too late": _some(Refused, lambda e: e.reasked),
    "a job is paused during its run": _during_a_run(lambda e: e.verb == "set_paused"),
    "a job is removed during its run": _during_a_run(is_deleted),
    "a job is rescheduled during its run": _during_a_run(lambda e: (e.verb, e.verdict) == ("reschedule", "done")),
    "a verb that goes by an old view is refused": _some(Changed, lambda e: e.verdict == "refused"),
    "a lease is renewed after it has run out": _some(Renewed, lambda e: e.was_over),
    "two ask for one occurrence": _some(Refused, lambda e: e.why == "held"),
    "an occurrence that kills its processes is given up": _some(Settled, lambda e: "PoisonedError" in e.error),
    "a body outlasts its cancellation": _some(Began, lambda e: e.stubborn > 5),
    "an overlap is excused": _bodies_overlap,
    "a body is cancelled": _some(Ended, lambda e: e.how == "CancelledError"),
    "fire times are folded into a run": _some(Settled, lambda e: is_done(e) and e.missed is not None),
    "fire times are skipped during a run": _some(Settled, lambda e: is_done(e) and e.skipped is not None),
    "the pointer is moved without a run": _some(Advanced, lambda e: e.done),
    "a process dies": _some(Lived, lambda e: e.what == "died"),
    "a stop leaves a body behind": _some(Lived, lambda e: bool(e.left)),
    "a freeze outlasts a lease": _some(Fault, lambda e: e.kind == "frozen" and e.until - e.at > 7),
    "the storage's clock is set during a run": _is_set_during_a_run,
    "new code changes a job's schedule": _some(Changed, lambda e: (e.verb, e.verdict) == ("register", "changed")),
    "a manual run is asked for": _some(Claimed, lambda e: e.manual),
}
"""What is to be seen in at least one of the worlds."""


def seen_in(history: History, wanted: Mapping[str, IsSeen]) -> set[str]:
    """Return which of these things have happened in a history."""
    return {name for name, is_seen in wanted.items() if is_seen(history)}
