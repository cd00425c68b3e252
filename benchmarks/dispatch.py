"""
Does a dispatch cost more when more jobs are registered?

A dispatch is a run from its cause to its settled outcome: of one job that is triggered again and again, or of each of
500 jobs that are due at one instant. The others are due from tomorrow on. Growth is the cost with N jobs over the cost
with `FEW`, in the same process.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
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
    loop, now, timers = asyncio.get_running_loop(), time.time(), []

    def add(start: int, stop: int) -> None:
        timers.extend(loop.call_later(at.timestamp() - now, no_op) for _, at in instants(start, stop))

    async def run() -> None:
        async with asyncio.timeout(60):
            await no_op()

    async def cost() -> float:
        begun = time.perf_counter()
        for _ in range(TIMES):
            task = loop.create_future()
            loop.call_at(loop.time(), lambda task=task: task.set_result(loop.create_task(run())))
            await (await task)
        return (time.perf_counter() - begun) / TIMES

    add(0, min(FEW, size))
    sample = await grow(size, cost, add)
    return {**sample, "jobs": len(timers)}


@QUESTION.contestant("chrono_async, triggered")
async def triggered(size: int) -> Sample:
    async with crowded_chrono_async(min(FEW, size)) as s:
        job_id = instants(0, 1)[0][0]

        async def cost() -> float:
            begun = time.perf_counter()
            for _ in range(TIMES):
                await s.wait_for_job(job_id, run_id=await s.trigger_job(job_id))
            return (time.perf_counter() - begun) / TIMES

        sample = await grow(size, cost, lambda start, stop: add_to_chrono_async(s, start, stop))
        assert (await s.get_job(job_id)).run_count == 6 * TIMES
        return {**sample, "jobs": s.health().jobs}


@QUESTION.contestant("chrono_async, due at once")
async def due_at_once(size: int) -> Sample:
    async with crowded_chrono_async(min(FEW, size)) as s:

        async def cost() -> float:
            burst = Burst(AT_ONCE, microseconds_to_add=200)
            for number in range(AT_ONCE):
                await s.add_one_shot_job(f"job-{number}", "No-op", burst.no_op, at=burst.at, replace=True)
            burst.ready()
            await burst.is_over.wait()
            await settled(s)
            return burst.sample()["seconds"] / AT_ONCE

        sample = await grow(size, cost, lambda start, stop: add_to_chrono_async(s, start, stop))
        return {**sample, "jobs": s.health().jobs - AT_ONCE}


@QUESTION.contestant("APScheduler 3, due at once", most=100_000)
async def apscheduler3(size: int) -> Sample:
    async with crowded_apscheduler3(min(FEW, size)) as scheduler:

        async def cost() -> float:
            burst = Burst(AT_ONCE, microseconds_to_add=500)
            for number in range(AT_ONCE):
                scheduler.add_job(burst.no_op, "date", run_date=burst.at, id=f"job-{number}", misfire_grace_time=None)
            burst.ready()
            await burst.is_over.wait()
            return burst.sample()["seconds"] / AT_ONCE

        sample = await grow(size, cost, lambda start, stop: add_to_apscheduler3(scheduler, start, stop))
        return {**sample, "jobs": len(scheduler.get_jobs())}


if __name__ == "__main__":
    QUESTION.main()
