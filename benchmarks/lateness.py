"""
How late does a job of every 100 ms start, and does it drift?

N ticks on a grid that begins at a known instant; a tick is late by what lies between its place on the grid and the
first line of the job. Drift is the median lateness of the last tenth of the ticks less that of the first tenth. Bare is
one `loop.call_at` a tick, one task and one `asyncio.timeout`.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from statistics import median, quantiles

from ._measure import Question, Sample

QUESTION = Question("lateness", __doc__, sizes=(100, 1_000), compared={"median ms": "bare"})
EVERY = 0.1
_EARLY = 0.005
"""What a tick may come too early, since bare timers go by another clock than ours."""


class Ticks:
    """The grid, and how late each of its ticks was."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.start = datetime.now(UTC) + timedelta(seconds=0.5)
        self.late: list[float] = []
        self.places: set[int] = set()
        self.is_over = asyncio.Event()

    async def tick(self) -> None:
        since = time.time() - self.start.timestamp() + _EARLY
        place, late = divmod(since, EVERY)
        self.places.add(int(place))
        self.late.append((late - _EARLY) * 1e3)
        if len(self.late) == self.count:
            self.is_over.set()

    def sample(self) -> Sample:
        late, tenth = self.late[: self.count], max(self.count // 10, 1)
        return {
            "median ms": median(late),
            "p99 ms": quantiles(late, n=100, method="inclusive")[98],
            "drift ms": median(late[-tenth:]) - median(late[:tenth]),
            "ticks": len(self.places),
            "missed": max(self.places) + 1 - len(self.places),
        }


@QUESTION.contestant("bare")
async def bare(size: int) -> Sample:
    loop, ticks, tasks = asyncio.get_running_loop(), Ticks(size), set[asyncio.Task[None]]()

    async def run() -> None:
        async with asyncio.timeout(60):
            await ticks.tick()

    def start(number: int) -> None:
        loop.call_at(first + (number + 1) * EVERY, start, number + 1)
        task = loop.create_task(run())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    first = loop.time() + (ticks.start - datetime.now(UTC)).total_seconds()
    loop.call_at(first, start, 0)
    await ticks.is_over.wait()
    return ticks.sample()


@QUESTION.contestant("chrono_async")
async def ours(size: int) -> Sample:
    from chrono_async import AsyncScheduler

    ticks = Ticks(size)
    async with AsyncScheduler() as s:
        await s.add_interval_job("tick", "Tick", ticks.tick, EVERY, start_at=ticks.start)
        await ticks.is_over.wait()
    return ticks.sample()


@QUESTION.contestant("APScheduler 3")
async def apscheduler3(size: int) -> Sample:
    from apscheduler.schedulers.asyncio import AsyncIOScheduler

    ticks, scheduler = Ticks(size), AsyncIOScheduler(timezone=UTC)
    scheduler.add_job(ticks.tick, "interval", seconds=EVERY, start_date=ticks.start)
    scheduler.start()
    await ticks.is_over.wait()
    scheduler.shutdown()
    return ticks.sample()


@QUESTION.contestant("APScheduler 4", python="APSCHEDULER_4")
async def apscheduler4(size: int) -> Sample:
    from apscheduler import AsyncScheduler
    from apscheduler.triggers.interval import IntervalTrigger

    ticks = Ticks(size)
    async with AsyncScheduler() as s:
        trigger = IntervalTrigger(microseconds=int(EVERY * 1e6), start_time=ticks.start)
        await s.add_schedule(ticks.tick, trigger, id="tick")
        await s.start_in_background()
        await ticks.is_over.wait()
        return ticks.sample()


if __name__ == "__main__":
    QUESTION.main()
