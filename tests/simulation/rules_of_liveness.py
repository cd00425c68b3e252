"""
Rules of what does not lie about, at any time, where somebody is well.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from chrono_async import JobRecord
from chrono_async.models import pending_manual

from .breach import Breach
from .clerk import Clerk
from .history import Asked, Changed, Event, History, Lived, Seen
from .rules_of_bodies import LONG_PAUSE, Body, bodies_of

_A_MOMENT = 0.7
"""Seconds within which what is to happen at once has happened."""


def what_is_due_is_claimed(history: History) -> Iterator[Breach]:
    """
    What is due, and held by nobody, is claimed within a poll while a process is well that has the job's function (I20).

    In the storm, too, and whatever kind of job it is. Only those are looked to that run any number at a time, that
    nothing has been wrong with for so long that none of their pauses lasts on, and that no body of the job still runs
    on. A storage's clock must not have been set lately.
    """
    clerk, bodies = Clerk(history), bodies_of(history)
    lives = _lives(history)
    for job, events in history.by_job.items():
        for before, after in _versions(history, events):
            due = _due_since(before.record)
            if due is None:
                continue
            begin = max(before.at, _true(history, due))
            bound = begin + history.poll + _A_MOMENT + history.moment
            if bound < min(after, history.ended) and clerk.knows(bound):
                well = (who for who in lives if _is_well(history, who, lives[who], begin, bound))
                if any(_is_free(events, bodies.get(job, ()), who, begin, bound) for who in well):
                    yield Breach(bound, job, f"nobody has claimed it, which was due at {due}: {before.record}")


def _versions(history: History, events: Sequence[Event]) -> Iterator[tuple[Seen, float]]:
    """Yield each version of a record, and until when it lasted."""
    seen = [event for event in events if type(event) is Seen]
    ends = [*(event.at for event in seen[1:]), history.ended]
    return zip(seen, ends, strict=True)


def _due_since(record: JobRecord | None) -> datetime | None:
    """Return from when on a job that nobody holds is to be claimed."""
    if record is None or record.owner is not None:
        return None
    manual = pending_manual(record)
    waiting = [] if manual is None else [manual.at]
    if record.next_run is not None and not record.paused:
        waiting.append((record.bound_fire_time or record.next_run) + record.options.jitter)
    if not waiting:
        return None
    pause = record.not_before if manual is None else manual.not_before
    return min(waiting) if pause is None else max(min(waiting), pause)


def _true(history: History, moment: datetime) -> float:
    """Return when the storage's clock shows that, as it goes in the end; where it was set of late nothing is judged."""
    return (moment - history.wall(0)).total_seconds()


def _lives(history: History) -> Mapping[str, tuple[float, float]]:
    """Return from when until when each process lived that runs any number at a time."""
    born = {life.who: life.at for life in history.of(Lived) if life.what == "born" and life.who.startswith("a")}
    ends = {life.who: life.at for life in history.of(Lived) if life.what in {"died", "stopping", "stopped"}}
    return {who: (at, ends.get(who, history.ended)) for who, at in born.items()}


def _is_well(history: History, who: str, life: tuple[float, float], begin: float, bound: float) -> bool:
    born, end = life
    is_there = born + 2 * history.poll < begin and bound < end
    return is_there and not history.disturbances(who, max(born, begin - LONG_PAUSE), bound)


def _is_free(events: Sequence[Event], bodies: Sequence[Body], who: str, begin: float, bound: float) -> bool:
    """Whether a process is sure to have the job's function, and no body of it that is still running."""
    mine = [event for event in events if type(event) in {Changed, Asked} and event.who == who and event.at <= bound]
    has_it = any(event.verb == "register" and event.at < begin for event in mine)
    is_removed = any(event.verb == "remove" for event in mine)
    runs = any(body.began.who == who and body.began.at <= bound and body.ended >= begin for body in bodies)
    return has_it and not is_removed and not runs
