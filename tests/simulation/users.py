"""
Users of a simulated world, who change its jobs all the while, through whichever instance they happen upon.
"""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from chrono_async import ChronoError, IntervalSchedule

from .history import Asked
from .jobs import Job

if TYPE_CHECKING:
    from .world import Process, World

_VERBS = ("pause", "resume", "resume", "reschedule", "remove", "add", "add", "trigger", "trigger", "get")


class Users:
    """Call verbs of the instances that live."""

    def __init__(self, world: "World") -> None:
        self.world, self.dice = world, world.dice["users"]
        self.pause = self.dice.choice((0.7, 2.0, 5.0))

    async def meddle(self) -> None:
        """Do this and that, for ever; and never wait for an answer."""
        while True:
            await asyncio.sleep(self.dice.expovariate(1 / self.pause))
            ready = [process for process in self.world.living() if process.has_started]
            if ready:
                process, job, verb = (self.dice.choice(options) for options in (ready, self.world.jobs, _VERBS))
                length = timedelta(seconds=self.dice.choice((1.5, 2, 5)))
                process.do(self._call(process, job, verb, length))

    async def _call(self, process: "Process", job: Job, verb: str, length: timedelta) -> None:
        self.world.note(Asked, process.who, job.id, verb, "")
        try:
            await self._do(process, job, verb, length)
        except ChronoError as error:
            self.world.note(Asked, process.who, job.id, verb, type(error).__name__)
        else:
            self.world.note(Asked, process.who, job.id, verb, "ok")

    async def _do(self, process: "Process", job: Job, verb: str, length: timedelta) -> None:
        scheduler = process.scheduler
        if verb == "add":
            await process.add(job)
        elif verb == "reschedule":
            await scheduler.reschedule_job(job.id, IntervalSchedule(length))
        else:
            await getattr(scheduler, f"{verb}_job")(job.id)
