"""
Schedulers that hold many jobs, none of which is due before tomorrow.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any


async def no_op() -> None:
    """What the jobs would do."""


def instants(start: int, stop: int) -> list[tuple[str, datetime]]:
    """Return ids and fire times, spread over a day, from tomorrow on."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    return [(f"far-{n}", tomorrow + timedelta(seconds=n * 7919 % 86_400)) for n in range(start, stop)]


@asynccontextmanager
async def crowded_chrono_async(size: int) -> AsyncIterator[Any]:
    from chrono_async import AsyncScheduler

    async with AsyncScheduler() as s:
        await add_to_chrono_async(s, 0, size)
        assert s.health().jobs == size
        yield s


async def add_to_chrono_async(s: Any, start: int, stop: int) -> None:
    for job_id, at in instants(start, stop):
        await s.add_one_shot_job(job_id, "No-op", no_op, at=at)


@asynccontextmanager
async def crowded_apscheduler3(size: int) -> AsyncIterator[Any]:
    from apscheduler.schedulers.asyncio import AsyncIOScheduler

    scheduler = AsyncIOScheduler(timezone=UTC)
    scheduler.start()
    add_to_apscheduler3(scheduler, 0, size)
    assert len(scheduler.get_jobs()) == size
    yield scheduler
    scheduler.shutdown()


def add_to_apscheduler3(scheduler: Any, start: int, stop: int) -> None:
    for job_id, at in instants(start, stop):
        scheduler.add_job(no_op, "date", run_date=at, id=job_id)


@asynccontextmanager
async def crowded_apscheduler4(size: int) -> AsyncIterator[Any]:
    from apscheduler import AsyncScheduler
    from apscheduler.triggers.date import DateTrigger

    async with AsyncScheduler() as s:
        task = await s.configure_task("no-op", func=no_op)
        for job_id, at in instants(0, size):
            await s.add_schedule(task, DateTrigger(at), id=job_id)
        await s.start_in_background()
        yield s
