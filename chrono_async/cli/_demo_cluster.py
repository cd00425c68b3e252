"""
The play of `demo --cluster`: four worker processes on one storage, and what befalls them.

One is killed with `kill -9` in the middle of a run, one is frozen for longer than its lease and goes on, one is asked
to end and drains; new ones take their places. Who it is depends on who runs what when the time comes: nothing is
arranged, and what came of it is counted afterwards.
"""

import asyncio
import os
import signal
import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable
from urllib.parse import quote

from rich import box
from rich.table import Table

from chrono_async import InvalidOptionError, JobInfo
from chrono_async.storage import FileStorage, InMemoryStorage, open_storage

from ._demo_cluster_figures import ClusterFigures, count_cluster
from ._demo_cluster_worker import JOBS, LEASE, LONG, NAMESPACE, URL, add_jobs, make_scheduler
from ._demo_figures import LoggedRun
from ._demo_stage import PATIENCE, Stage, freeze, until, until_done, within
from ._demo_worker import Log

_LONG_JOBS = {job.job_id for job in JOBS if job.takes == LONG}
_HEAD_START = timedelta(seconds=3)
"""For the processes to come up."""
_MOST_IN_A_FILE = 300
"""Seconds: a file keeps the latest 2,000 runs, and they are what is counted."""


class Terms(NamedTuple):
    """Where, and for how long."""

    storage: str | None
    """A URL; None for a SQLite file of its own."""
    seconds: float


@runtime_checkable
class Erasable(Protocol):
    """A storage whose namespace can be removed whole."""

    async def erase(self) -> None:
        """Remove all jobs, and what they are kept in."""


class Cluster:
    """What happens, from the first worker's start to the last one's end."""

    def __init__(self, folder: Path, terms: Terms, say: Callable[..., None]) -> None:
        self._seconds = terms.seconds
        self._is_own_file = terms.storage is None
        url = terms.storage or f"sqlite:{quote(str(folder / 'jobs.db'))}"
        namespace = _namespace_in(url, terms)
        # The desk is never started: it only asks.
        self._desk, self._storage = make_scheduler(url, namespace or None, f"desk-{os.getpid()}")
        self._log = Log(folder / "runs.jsonl")
        self._stage = Stage(folder, "_demo_cluster_worker", say, settings={URL: url, NAMESPACE: namespace})
        self._place = f"the SQLite file {folder / 'jobs.db'}" if self._is_own_file else f"the namespace {namespace}"
        if isinstance(self._storage, FileStorage):
            self._place = f"the file {self._storage.path}"
        self._befallen: set[int] = set()
        self.is_played_out: bool = False
        """Whether all that was to befall the workers has."""

    async def run(self) -> list[ClusterFigures]:
        """Play it, and count; a namespace in a user's database is removed at the end, a file of its own stays."""
        try:
            return await self._play()
        finally:
            await self._stage.stop_workers()
            if not self._is_own_file and isinstance(self._storage, Erasable):
                await self._storage.erase()
            await self._storage.close()

    async def _play(self) -> list[ClusterFigures]:
        stage = self._stage
        start = stage.clock.now().replace(microsecond=0) + _HEAD_START
        first = await add_jobs(self._desk, self._log, start)
        for number in "abcd":
            await stage.start_worker(f"worker-{number}")
        await stage.sleep_until(start)
        stage.say(f"{len(first)} jobs run in four processes, which share {self._place}")
        end = start + timedelta(seconds=self._seconds)
        self.is_played_out = await within(self._seconds + PATIENCE, self._story(start, end))
        await within(PATIENCE, until_done(self._desk, end))
        await stage.stop_workers()
        return await self._count(first, end)

    async def _story(self, start: datetime, end: datetime) -> None:
        """Let it all happen in good time, so that each job has had some peace before and after."""
        async with asyncio.TaskGroup() as story:
            for scene, at in ((self._kill, 0.1), (self._freeze, 0.2), (self._drain, 0.4)):
                story.create_task(self._play_at(start + timedelta(seconds=at * self._seconds), scene))
            story.create_task(self._stage.sleep_until(end))

    async def _play_at(self, moment: datetime, scene: Callable[[], Awaitable[None]]) -> None:
        await self._stage.sleep_until(moment)
        await scene()

    # ── what befalls them ────────────────────────────────────────────────────────────────────────────────────────────

    async def _kill(self) -> None:
        stage, run = self._stage, await self._somebody_in_the_middle_of_a_run()
        os.kill(run.pid, signal.SIGKILL)
        stage.say(f"{stage.name_of(run.pid)} killed with -9 in the middle of {_name(run)}")
        await stage.start_worker("worker-e")
        await self._taken_over(run)

    async def _freeze(self) -> None:
        stage, run = self._stage, await self._somebody_frozen_in_the_middle_of_a_run()
        name = stage.name_of(run.pid)
        stage.say(f"{name} frozen in the middle of {_name(run)}")
        await self._taken_over(run)
        os.kill(run.pid, signal.SIGCONT)
        stage.say(f"{name} goes on, as if nothing had happened")
        await until(lambda: any(logged.is_lost and _is_same(logged, run) for logged in stage.logged()))
        stage.say(f"the result of {name} for {_name(run)} was refused")

    async def _drain(self) -> None:
        stage, run = self._stage, await self._somebody_in_the_middle_of_a_run()
        name = stage.name_of(run.pid)
        os.kill(run.pid, signal.SIGTERM)
        stage.say(f"{name} asked to end in the middle of {_name(run)}")
        await stage.start_worker("worker-f")
        code = await stage.ended(run.pid)
        stage.say(f"{name} let its runs finish, and ended with exit code {code}")

    async def _somebody_frozen_in_the_middle_of_a_run(self) -> LoggedRun:
        while True:
            run = await self._somebody_in_the_middle_of_a_run()
            a_write = self._storage.release_lock("nobody", "nobody")
            if await freeze(run.pid, a_write, patience=LEASE / 2):
                return run
            self._befallen.remove(run.pid)

    async def _somebody_in_the_middle_of_a_run(self) -> LoggedRun:
        """Wait for a process that nothing has befallen yet, in the middle of a long run."""
        run = await self._stage.in_the_middle_of(
            lambda run: run.job_id in _LONG_JOBS and run.pid not in self._befallen, LONG
        )
        if run.pid in self._befallen:  # by another scene, a moment ago
            return await self._somebody_in_the_middle_of_a_run()
        self._befallen.add(run.pid)
        return run

    async def _taken_over(self, run: LoggedRun) -> None:
        later: list[LoggedRun] = []

        def is_so() -> bool:
            later.extend(other for other in self._stage.logged() if _is_later_attempt(other, run))
            return bool(later)

        await until(is_so)
        self._stage.say(f"{self._stage.name_of(later[0].pid)} took {_name(run)} over: its lease of {LEASE} s had ended")

    async def _count(self, first: list[JobInfo], end: datetime) -> list[ClusterFigures]:
        logged = self._stage.logged()
        last = {job.id: job for job in await self._desk.list_jobs()}
        rows = [row for job in first for row in await self._desk.list_runs(job.id, limit=100_000)]
        return [count_cluster(job, last[job.id], logged, rows, end=end) for job in first]


