"""
A worker of the demonstration: a process with a scheduler, several of which share a storage.

Whatever a job does is first noted in a file, in one append of one line, so that no kill can hide a run.
"""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path

from chrono_async import AsyncScheduler, JobInfo, JobOptions, Misfire, Overlap, current_run, storage
from chrono_async.events import LeaseLost

LEASE = 2
"""Seconds after which a killed worker's run is taken over."""
REPORT_TAKES = 1.0
"""Seconds; long enough to be killed meanwhile."""


class Log:
    """The file that all workers append to."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note that a try begins, and how it ends."""
        self._write(ended=False)
        try:
            yield
        except BaseException as error:
            self._write(ended=True, error=type(error).__name__)
            raise
        self._write(ended=True)

    def note_lost(self, event: LeaseLost) -> None:
        """Note that the result of a run here does not count: another process has taken it over."""
        self._append({"job": event.job_id, "fire_time": event.fire_time.isoformat(), "lost": True})

    def _write(self, *, ended: bool, error: str = "") -> None:
        run = current_run()
        fire_time = run.fire_time.isoformat()
        self._append(
            {"job": run.job_id, "fire_time": fire_time, "attempt": run.attempt, "ended": ended, "error": error}
        )

    def _append(self, line: dict[str, object]) -> None:
        os.write(self._file, json.dumps(line | {"pid": os.getpid()}).encode() + b"\n")


async def work(log: Log, seconds: float) -> None:
    """Take some time."""
    with log.noted():
        await asyncio.sleep(seconds)


async def fail_at_first(log: Log, failed: set[str]) -> None:
    """Fail in the first try of each occurrence."""
    with log.noted():
        run_id = current_run().run_id
        if run_id not in failed:
            failed.add(run_id)
            raise ConnectionError("the other side has hung up")


def make_scheduler(folder: Path, instance_id: str) -> AsyncScheduler:
    """Make a scheduler on the storage that all of them share."""
    shared = storage.FileStorage(folder / "jobs.yaml")
    return AsyncScheduler(storage=shared, instance_id=instance_id, lock_ttl=LEASE, storage_poll_interval=0.5)


async def add_jobs(s: AsyncScheduler, folder: Path, start_at: datetime | None = None) -> list[JobInfo]:
    """Add the jobs; who comes first creates them, the others join."""
    log = Log(folder / "runs.jsonl")
    options: JobOptions = {"misfire": Misfire.FIRE_ALL, "overlap": Overlap.QUEUE, "start_at": start_at}
    brief, flaky, report = (
        partial(work, log, 0.05),
        partial(fail_at_first, log, set()),
        partial(work, log, REPORT_TAKES),
    )
    return [
        await s.add_interval_job("heartbeat", "Heartbeat", brief, 1, **options),
        await s.add_cron_job("sync", "Sync", brief, "*/2 * * * * *", dialect="extended", **options),
        await s.add_one_shot_job("welcome", "Welcome", brief, 4),
        await s.add_interval_job("flaky", "Fails at first", flaky, 3, **options | {"max_retries": 1}),
        await s.add_interval_job("stuck", "Never ends", partial(work, log, 3600), 4, **options | {"timeout": 0.2}),
        await s.add_interval_job("digest", "Digest", brief, 1, **options),
        await s.add_interval_job("report", "Report", report, 5, **options),
    ]


async def main(folder: Path, name: str) -> None:
    """Work until SIGTERM."""
    s = make_scheduler(folder, f"{name}-{os.getpid()}")
    await add_jobs(s, folder)
    await s.run_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
