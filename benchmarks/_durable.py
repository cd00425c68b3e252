"""
What a burst costs when every claim and every outcome is kept by a storage that outlives the process.

Bare is the least that keeps the promise with the same driver: claim a hundred in one conditional write, run them as
tasks, write record and history row of all of them at once. Servers are the test suite's own; they do not wait for the
disk, for anybody. A SQLite file does.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from ._measure import Question, Sample, set_imports_aside
from .burst import Burst, settled

SIZES = (1_000, 10_000)
BATCH = 100
LEASE = timedelta(minutes=5)
_AT_ONCE = 50
_TO_ADD = 6_000.0
_QUIET = 1.0

End = tuple[str, datetime, datetime]
"""A job that has run, and from when to when."""


class Bare(NamedTuple):
    """The least that keeps the promise: what it does in one round trip each."""

    claim: Callable[[int], Awaitable[Sequence[str]]]
    settle: Callable[[Sequence[End]], Awaitable[Any]]
    close: Callable[[], Awaitable[Any]]


def question(name: str, storage: str) -> Question:
    """Return the question for one storage."""
    text = f"How long do N due jobs take on {storage}: claimed, run and settled, each outcome with a row of history?"
    return Question(name, text, sizes=SIZES, compared={"seconds": "bare", "us a job": "chrono_async"}, repeats=3)


def a_job(sample: Sample) -> Sample:
    """Say what a job took, too."""
    return {**sample, "us a job": sample["seconds"] / sample["ran"] * 1e6}


async def ours(size: int, storage: Any, at: datetime | None = None) -> Sample:
    """Let one scheduler run N one-shot jobs that are due at one instant; with `at`, as one of several."""
    from chrono_async import AsyncScheduler

    burst = Burst(size, microseconds_to_add=_TO_ADD)
    burst.at = at or burst.at
    async with AsyncScheduler(storage=storage) as s:
        for start in range(0, size, _AT_ONCE):
            numbers = range(start, min(start + _AT_ONCE, size))
            await asyncio.gather(*(_add(s, f"job-{number}", burst) for number in numbers))
        sample = await (_alone(s, burst) if at is None else _busy(s, burst))
    await storage.close()
    return sample


async def _add(s: Any, job_id: str, burst: Burst) -> None:
    await s.add_one_shot_job(job_id, "No-op", burst.no_op, at=burst.at)


async def _alone(s: Any, burst: Burst) -> Sample:
    """Work until all is settled; return what that took."""
    await burst.run()
    await settled(s)
    sample = a_job(burst.sample())
    assert sum(job.run_count for job in await s.list_jobs()) == burst.size
    return sample


async def _busy(s: Any, burst: Burst) -> Sample:
    """Work until there has been nothing to do for a while; return until when there was."""
    until = burst.at.timestamp()
    while time.time() < until + _QUIET:
        health = s.health()
        if health.running or health.unsettled:
            until = max(until, time.time())
        await asyncio.sleep(0.001)
    return {"ran": burst.ran, "until": until}


async def bare(size: int, loop: Bare, at: datetime | None = None) -> Sample:
    """Claim, run and settle until nothing is left; with `at`, from then on and as one of several."""
    ran = 0

    async def job() -> None:
        nonlocal ran
        ran += 1

    async def run(job_id: str) -> End:
        started = datetime.now(UTC)
        async with asyncio.timeout(60):
            await job()
        return job_id, started, datetime.now(UTC)

    if at is not None:
        await asyncio.sleep((at - datetime.now(UTC)).total_seconds())
    set_imports_aside()
    begun, cpu = time.perf_counter(), time.process_time()
    while job_ids := await loop.claim(BATCH):
        await loop.settle([await task for task in [asyncio.ensure_future(run(job_id)) for job_id in job_ids]])
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    until = time.time()
    await loop.close()
    if at is not None:
        return {"ran": ran, "until": until}
    assert ran == size
    return a_job({"seconds": seconds, "CPU seconds": cpu, "ran": ran, "dropped": 0})


def two_processes(module: str, who: str, size: int, address: str) -> Sample:
    """Let two processes share the work; return what they took together."""
    at = datetime.now(UTC) + timedelta(seconds=4, microseconds=2 * size * _TO_ADD)
    command = [sys.executable, "-m", f"benchmarks.{module}", who, address, at.isoformat(), str(size)]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [json.loads(worker.communicate()[0].splitlines()[-1]) for worker in workers]
    ran = sum(answer["ran"] for answer in answers)
    assert ran == size, f"{ran} runs of {size} jobs"
    seconds = max(answer["until"] for answer in answers) - at.timestamp()
    return a_job({"seconds": seconds, "CPU seconds": 0, "ran": ran, "dropped": 0})


def work(connect: Callable[[str], Awaitable[Bare]], storage_at: Callable[[str], Any]) -> None:
    """Be one of the two processes, as the command line says."""
    who, address, at, size = sys.argv[1], sys.argv[2], datetime.fromisoformat(sys.argv[3]), int(sys.argv[4])

    async def main() -> Sample:
        if who == "bare":
            return await bare(size, await connect(address), at)
        return await ours(size, storage_at(address), at)

    print(json.dumps(asyncio.run(main())))


async def apscheduler3(size: int, store: Any) -> Sample:
    """Its default thread of one loop; a job's next run is written when it is started, a one-shot is deleted then."""
    import logging

    from apscheduler.schedulers.asyncio import AsyncIOScheduler

    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    global _burst  # noqa: PLW0603 - its stores keep a function by its name
    _burst = Burst(size, microseconds_to_add=10_000)
    scheduler = AsyncIOScheduler(timezone=UTC, jobstores={"default": store})
    scheduler.start(paused=True)
    for number in range(size):
        scheduler.add_job(_no_op, "date", run_date=_burst.at, id=f"job-{number}", misfire_grace_time=None)
    scheduler.resume()
    await _burst.run()
    sample = a_job(_burst.sample())
    scheduler.shutdown()
    return sample


_burst: Burst


async def _no_op() -> None:
    await _burst.no_op()
