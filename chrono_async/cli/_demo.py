"""
The command `demo`: two worker processes on one state file, some seconds of real time, and what went wrong on purpose.

A job fails and is retried, one never ends and is timed out, one is paused and resumed, and a worker is killed with
`kill -9` in the middle of a run. What came of it is counted, not told; a missed or repeated run makes the exit code 1.
With `--cluster` it is another play: see `_demo_cluster`.
"""

import asyncio
import json
import os
import signal
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, NamedTuple, Protocol

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from chrono_async import JobInfo, JobStatus

from ._demo_cluster import Cluster, Terms, remarks_on_cluster, table_of_cluster
from ._demo_figures import Figures, Pause, count
from ._demo_stage import PATIENCE, Stage, until, until_done, within
from ._demo_worker import LEASE, REPORT_TAKES, add_jobs, make_scheduler
from ._storages import failure_in_one_line

_SECONDS = 7.5
"""How long the jobs run."""

AsJson = Annotated[bool, typer.Option("--json", help="Print the figures as JSON, and nothing else.")]
AsCluster = Annotated[bool, typer.Option("--cluster", help="Four processes: kill one, freeze one, drain one.")]
StorageUrl = Annotated[
    str | None,
    typer.Option("--storage", metavar="URL", help="With --cluster: a storage of yours, or a new file."),
]
Seconds = Annotated[float, typer.Option(min=5, max=3600, help="With --cluster: how long the jobs run.")]


def demo(
    as_json: AsJson = False,  # noqa: FBT002  # a flag of the command line
    cluster: AsCluster = False,  # noqa: FBT002  # a flag of the command line
    storage: StorageUrl = None,
    seconds: Seconds = 20,
) -> None:
    """Run jobs in several processes for some seconds, kill one of them, and count what ran."""
    console = Console(quiet=as_json)
    if storage is not None and not cluster:
        raise typer.BadParameter("is for --cluster", param_hint="--storage")
    with tempfile.TemporaryDirectory(prefix="chrono-async-demo-") as folder, failure_in_one_line():
        if cluster:
            told = _cluster(Path(folder), Terms(storage, seconds), console.print)
        else:
            told = _two_processes(Path(folder), console.print)
        if not told.is_ok:
            typer.echo("".join(log.read_text() for log in Path(folder).glob("worker-*.log")), err=True)
    if as_json:
        typer.echo(json.dumps({"ok": told.is_ok, "jobs": [job.as_dict() for job in told.figures]}, indent=2))
    print_told(console, told)
    raise typer.Exit(0 if told.is_ok else 1)


class Counted(Protocol):
    """A job's line of figures, whatever they are."""

    @property
    def ok(self) -> bool:
        """Whether each due time ran, once."""

    def as_dict(self) -> dict[str, object]:
        """Return what JSON can hold."""


class Told(NamedTuple):
    """What a play came to."""

    figures: Sequence[Counted]
    table: Table
    remarks: list[str]

    @property
    def is_ok(self) -> bool:
        """Whether all is as it should be."""
        return all(job.ok for job in self.figures)


def print_told(console: Console, told: Told) -> None:
    """Print the table, the remarks and the verdict."""
    console.print()
    console.print(told.table)
    console.print()
    for sentence in told.remarks:
        console.print(f"  {sentence}", highlight=False)
    verdict = "Every due time ran once." if told.is_ok else "That is not as it should be: see the figures."
    console.print(verdict, style="bold green" if told.is_ok else "bold red", highlight=False)


def _cluster(folder: Path, terms: Terms, say: Callable[..., None]) -> Told:
    cluster = Cluster(folder, terms, say)
    figures = asyncio.run(cluster.run())
    return Told(figures, table_of_cluster(figures), remarks_on_cluster(figures, is_played_out=cluster.is_played_out))


def _two_processes(folder: Path, say: Callable[..., None]) -> Told:
    figures = asyncio.run(Demo(folder, say).run())
    return Told(figures, table_of(figures), remarks_on(figures))


