"""Jobs declared where their functions are written: `python examples/decorators.py`."""

import asyncio
import random
from datetime import timedelta

from chrono_async import AsyncScheduler, JobResult, Misfire, Overlap, Retry

s = AsyncScheduler(timezone="Europe/London")


async def tell(result: JobResult) -> None:
    print(f"{result.job_id} {result.status} after {result.retry_count} retries")


@s.cron("0 8 * * 1-5", timeout=timedelta(minutes=5), max_retries=2, on_result=tell)
async def report() -> None:
    """On weekdays at eight, London time."""


@s.interval(timedelta(minutes=1), max_retries=Retry(max_retries=5, delay=1, on=(ConnectionError,)), on_result=tell)
async def fetch() -> None:
    """Every minute. A lost connection is tried again, after up to 1, 2, 4 ... seconds."""
    if random.random() < 0.5:
        raise ConnectionError("the other side has hung up")


@s.interval(30, overlap=Overlap.QUEUE, misfire=Misfire.SKIP)
def compress() -> None:
    """A plain function: it runs in a worker thread and never blocks the loop."""


@s.one_shot(5)
async def warm_up() -> None:
    """Once, five seconds after the start."""
    print("warmed up")


if __name__ == "__main__":
    asyncio.run(s.run_forever())
