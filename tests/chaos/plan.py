"""
What the processes of a campaign are told, and the jobs that they have.
"""

import asyncio
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from chrono_async import CronSchedule, IntervalSchedule, current_run
from chrono_async.schedules import Schedule
from tests.simulation.history import Traits

from .log import Log

TTL, POLL, PATIENCE = 1.5, 0.5, 1.0


@dataclass(frozen=True)
class Part:
    """What one process is to be: a worker, the driver or the observer."""

    role: str
    who: str
    name: str
    url: str
    log: str
    seed: str

    def dumps(self) -> str:
        """Return it as an argument of a command."""
        return json.dumps(asdict(self))

    @staticmethod
    def loads(text: str) -> "Part":
        """Read that argument."""
        return Part(**json.loads(text))


class JobFailedError(RuntimeError):
    """What a body raises that is to fail."""


@dataclass(frozen=True)
class Job:
    """A job as all workers declare it, and how its body behaves."""

    schedule: Schedule | float
    """Or the delay of a one-shot."""
    options: Mapping[str, Any] = field(default_factory=dict)
    lasts: tuple[float, float] = (0, 0.02)
    fails: float = 0.0

    @property
    def traits(self) -> Traits:
        """What the checker must know."""
        return Traits.of(self.options, is_short=self.lasts[1] < 0.1 and not self.fails)


JOBS: Mapping[str, Job] = {
    "tick": Job(IntervalSchedule(0.5)),
    "quick": Job(IntervalSchedule(0.2)),
    "cron": Job(CronSchedule("* * * * * *", dialect="extended")),
    "work": Job(IntervalSchedule(1), {"overlap": "queue"}, lasts=(0.1, 1)),
    "long": Job(IntervalSchedule(0.7), lasts=(0.5, 2.5)),
    "careful": Job(IntervalSchedule(0.7), {"recovery": "skip"}, lasts=(0.1, 0.5)),
    "failing": Job(IntervalSchedule(0.8), {"max_retries": 2}, lasts=(0, 0.1), fails=0.5),
    "once": Job(1.0, lasts=(0.1, 1)),
    "later": Job(4.0, lasts=(0.1, 1)),
    "manual": Job(IntervalSchedule(3600), lasts=(0.1, 0.8)),
}


class Begun(NamedTuple):
    """A body has begun."""

    job: str
    fire_time: Any
    token: int
    attempt: int
    manual: bool
    missed: Any
    number: str


class Done(NamedTuple):
    """A body has ended."""

    job: str
    token: int
    how: str
    number: str


def _fail_if(fails: bool, text: str) -> None:
    if fails:
        raise JobFailedError(text)


def body_of(job_id: str, job: Job, log: Log, dice: random.Random, numbers: Callable[[], int]) -> Callable[[], Any]:
    """Return the job's function, as one process has it."""

    async def body() -> None:
        run, number, how = current_run(), f"{log.who} {numbers()}", "returned"
        manual = run.run_id.endswith("!")
        log.tell("began", Begun(job_id, run.fire_time, run.token, run.attempt, manual, run.missed, number))
        try:
            await asyncio.sleep(dice.uniform(*job.lasts))
            _fail_if(dice.random() < job.fails, f"run {run.fire_time:%H:%M:%S.%f}")
        except BaseException as error:
            how = type(error).__name__
            raise
        finally:
            log.tell("ended", Done(job_id, run.token, how, number))

    return body