class Demo:
    """What happens, from the first worker's start to the last one's end."""

    def __init__(self, folder: Path, say: Callable[..., None]) -> None:
        self._folder = folder
        self._stage = Stage(folder, "_demo_worker", say)
        self._pauses: list[Pause] = []
        self._desk = make_scheduler(folder, f"desk-{os.getpid()}")  # never started: it only asks and tells

    async def run(self) -> list[Figures]:
        """Play it, and count."""
        stage = self._stage
        start = stage.clock.now().replace(microsecond=0) + timedelta(seconds=2)
        first = await add_jobs(self._desk, self._folder, start)
        try:
            for name in ("worker-a", "worker-b"):
                await stage.start_worker(name)
            await stage.sleep_until(start)
            stage.say(f"{len(first)} jobs run in two processes, which share {self._folder / 'jobs.yaml'}")
            end = start + timedelta(seconds=_SECONDS)
            await within(_SECONDS + PATIENCE, self._story(start, end))
            await within(PATIENCE, until_done(self._desk, end))
        finally:
            await stage.stop_workers()
        return await self._count(first, end)

    async def _story(self, start: datetime, end: datetime) -> None:
        async with asyncio.TaskGroup() as story:
            story.create_task(self._kill_and_restart())
            story.create_task(self._pause_and_resume(start))
            story.create_task(self._stage.sleep_until(end))

    async def _kill_and_restart(self) -> None:
        stage = self._stage
        run = await stage.in_the_middle_of(lambda run: run.job_id == "report", REPORT_TAKES)
        os.kill(run.pid, signal.SIGKILL)
        stage.say(f"process {run.pid} killed with -9 while it ran 'report' of {run.fire_time:%H:%M:%S}")
        await asyncio.sleep(REPORT_TAKES)
        await stage.start_worker("worker-c")
        await until(lambda: any(run.job_id == "report" and run.attempt > 1 for run in stage.logged()))
        stage.say(f"another process took that run over, once the lease of {LEASE} s had ended")

    async def _pause_and_resume(self, start: datetime) -> None:
        await self._stage.sleep_until(start + timedelta(seconds=2.5))
        paused = await self._desk.pause_job("digest")
        self._stage.say("'digest' paused")
        while paused.status is JobStatus.RUNNING:  # a run that is going moves the pointer yet
            await asyncio.sleep(0.05)
            paused = await self._desk.get_job("digest")
        await asyncio.sleep(2)
        resumed = await self._desk.resume_job("digest")
        self._stage.say("'digest' resumed")
        if paused.next_run and resumed.next_run:
            self._pauses.append(Pause("digest", paused.next_run, resumed.next_run))

    async def _count(self, first: list[JobInfo], end: datetime) -> list[Figures]:
        logged, rows = self._stage.logged(), await self._desk.list_runs(limit=1000)
        last = {job.id: job for job in await self._desk.list_jobs()}
        return [count(job, last[job.id], logged, rows, pauses=self._pauses, end=end) for job in first]


def table_of(figures: list[Figures]) -> Table:
    """Return the figures as a table."""
    table = Table("job", "schedule", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in ("due", "ran", "failed", "missed", "duplicates", "next run"):
        table.add_column(heading, justify="right")
    for job in figures:
        numbers = (str(number) for number in (job.due, job.ran, job.failed, job.missed, job.duplicates))
        next_run = "-" if job.next_run is None else f"{job.next_run:%H:%M:%S}"
        table.add_row(job.job, job.schedule, *numbers, next_run, style=None if job.ok else "red")
    return table


def remarks_on(figures: list[Figures]) -> list[str]:
    """Return a sentence for each thing that the table's columns do not show."""
    return [
        *(f"{job.job}: {job.retried} failed tries, retried" for job in figures if job.retried),
        *(f"{job.job}: {job.timed_out} runs ended by their timeout" for job in figures if job.timed_out),
        *(
            f"{job.job}: {job.taken_over} run of the killed process, taken over as attempt 2"
            for job in figures
            if job.taken_over
        ),
        *(f"{job.job}: the storage has counted another number of runs" for job in figures if not job.is_counted_alike),
    ]
