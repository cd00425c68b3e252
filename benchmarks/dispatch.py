"""
Does a dispatch cost more when more jobs are registered?

A dispatch is a run from its cause to its settled outcome, in processor time: of one job that is triggered again and
again, or of each of 500 jobs that are due at one instant. The others are due from tomorrow on. Growth is the cost with
N jobs over the cost with `FEW`, in the same process.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from statistics import median
from typing import Any

from ._crowd import (
    add_to_apscheduler3,
    add_to_chrono_async,
    crowded_apscheduler3,
    crowded_chrono_async,
    instants,
    no_op,
)
from ._measure import Question, Sample
from .burst import Burst, settled

COST = "microseconds a dispatch"
QUESTION = Question("dispatch", __doc__, sizes=(1_000, 100_000, 1_000_000), compared={COST: "bare"}, repeats=3)
FEW, TIMES, AT_ONCE = 1_000, 300, 500


async def grow(size: int, cost: Callable[[], Awaitable[float]], add: Callable[[int, int], Any]) -> Sample:
    """Measure with few jobs, add the others, measure again."""
    few = min(FEW, size)
    before = median([await cost() for _ in range(3)])
    added = add(few, size)
    if added is not None:
        await added
    await asyncio.sleep(0.1)
    after = median([await cost() for _ in range(3)])
    return {COST: after * 1e6, "growth": after / before}


@QUESTION.contestant("bare")
async def bare(size: int) -> Sample:
    loop, now, timers = asyncio.get_running_loop(), datetime.now(UTC), []

    def add(start: int, stop: int) -> None:
        timers.extend(loop.call_later((at - now).total_seconds(), no_op) for _, at in instants(start, stop))

    async def run() -> None:
        async with asyncio.timeout(60):
            await no_op()

    async def cost() -> float:
        begun = time.process_time()
        for _ in range(TIMES):
            task = loop.create_future()
            loop.call_at(loop.time(), lambda task=task: task.set_result(loop.create_task(run())))
            await (await task)
        return (time.process_time() - begun) / TIMES

    add(0, min(FEW, size))
    sample = await grow(size, cost, add)
    return {**sample, "jobs": len(timers)}


@QUESTION.contestant("chrono_async, triggered")
async def triggered(size: int) -> Sample:
    async with crowded_chrono_async(min(FEW, size)) as s:
        has_run = asyncio.Event()

        async def run() -> None:
            has_run.set()

        async def cost() -> float:
            begun = time.process_time()
            for _ in range(TIMES):
                has_run.clear()
                await s.trigger_job("triggered")
                await has_run.wait()
                await settled(s)
            return (time.process_time() - begun) / TIMES

        await s.add_cron_job("triggered", "No-op", run, "0 0 29 2 *")
        sample = await grow(size, cost, lambda start, stop: add_to_chrono_async(s, start, stop))
        assert (await s.get_job("triggered")).run_count == 6 * TIMES
        return {**sample, "jobs": s.health().jobs - 1}


@QUESTION.contestant("chrono_async, due at once")
async def due_at_once(size: int) -> Sample:
    async with crowded_chrono_async(min(FEW, size)) as s:

        async def cost() -> float:
            burst = Burst(AT_ONCE, microseconds_to_add=400)
            for number in range(AT_ONCE):
                await s.add_one_shot_job(f"job-{number}", "No-op", burst.no_op, at=burst.at, replace=True)
            await burst.run()
            await settled(s)
            return burst.sample()["CPU seconds"] / AT_ONCE

        sample = await grow(size, cost, lambda start, stop: add_to_chrono_async(s, start, stop))
        return {**sample, "jobs": s.health().jobs - AT_ONCE}


@QUESTION.contestant("APScheduler 3, due at once", most=100_000)
async def apscheduler3(size: int) -> Sample:
    async with crowded_apscheduler3(min(FEW, size)) as scheduler:

        async def cost() -> float:
            burst = Burst(AT_ONCE, microseconds_to_add=600)
            for number in range(AT_ONCE):
                scheduler.add_job(burst.no_op, "date", run_date=burst.at, id=f"job-{number}", misfire_grace_time=None)
            await burst.run()
            return burst.sample()["CPU seconds"] / AT_ONCE

        sample = await grow(size, cost, lambda start, stop: add_to_apscheduler3(scheduler, start, stop))
        return {**sample, "jobs": len(scheduler.get_jobs())}


if __name__ == "__main__":
    QUESTION.main()
