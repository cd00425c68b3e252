"""
A worker of the cluster: a process with a scheduler on the storage that all of them share.
"""

import asyncio
import os
import sys
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

from chrono_async import AsyncScheduler, JobInfo, JobOptions, Misfire, Overlap, storage
from chrono_async.events import LeaseLost

from ._demo_worker import Log, work

LEASE = 2
"""Seconds after which the run of a process that is not heard of is taken over."""
LONG = 1.2
"""Seconds that a long run takes: enough for something to happen meanwhile."""
URL, NAMESPACE = "CHRONO_ASYNC_DEMO_URL", "CHRONO_ASYNC_DEMO_NAMESPACE"
"""Where a worker's environment says which storage it is: a URL with a password must not be seen by others."""

_HISTORY = 10_000
"""Rows kept of each job: all of them, since they are what is counted."""


class Work(NamedTuple):
    """A job of the cluster, in seconds."""

    job_id: str
    every: float
    takes: float


JOBS = (
    Work("heartbeat", 1, 0.02),
    Work("sync", 1, 0.1),
    Work("mail", 2, 0.3),
    Work("report", 3, LONG),
    Work("export", 3, LONG),
    Work("backup", 3, LONG),
)


def make_scheduler(url: str, namespace: str | None, instance_id: str) -> tuple[AsyncScheduler, storage.LeasingStorage]:
    """Make a scheduler, and the storage that it must let go of at the end."""
    shared = storage.open_storage(url, namespace=namespace, history=_HISTORY)
    return AsyncScheduler(storage=shared, instance_id=instance_id, lock_ttl=LEASE, storage_poll_interval=0.5), shared


async def add_jobs(s: AsyncScheduler, log: Log, start_at: datetime | None = None) -> list[JobInfo]:
    """Add the jobs; who comes first creates them, the others join."""
    options: JobOptions = {"misfire": Misfire.FIRE_ALL, "overlap": Overlap.QUEUE, "start_at": start_at}
    return [
        await s.add_interval_job(job.job_id, job.job_id.title(), partial(work, log, job.takes), job.every, **options)
        for job in JOBS
    ]


async def main(folder: Path, name: str) -> None:
    """Work until SIGTERM."""
    log = Log(folder / "runs.jsonl")
    s, shared = make_scheduler(os.environ[URL], os.environ[NAMESPACE] or None, f"{name}-{os.getpid()}")
    s.subscribe(log.note_lost, LeaseLost)
    try:
        await add_jobs(s, log)
        await s.run_forever()
    finally:
        await shared.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
