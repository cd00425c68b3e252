"""
What does a scheduler cost while nothing is due, with N jobs registered?

The share of one core that its process takes, over half a minute, so that everything that happens by the clock happens
at least once. None of the jobs is due before tomorrow; bare is a timer for each.
"""

import asyncio
import time
from datetime import UTC, datetime

from ._crowd import crowded_apscheduler3, crowded_apscheduler4, crowded_chrono_async, instants, no_op
from ._measure import Question, Sample

QUESTION = Question("idle", __doc__, sizes=(100_000,), compared={"% of a core": "chrono_async"}, repeats=3)
WINDOW = 31.0
_CALM = 2.0


async def watch() -> Sample:
    """Let registration fade away, then look how much time the process takes."""
    await asyncio.sleep(min(_CALM, WINDOW))
    begun = time.process_time()
    await asyncio.sleep(WINDOW)
    return {"% of a core": (time.process_time() - begun) / WINDOW * 100}


@QUESTION.contestant("bare")
async def bare(size: int) -> Sample:
    loop, now = asyncio.get_running_loop(), datetime.now(UTC)
    timers = [loop.call_later((at - now).total_seconds(), no_op) for _, at in instants(0, size)]
    return {**await watch(), "jobs": sum(not timer.cancelled() for timer in timers)}


@QUESTION.contestant("chrono_async")
async def ours(size: int) -> Sample:
    async with crowded_chrono_async(size) as s:
        return {**await watch(), "jobs": s.health().jobs}


@QUESTION.contestant("APScheduler 3")
async def apscheduler3(size: int) -> Sample:
    async with crowded_apscheduler3(size) as scheduler:
        return {**await watch(), "jobs": len(scheduler.get_jobs())}


@QUESTION.contestant("APScheduler 4", python="APSCHEDULER_4")
async def apscheduler4(size: int) -> Sample:
    async with crowded_apscheduler4(size) as s:
        return {**await watch(), "jobs": len(await s.get_schedules())}


@QUESTION.contestant("taskiq")
async def taskiq(size: int) -> Sample:
    """Its scheduler looks at every schedule in every second."""
    from taskiq import InMemoryBroker, ScheduledTask, TaskiqScheduler
    from taskiq.cli.scheduler.run import SchedulerLoop
    from taskiq.schedule_sources import LabelScheduleSource

    broker = InMemoryBroker()
    source = LabelScheduleSource(broker)
    source.schedules = {
        id: ScheduledTask(task_name="no-op", labels={}, args=[], kwargs={}, schedule_id=id, time=at)
        for id, at in instants(0, size)
    }
    looking = asyncio.create_task(SchedulerLoop(TaskiqScheduler(broker, [source])).run())
    sample = await watch()
    looking.cancel()
    return {**sample, "jobs": len(source.schedules)}


if __name__ == "__main__":
    QUESTION.main()
