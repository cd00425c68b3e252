"""
Users of a simulated world, who change its jobs all the while, through whichever instance they happen upon.
"""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from chrono_async import ChronoError, IntervalSchedule
from chrono_async.errors import StorageError

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

    async def begin_anew(self) -> None:
        """Do what one does when a storage's clock was ahead, and the jobs' next runs are where it has been."""
        await asyncio.sleep(2 * self.world.history.poll)  # the schedulers must have heard what time it is now
        for job in self.world.jobs:
            for verb in ("pause", "resume"):
                await self._insist(job, verb)

    async def _insist(self, job: Job, verb: str) -> None:
        for _ in range(20):
            if await self._ask_somebody(job, verb) != StorageError.__name__:
                return
            await asyncio.sleep(0.5)

    async def _ask_somebody(self, job: Job, verb: str) -> str:
        ready = [process for process in self.world.living() if process.has_started]
        if not ready:
            return StorageError.__name__
        process = self.dice.choice(ready)
        call = process.do(self._call(process, job, verb, timedelta(0)))
        await asyncio.wait([call], timeout=5)  # it may die meanwhile
        return str(call.result()) if call.done() else StorageError.__name__

    async def _call(self, process: "Process", job: Job, verb: str, length: timedelta) -> str:
        answer = "ok"
        self.world.note(Asked, process.who, job.id, verb, "")
        try:
            await self._do(process, job, verb, length)
        except ChronoError as error:
            answer = type(error).__name__
        self.world.note(Asked, process.who, job.id, verb, answer)
        return answer

    async def _do(self, process: "Process", job: Job, verb: str, length: timedelta) -> None:
        scheduler = process.scheduler
        if verb == "add":
            await process.add(job.id)
        elif verb == "reschedule":
            await scheduler.reschedule_job(job.id, IntervalSchedule(length))
        else:
            await getattr(scheduler, f"{verb}_job")(job.id)
