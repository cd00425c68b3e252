"""
Do 1,000 jobs of every second keep their time, and what do they cost, when N of them fall on one instant?

With 1,000 all fall together, with 1 they lie evenly over the second. A tick is late by what lies between its fire time
and the first line of the job. Bare is a `loop.call_at` a job, one task and one `asyncio.timeout` a tick; heap is the
least that could be called a scheduler: one heap, one timer, the same tasks.
"""

import asyncio
import time
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from heapq import heapify, heapreplace
from statistics import median, quantiles
from typing import Any

from ._measure import Question, Sample

QUESTION = Question("steady", __doc__, sizes=(1_000, 100, 1), compared={"p99 ms": "heap", "CPU seconds": "bare"})
JOBS, TICKS, EVERY = 1_000, 20, 1.0
_EARLY = 0.005
"""What a tick may come too early, since bare timers go by another clock than ours."""


class Clockwork:
    """The jobs, each with its place in the second, and how late each of their ticks was."""

    def __init__(self, together: int, *, microseconds_to_add: float = 0) -> None:
        self.start = datetime.now(UTC) + timedelta(seconds=0.5, microseconds=JOBS * microseconds_to_add)
        step = EVERY * min(together, JOBS) / JOBS
        self.first = [self.start + timedelta(seconds=number // together * step) for number in range(JOBS)]
        self._epochs = [first.timestamp() for first in self.first]
        self.late: list[float] = []
        self.ticks: list[set[int]] = [set() for _ in range(JOBS)]
        self._cpu_before = 0.0

    async def tick(self, number: int) -> None:
        since = time.time() - self._epochs[number] + _EARLY
        place, late = divmod(since, EVERY)
        if 0 <= place < TICKS:
            self.ticks[number].add(int(place))
            self.late.append((late - _EARLY) * 1e3)

    async def run_out(self) -> None:
        """Wait until the last tick is over, or should be."""
        self._cpu_before = time.process_time()
        end = self.start + timedelta(seconds=(TICKS + 0.5) * EVERY)
        await asyncio.sleep((end - datetime.now(UTC)).total_seconds())

    def sample(self) -> Sample:
        cpu = time.process_time() - self._cpu_before
        ran = sum(map(len, self.ticks))
        return {
            "median ms": median(self.late),
            "p99 ms": quantiles(self.late, n=100, method="inclusive")[98],
            "CPU seconds": cpu,
            "ticks": ran,
            "missed": JOBS * TICKS - ran,
            "twice": len(self.late) - ran,
        }


class Tasks:
    """Bare tasks, each under a timeout, held until they are done."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self.loop = asyncio.get_running_loop()

    def start(self, tick: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(self._run(tick))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, tick: Coroutine[Any, Any, None]) -> None:
        async with asyncio.timeout(60):
            await tick


@QUESTION.contestant("bare")
async def bare(size: int) -> Sample:
    clockwork, tasks = Clockwork(size), Tasks()
    zero = tasks.loop.time() - time.time()

    def start(number: int, when: float) -> None:
        tasks.loop.call_at(when + EVERY, start, number, when + EVERY)
        tasks.start(clockwork.tick(number))

    for number, first in enumerate(clockwork.first):
        when = zero + first.timestamp()
        tasks.loop.call_at(when, start, number, when)
    await clockwork.run_out()
    return clockwork.sample()


@QUESTION.contestant("heap")
async def heap(size: int) -> Sample:
    clockwork, tasks = Clockwork(size), Tasks()
    zero = tasks.loop.time() - time.time()
    waiting = [(zero + first.timestamp(), number) for number, first in enumerate(clockwork.first)]
    heapify(waiting)

    def start_what_is_due() -> None:
        while waiting[0][0] <= tasks.loop.time():
            when, number = waiting[0]
            heapreplace(waiting, (when + EVERY, number))
            tasks.start(clockwork.tick(number))
        tasks.loop.call_at(waiting[0][0], start_what_is_due)

    start_what_is_due()
    await clockwork.run_out()
    return clockwork.sample()


@QUESTION.contestant("chrono_async")
async def ours(size: int) -> Sample:
    from chrono_async import AsyncScheduler

    clockwork = Clockwork(size, microseconds_to_add=300)
    async with AsyncScheduler() as s:
        for number, first in enumerate(clockwork.first):
            await s.add_interval_job(f"job-{number}", "Tick", clockwork.tick, EVERY, start_at=first, args=(number,))
        await clockwork.run_out()
        return clockwork.sample()


@QUESTION.contestant("APScheduler 3")
async def apscheduler3(size: int) -> Sample:
    from apscheduler.schedulers.asyncio import AsyncIOScheduler

    clockwork, scheduler = Clockwork(size, microseconds_to_add=500), AsyncIOScheduler(timezone=UTC)
    for number, first in enumerate(clockwork.first):
        scheduler.add_job(clockwork.tick, "interval", seconds=EVERY, start_date=first, args=(number,))
    scheduler.start()
    await clockwork.run_out()
    sample = clockwork.sample()
    scheduler.shutdown()
    return sample


@QUESTION.contestant("APScheduler 4", python="APSCHEDULER_4")
async def apscheduler4(size: int) -> Sample:
    from apscheduler import AsyncScheduler
    from apscheduler.triggers.interval import IntervalTrigger

    clockwork = Clockwork(size, microseconds_to_add=1_000)
    async with AsyncScheduler() as s:
        task = await s.configure_task("tick", func=clockwork.tick, max_running_jobs=None)
        for number, first in enumerate(clockwork.first):
            trigger = IntervalTrigger(microseconds=int(EVERY * 1e6), start_time=first)
            await s.add_schedule(task, trigger, id=f"job-{number}", args=(number,))
        await s.start_in_background()
        await clockwork.run_out()
        return clockwork.sample()


if __name__ == "__main__":
    QUESTION.main()
