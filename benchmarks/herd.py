"""
How late do N jobs run that are due at one instant, shared by several instances on one PostgreSQL?

Late is what lies between the fire time and the first line of the body. Each instance is a process and knows every job;
the least share is the percentage of all runs that fell to the instance with the fewest. A run is lost whose lease ended
or whose outcome was refused; a job is missed that never ran, and miscounted if its stored count of runs is not the
number of bodies that began. Bare are as many of the loops that the durable benchmarks measure: they claim, run and
settle a hundred at a time.
"""

import asyncio
import json
import logging
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from statistics import median, quantiles
from typing import Any, TypedDict

import asyncpg

from tests import servers

from ._durable import Bare, End, bare
from ._measure import Question, Sample
from .durable_postgres import connected, filled, storage_at

INSTANCES = {1: "one process", 2: "two processes", 4: "four processes"}
QUESTION = Question(
    "herd",
    __doc__,
    sizes=(1_000, 3_000, 10_000),
    compared=dict.fromkeys(("median ms", "p99 ms", "latest ms"), "bare"),
    repeats=3,
)
_LEAD = 2.0
_TO_ADD = 2_500
"""Microseconds to register a job, or to join one, while the other instances do so, too."""
_MOST_BUSY = 4.0
"""How much longer that may take at the most, on a machine with other things to do."""
_AT_ONCE = 50
_PATIENCE = 300.0
_LOOK_AGAIN = 0.1


class Account(TypedDict):
    """What an instance tells: when it was ready, which jobs it began when, and how many leases it lost."""

    ready: float
    begun: list[tuple[str, float]]
    lost: int


# ── all together ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def bare_loops(size: int, *, instances: int) -> Sample:
    dsn = await filled(size)
    at, accounts = _shared("bare", instances, size, dsn, microseconds_to_add=0)
    connection = await asyncpg.connect(dsn)
    counts = dict(await connection.fetch("SELECT id, runs FROM jobs"))
    await connection.close()
    return _sample(at, accounts, counts)


async def ours(size: int, *, instances: int) -> Sample:
    dsn = servers.postgres().dsn
    storage = storage_at(dsn)
    await storage.erase()  # what was here before would be counted
    at, accounts = _shared("ours", instances, size, dsn, microseconds_to_add=instances * _TO_ADD)
    counts = {job.id: job.run_count for job in await storage.list_jobs()}
    await storage.erase()
    await storage.close()
    return _sample(at, accounts, counts)


for _number, _processes in INSTANCES.items():
    _base = f"bare, {_processes}"
    QUESTION.contestant(_base, against=_base)(partial(bare_loops, instances=_number))
    QUESTION.contestant(f"chrono_async, {_processes}", against=_base)(partial(ours, instances=_number))


def _shared(
    who: str, instances: int, size: int, dsn: str, *, microseconds_to_add: int
) -> tuple[datetime, list[Account]]:
    """Let so many processes share the jobs; return when these were due, and what each process tells."""
    command = [sys.executable, "-m", "benchmarks.herd", who, dsn, str(size)]
    pipe = subprocess.PIPE
    workers = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(instances)]
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()  # it has imported all that it needs
    busy = min(max(os.getloadavg()[0] / (os.cpu_count() or 1), 1), _MOST_BUSY)
    at = datetime.now(UTC) + timedelta(seconds=_LEAD, microseconds=size * microseconds_to_add * busy)
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write(f"{at.isoformat()}\n")
        worker.stdin.flush()
    return at, [json.loads(worker.communicate()[0].splitlines()[-1]) for worker in workers]


def _sample(at: datetime, accounts: Sequence[Account], counts: Mapping[str, int]) -> Sample:
    """Put together what all tell, and hold it against what is stored."""
    if max(account["ready"] for account in accounts) > at.timestamp():
        print("registering took too long: these figures are worthless", file=sys.stderr)
    late = [(when - at.timestamp()) * 1e3 for account in accounts for _, when in account["begun"]]
    bodies = Counter(job_id for account in accounts for job_id, _ in account["begun"])
    return {
        "median ms": median(late),
        "p99 ms": quantiles(late, n=100, method="inclusive")[98],
        "latest ms": max(late),
        "least share %": min(len(account["begun"]) for account in accounts) / len(late) * 100,
        "lost": sum(account["lost"] for account in accounts),
        "missed": len(counts) - len(bodies),
        "twice": len(late) - len(bodies),
        "miscounted": sum(count != bodies[job_id] for job_id, count in counts.items()),
    }


# ── each instance ────────────────────────────────────────────────────────────────────────────────────────────────────


async def _bare_instance(dsn: str, size: int, at: datetime) -> Account:
    """Be one bare loop; the time at which each job began is what it settles."""
    loop, begun = await connected(dsn), list[tuple[str, float]]()

    async def settle(ends: Sequence[End]) -> None:
        begun.extend((job_id, started.timestamp()) for job_id, started, _ in ends)
        await loop.settle(ends)

    ready = time.time()
    await bare(size, Bare(loop.claim, settle, loop.close), at)
    return {"ready": ready, "begun": begun, "lost": 0}


async def _our_instance(dsn: str, size: int, at: datetime) -> Account:
    """Be one scheduler that knows all of the jobs."""
    from chrono_async import AsyncScheduler
    from chrono_async.events import LeaseLost

    storage, begun, lost = storage_at(dsn), list[tuple[str, float]](), list[LeaseLost]()

    async def run(job_id: str) -> None:
        begun.append((job_id, time.time()))

    async def add(number: int) -> None:
        await s.add_one_shot_job(f"job-{number}", "No-op", run, at=at, args=(f"job-{number}",))

    async with AsyncScheduler(storage=storage) as s:
        s.subscribe(lost.append, LeaseLost)
        for start in range(0, size, _AT_ONCE):
            await asyncio.gather(*map(add, range(start, min(start + _AT_ONCE, size))))
        ready = time.time()
        await asyncio.sleep(at.timestamp() - ready)
        async with asyncio.timeout(_PATIENCE):
            await _work_is_over(s, storage)
    await storage.close()
    return {"ready": ready, "begun": begun, "lost": len(lost)}


async def _work_is_over(s: Any, storage: Any) -> None:
    """Wait until nothing runs here, and nothing is left that anybody could claim."""
    while True:
        await asyncio.sleep(_LOOK_AGAIN)
        health, now = s.health(), datetime.now(UTC)
        if not health.running and not health.unsettled and not (await storage.due(now, now, limit=1)).due:
            return


def _work() -> None:
    """Be one of the instances, as the command line says; the fire time is told when all are there."""
    who, dsn, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
    import chrono_async.storage.postgres  # noqa: F401 - it takes a while

    logging.getLogger("chrono_async").setLevel(logging.ERROR)  # others' jobs are due before they are registered here
    print("ready", flush=True)
    at = datetime.fromisoformat(sys.stdin.readline().strip())
    print(json.dumps(asyncio.run((_bare_instance if who == "bare" else _our_instance)(dsn, size, at))))


if __name__ == "__main__":
    if sys.argv[1:2] in (["bare"], ["ours"]):
        _work()
    else:
        QUESTION.main()
