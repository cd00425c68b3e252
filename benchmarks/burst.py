"""
How long does a burst take: N no-op jobs, due at one instant, until all have run and are settled?

Bare asyncio is, for each job, one `loop.call_at`, one task and one `asyncio.timeout`. The instant lies far enough ahead
for all to be registered by then. CPU seconds are counted from the instant, too: where they are fewer than the seconds,
somebody else had the processor.
"""

import asyncio
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from ._measure import Question, Sample, set_imports_aside

QUESTION = Question(
    "burst", __doc__, sizes=(1_000, 10_000, 50_000), compared=dict.fromkeys(("seconds", "CPU seconds"), "bare")
)
LEAD = 0.5
_TIMEOUT = 60.0
_PATIENCE = 300.0


class Burst:
    """The instant, the no-op that is to run `size` times, and the stopwatch."""

    def __init__(self, size: int, *, microseconds_to_add: float, on_the_second: bool = False) -> None:
        set_imports_aside()
        self.size = size
        self.at = datetime.now(UTC) + timedelta(seconds=LEAD, microseconds=size * microseconds_to_add)
        if on_the_second:
            self.at = self.at.replace(microsecond=0) + timedelta(seconds=1)
        self.ran = self.dropped = 0
        self._is_over = asyncio.Event()
        self._cpu_before = 0.0

    async def no_op(self) -> None:
        self.ran += 1
        self._look()

    def drop(self, _: object = None) -> None:
        self.dropped += 1
        self._look()

    def _look(self) -> None:
        if self.ran + self.dropped == self.size:
            self._is_over.set()

    async def run(self) -> None:
        """Wait for the instant, all being registered, and until every job has run."""
        if datetime.now(UTC) >= self.at:
            print("registering took too long: these figures are worthless", file=sys.stderr)
        await asyncio.sleep((self.at - datetime.now(UTC)).total_seconds() - 0.01)
        self._cpu_before = time.process_time()
        async with asyncio.timeout(_PATIENCE):
            await self._is_over.wait()

    def sample(self) -> Sample:
        seconds, cpu = time.time() - self.at.timestamp(), time.process_time() - self._cpu_before
        return {"seconds": seconds, "CPU seconds": cpu, "ran": self.ran, "dropped": self.dropped}


@QUESTION.contestant("bare")
async def bare(size: int) -> Sample:
    burst, loop = Burst(size, microseconds_to_add=10), asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    async def run() -> None:
        async with asyncio.timeout(_TIMEOUT):
            await burst.no_op()

    def start() -> None:
        task = loop.create_task(run())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    when = loop.time() + (burst.at - datetime.now(UTC)).total_seconds()
    for _ in range(size):
        loop.call_at(when, start)
    await burst.run()
    await asyncio.gather(*tasks)
    return burst.sample()


@QUESTION.contestant("chrono_async")
async def ours(size: int) -> Sample:
    return await _ours(size, timeout=None)


@QUESTION.contestant("chrono_async, with timeouts")
async def ours_with_timeouts(size: int) -> Sample:
    return await _ours(size, timeout=_TIMEOUT)


async def _ours(size: int, *, timeout: float | None) -> Sample:
    from chrono_async import AsyncScheduler, JobStatus

    burst = Burst(size, microseconds_to_add=350)
    async with AsyncScheduler() as s:
        for number in range(size):
            await s.add_one_shot_job(f"job-{number}", "No-op", burst.no_op, at=burst.at, timeout=timeout)
        await burst.run()
        await settled(s)
        sample = burst.sample()
        assert all(job.status is JobStatus.COMPLETED for job in await s.list_jobs())
    return sample


async def settled(s: Any) -> None:
    """Wait until nothing runs and every outcome is written."""
    while (health := s.health()).running or health.unsettled:  # noqa: ASYNC110  # a listener would cost, too
        await asyncio.sleep(0.0005)


@QUESTION.contestant("APScheduler 3")
async def apscheduler3(size: int) -> Sample:
    return await _apscheduler3(size, {"misfire_grace_time": None})


@QUESTION.contestant("APScheduler 3, default grace")
async def apscheduler3_with_default_grace(size: int) -> Sample:
    return await _apscheduler3(size, {})


async def _apscheduler3(size: int, options: dict[str, None]) -> Sample:
    import logging

    from apscheduler.events import EVENT_JOB_MISSED
    from apscheduler.schedulers.asyncio import AsyncIOScheduler

    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    burst, scheduler = Burst(size, microseconds_to_add=600), AsyncIOScheduler(timezone=UTC)
    scheduler.add_listener(burst.drop, EVENT_JOB_MISSED)
    scheduler.start()
    for number in range(size):
        scheduler.add_job(burst.no_op, "date", run_date=burst.at, id=f"job-{number}", **options)
    await burst.run()
    sample = burst.sample()
    scheduler.shutdown()
    return sample


@QUESTION.contestant("APScheduler 4", most=10_000, python="APSCHEDULER_4")
async def apscheduler4(size: int) -> Sample:
    from apscheduler import AsyncScheduler, JobReleased
    from apscheduler.triggers.date import DateTrigger

    burst, released, all_released = Burst(size, microseconds_to_add=1_000), 0, asyncio.Event()

    def count(_: JobReleased) -> None:
        nonlocal released
        released += 1
        if released == size:
            all_released.set()

    async with AsyncScheduler() as s:
        s.subscribe(count, JobReleased, is_async=False)
        task = await s.configure_task("no-op", func=burst.no_op, max_running_jobs=None)
        for number in range(size):
            await s.add_schedule(task, DateTrigger(burst.at), id=f"job-{number}")
        await s.start_in_background()
        await burst.run()
        await all_released.wait()
        return burst.sample()


@QUESTION.contestant("aiocron")
async def aiocron(size: int) -> Sample:
    """It has no one-shot jobs: these are cron jobs whose second comes once a day."""
    from aiocron import crontab

    burst = Burst(size, microseconds_to_add=200, on_the_second=True)
    second = f"{burst.at:%S %M %H} * * *"
    jobs = [crontab(second, burst.no_op, tz=UTC) for _ in range(size)]
    await asyncio.sleep(0.1)  # each starts itself on the next turn of the loop
    await burst.run()
    sample = burst.sample()
    for job in jobs:
        job.stop()
    return sample


@QUESTION.contestant("taskiq")
async def taskiq(size: int) -> Sample:
    """Its scheduler looks once a second, on the second, and hands what is due to the broker, here in memory."""
    from taskiq import InMemoryBroker, ScheduledTask, TaskiqScheduler
    from taskiq.cli.scheduler.run import SchedulerLoop
    from taskiq.schedule_sources import LabelScheduleSource

    burst, broker = Burst(size, microseconds_to_add=50, on_the_second=True), InMemoryBroker()

    @broker.task(task_name="no-op")
    async def no_op() -> None:
        await burst.no_op()

    source = LabelScheduleSource(broker)
    scheduler = TaskiqScheduler(broker, [source])
    await source.startup()
    for number in range(size):
        task = ScheduledTask(
            task_name="no-op", labels={}, args=[], kwargs={}, schedule_id=f"job-{number}", time=burst.at
        )
        source.schedules[task.schedule_id] = task
    looking = asyncio.create_task(SchedulerLoop(scheduler).run())
    await burst.run()
    await broker.wait_all()
    sample = burst.sample()
    looking.cancel()
    return sample


if __name__ == "__main__":
    QUESTION.main()