def _namespace_in(url: str, terms: Terms) -> str:
    """Return the name of a new namespace; an empty one where the play has a new file to itself."""
    storage = open_storage(url)
    if isinstance(storage, InMemoryStorage):
        raise InvalidOptionError(
            "--storage", url, "is one process's own; a file, a SQLite file or a server is for several"
        )
    if not isinstance(storage, FileStorage):
        return f"chrono_demo_{uuid.uuid4().hex[:8]}"
    if storage.path.exists():
        raise InvalidOptionError("--storage", url, "is there already, and a file has no namespaces: name a new one")
    if terms.seconds > _MOST_IN_A_FILE:
        raise InvalidOptionError("--seconds", terms.seconds, f"must be at most {_MOST_IN_A_FILE} in a file")
    return ""


def _name(run: LoggedRun) -> str:
    return f"'{run.job_id}' of {run.fire_time:%H:%M:%S}"


def _is_same(one: LoggedRun, other: LoggedRun) -> bool:
    return (one.job_id, one.fire_time, one.pid) == (other.job_id, other.fire_time, other.pid)


def _is_later_attempt(other: LoggedRun, run: LoggedRun) -> bool:
    return (other.job_id, other.fire_time) == (run.job_id, run.fire_time) and other.attempt > run.attempt


def table_of_cluster(figures: list[ClusterFigures]) -> Table:
    """Return the figures as a table."""
    table = Table("job", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in ("due", "ran", "taken over", "refused (stale)", "duplicates", "missed"):
        table.add_column(heading, justify="right")
    for job in figures:
        numbers = (job.due, job.ran, job.taken_over, job.refused, job.duplicates, job.missed)
        table.add_row(job.job, *map(str, numbers), style=None if job.ok else "red")
    return table


def remarks_on_cluster(figures: list[ClusterFigures], *, is_played_out: bool) -> list[str]:
    """Return a sentence for each thing that the table's columns do not show."""
    return [
        *(() if is_played_out else ("not all that was to happen came to pass in time",)),
        "taken over: begun by a process that was killed or frozen, finished by another",
        "refused: the result of a run whose lease had passed to another process",
        *(f"{job.job}: {job.skipped} fire times overlapped a run, and were skipped" for job in figures if job.skipped),
        *(f"{job.job}: counter, history and log do not agree" for job in figures if not job.is_counted_alike),
    ]
