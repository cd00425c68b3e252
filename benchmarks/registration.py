"""
What does it cost to register N cron jobs, in time and in memory?

Each scheduler is running. Ids are distinct, expressions are what people write: 500 different ones, or each a different
one. Time is the processor's, memory is the growth of the process. Bare is the least that can be written by hand: one
cronsim expression and one `loop.call_at` each.
"""

import asyncio
import gc
import os
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from ._measure import Question, Sample

QUESTION = Question(
    "registration",
    __doc__,
    sizes=(10_000, 100_000),
    compared=dict.fromkeys(("microseconds a job", "bytes a job"), "bare"),
    repeats=3,
)
_FORMS = (
    "{m} * * * *",
    "{m} {h} * * *",
    "*/{s} {h}-23 * * *",
    "{m} {h} * * 1-5",
    "{m},{n} {h} * * {w}",
    "{m} {h} {d} * *",
)
_RARE = "{m} {h} {d} {o} *"


async def no_op() -> None:
    """What the jobs would do."""


def expressions(count: int, *, distinct: int = 500) -> list[str]:
    """Return so many expressions, of which so many are different."""
    kinds = list(dict.fromkeys(_draw(min(distinct, count))))
    return [kinds[number % len(kinds)] for number in range(count)]


def _draw(distinct: int) -> Iterator[str]:
    dice, seen = random.Random(1), set[str]()
    while len(seen) < distinct:
        form = _RARE if len(seen) > 20_000 else dice.choice(_FORMS)
        minute = dice.randrange(60)
        drawn = form.format(
            m=minute,
            n=dice.randrange(60),
            h=dice.randrange(23),
            s=dice.choice((5, 10, 15, 20, 30)),
            d=dice.randrange(1, 29),
            w=dice.randrange(7),
            o=dice.randrange(1, 13),
        )
        if drawn not in seen:
            seen.add(drawn)
            yield drawn


async def measure(size: int, add: Callable[[str, str], Awaitable[object]], *, distinct: int = 500) -> Sample:
    """Call `add(job_id, expression)` for each job."""
    different = expressions(size, distinct=distinct)
    gc.collect()
    before, begun = resident(), time.process_time()
    for number, expression in enumerate(different):
        await add(f"job-{number}", expression)
    seconds = time.process_time() - begun
    gc.collect()
    return {"microseconds a job": seconds / size * 1e6, "bytes a job": (resident() - before) / size, "jobs": size}


def resident() -> int:
    """Return the bytes of memory that the process holds (Linux)."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


@QUESTION.contestant("bare")
async def bare(size: int) -> Sample:
    from cronsim import CronSim

    loop, jobs = asyncio.get_running_loop(), {}

    async def add(job_id: str, expression: str) -> None:
        now = datetime.now(UTC)
        upcoming = CronSim(expression, now)
        jobs[job_id] = upcoming, loop.call_later((next(upcoming) - now).total_seconds(), no_op)

    sample = await measure(size, add)
    assert len(jobs) == size
    return sample


@QUESTION.contestant("chrono_async")
async def ours(size: int) -> Sample:
    return await _ours(size, distinct=500)


@QUESTION.contestant("chrono_async, all different")
async def ours_all_different(size: int) -> Sample:
    return await _ours(size, distinct=size)


async def _ours(size: int, *, distinct: int) -> Sample:
    from chrono_async import AsyncScheduler

    async with AsyncScheduler() as s:
        sample = await measure(
            size, lambda job_id, expression: s.add_cron_job(job_id, "No-op", no_op, expression), distinct=distinct
        )
        assert s.health().jobs == size
    return sample


@QUESTION.contestant("APScheduler 3")
async def apscheduler3(size: int) -> Sample:
    from apscheduler.schedulers.asyncio import AsyncIOScheduler
    from apscheduler.triggers.cron import CronTrigger

    scheduler = AsyncIOScheduler(timezone=UTC)
    scheduler.start()

    async def add(job_id: str, expression: str) -> None:
        scheduler.add_job(no_op, CronTrigger.from_crontab(expression, UTC), id=job_id)

    sample = await measure(size, add)
    assert len(scheduler.get_jobs()) == size
    scheduler.shutdown()
    return sample


@QUESTION.contestant("APScheduler 4", python="APSCHEDULER_4")
async def apscheduler4(size: int) -> Sample:
    from apscheduler import AsyncScheduler
    from apscheduler.triggers.cron import CronTrigger

    async with AsyncScheduler() as s:
        await s.start_in_background()
        task = await s.configure_task("no-op", func=no_op)
        sample = await measure(
            size,
            lambda job_id, expression: s.add_schedule(
                task, CronTrigger.from_crontab(expression, timezone=UTC), id=job_id
            ),
        )
        assert len(await s.get_schedules()) == size
    return sample


@QUESTION.contestant("taskiq")
async def taskiq(size: int) -> Sample:
    """It stores the text, and reads it again in every minute."""
    from taskiq import ScheduledTask

    jobs = []

    async def add(job_id: str, expression: str) -> None:
        jobs.append(
            ScheduledTask(task_name="no-op", labels={}, args=[], kwargs={}, schedule_id=job_id, cron=expression)
        )

    sample = await measure(size, add)
    assert len(jobs) == size
    return sample


if __name__ == "__main__":
    QUESTION.main()
