"""
The jobs of a simulated world: every kind of schedule and policy, and bodies that behave well, badly, and fatally.
"""

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

from chrono_async import CronSchedule, IntervalSchedule, Retry, current_run
from chrono_async.schedules import Schedule

from .history import Began, Ended, History, Traits
from .loop import ProcessLoop


class JobFailedError(RuntimeError):
    """What a body raises that is to fail."""


@dataclass
class Job:
    """A job as all instances declare it, and how its body behaves."""

    id: str
    schedule: Schedule | float
    """Or the delay of a one-shot, which counts from when it is added."""
    options: dict[str, Any] = field(default_factory=dict)
    lasts: tuple[float, float] = (0, 0.3)
    fails: float = 0
    """How often its body raises."""
    stubborn: float = 0
    """For how many seconds its body, at the most, ignores that it is cancelled."""
    kills: bool = False
    """Whether its body kills the process, until the calm."""

    @property
    def traits(self) -> Traits:
        """What the checker must know."""
        is_short = self.lasts[1] < 1 and not (self.stubborn or self.fails or self.kills)
        return Traits.of(self.options, is_short=is_short)


class Place(NamedTuple):
    """Where a body runs."""

    who: str
    loop: ProcessLoop
    history: History
    dice: random.Random
    numbers: Iterator[int]
    die: Callable[[], None]
    is_calm: Callable[[], bool]
    is_over: Callable[[], bool]


def body_of(job: Job, place: Place) -> Callable[[], Any]:
    """Return the job's function, as one process has it."""

    async def body() -> None:
        run = current_run()
        lasts = place.dice.uniform(*job.lasts)
        stubborn = place.dice.uniform(0, job.stubborn) if job.stubborn else 0.0
        fails = place.dice.random() < job.fails
        note = place.history.events.append
        about = (place.who, job.id, run.fire_time, run.token, run.attempt, run.run_id.endswith("!"))
        number = next(place.numbers)
        note(Began(place.loop.time(), *about, stubborn, run.missed, number))
        how = "returned"
        try:
            if job.kills and not place.is_calm():
                await _die(place)
            await _work(lasts, stubborn, place)
            _fail_if(fails, run.fire_time)
        except BaseException as error:
            how = type(error).__name__
            raise
        finally:
            if not place.is_over():
                note(Ended(place.loop.time(), place.who, job.id, run.token, how, number))

    return body


def _fail_if(fails: bool, fire_time: datetime) -> None:
    if fails:
        raise JobFailedError(f"run {fire_time:%H:%M:%S}")


async def _die(place: Place) -> None:
    place.die()
    await asyncio.sleep(0)  # the process has no next step


async def _work(seconds: float, stubborn: float, place: Place) -> None:
    """Last so long; when cancelled, go on for a while all the same."""
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        ends = place.loop.time() + stubborn
        while place.loop.time() < ends and not place.is_over():
            try:
                await asyncio.sleep(max(ends - place.loop.time(), 0.001))
            except asyncio.CancelledError:
                continue
        raise


class Deploys:
    """
    Which code a process has when it begins: the old, or from some moment on the new, in which some schedules differ.

    Now and then the old code comes back. Those who live go on with what they have; so both are there at once.
    """

    def __init__(self, jobs: Sequence[Job], dice: random.Random, end: float) -> None:
        self._dice, self._old = dice, {job.id: job for job in jobs}
        self._begin = dice.uniform(0, end) if dice.random() < 0.3 else float("inf")
        self._new = {job.id: self._changed(job) for job in jobs}

    def _changed(self, job: Job) -> Job:
        is_changed = isinstance(job.schedule, IntervalSchedule) and self._dice.random() < 0.5
        return replace(job, schedule=_interval(self._dice)) if is_changed else job

    def jobs_at(self, moment: float) -> Mapping[str, Job]:
        """Return what a process declares that begins at this moment."""
        return self._new if moment >= self._begin and self._dice.random() < 0.9 else self._old


def draw_jobs(dice: random.Random) -> list[Job]:
    """Draw some jobs: two that always behave, one that nearly always runs, the others of any kind."""
    jobs = [
        Job("tick", IntervalSchedule(dice.choice((1.5, 2, 3)))),
        Job("cron", CronSchedule("* * * * * *" if dice.random() < 0.2 else "*/3 * * * * *", dialect="extended")),
    ]
    overlap = dice.choice(("skip", "queue"))
    jobs.append(Job("work", IntervalSchedule(4), {"overlap": overlap}, lasts=(2, 16)))
    makers = dice.sample(_MAKERS, dice.randint(3, 6))
    return jobs + [make(dice) for make in makers]


def _interval(dice: random.Random) -> IntervalSchedule:
    return IntervalSchedule(dice.choice((1.5, 2, 3, 4, 7)))


def _long(dice: random.Random) -> Job:
    overlap = dice.choice(("skip", "queue", "cancel_running"))
    return Job("long", _interval(dice), {"overlap": overlap}, lasts=(0, 14))


def _parallel(dice: random.Random) -> Job:
    return Job("parallel", _interval(dice), {"overlap": "allow"}, lasts=(0, 9))


def _careful(dice: random.Random) -> Job:
    return Job("careful", _interval(dice), {"recovery": "skip", "misfire": dice.choice(_MISFIRES)}, lasts=(0, 4))


def _failing(dice: random.Random) -> Job:
    retry = Retry(dice.randint(1, 3), delay=dice.choice((0, 0.3, 9)), jitter=False)
    return Job("failing", _interval(dice), {"max_retries": retry}, lasts=(0, 1), fails=0.5)


def _stubborn(dice: random.Random) -> Job:
    options = {"timeout": dice.uniform(0.5, 3), "overlap": dice.choice(("skip", "queue", "cancel_running"))}
    return Job("stubborn", _interval(dice), options, lasts=(0, 5), stubborn=8)


def _once(dice: random.Random) -> Job:
    return Job("once", dice.uniform(2, 40), lasts=(0, 8))


def _fatal(dice: random.Random) -> Job:
    return Job("fatal", dice.uniform(2, 15), kills=True)


def _jittered(dice: random.Random) -> Job:
    return Job("jittered", _interval(dice), {"jitter": 1, "misfire": dice.choice(_MISFIRES)}, lasts=(0, 2))


def _catching_up(dice: random.Random) -> Job:
    return Job("catching up", _interval(dice), {"misfire": "fire_all"}, lasts=(0, 0.5))


def _skipping(dice: random.Random) -> Job:
    return Job("skipping", _interval(dice), {"misfire": "skip", "misfire_grace": dice.choice((0, 1, 5))}, lasts=(0, 3))


def _few(dice: random.Random) -> Job:
    return Job("few", _interval(dice), {"max_runs": dice.randint(1, 9)}, lasts=(0, 3))


_MISFIRES = ("fire_once", "skip", "fire_all")
_MAKERS = (
    _long, _parallel, _careful, _failing, _stubborn, _once, _fatal, _jittered, _catching_up, _skipping, _few,
)  # fmt: skip
