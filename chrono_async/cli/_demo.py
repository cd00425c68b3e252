"""
The command `demo`: two worker processes on one state file, some seconds of real time, and what went wrong on purpose.

A job fails and is retried, one never ends and is timed out, one is paused and resumed, and a worker is killed with
`kill -9` in the middle of a run. What came of it is counted, not told; a missed or repeated run makes the exit code 1.
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from chrono_async import JobInfo, JobStatus, SystemClock

from ._demo_figures import Figures, LoggedRun, Pause, count, read_log
from ._demo_worker import LEASE, REPORT_TAKES, add_jobs, make_scheduler

_SECONDS = 7.5
"""How long the jobs run."""
_PATIENCE = 20.0
"""Seconds that a slow machine gets on top, for whatever is waited for."""

AsJson = Annotated[bool, typer.Option("--json", help="Print the figures as JSON, and nothing else.")]


def demo(as_json: AsJson = False) -> None:  # noqa: FBT002  # a flag of the command line
    """Run jobs in two processes for about ten seconds, kill one of them, and count what ran."""
    console = Console(quiet=as_json)
    with tempfile.TemporaryDirectory(prefix="chrono-async-demo-") as folder:
        figures = asyncio.run(Demo(Path(folder), console.print).run())
        is_ok = all(job.ok for job in figures)
        if not is_ok:
            typer.echo("".join(log.read_text() for log in Path(folder).glob("worker-*.log")), err=True)
    if as_json:
        typer.echo(json.dumps({"ok": is_ok, "jobs": [job.as_dict() for job in figures]}, indent=2))
    console.print()
    console.print(table_of(figures))
    console.print()
    for sentence in remarks_on(figures):
        console.print(f"  {sentence}", highlight=False)
    verdict = "Every due time ran once." if is_ok else "That is not as it should be: see the figures."
    console.print(verdict, style="bold green" if is_ok else "bold red", highlight=False)
    raise typer.Exit(0 if is_ok else 1)


class Demo:
    """What happens, from the first worker's start to the last one's end."""

    def __init__(self, folder: Path, say: Callable[..., None]) -> None:
        self._folder, self._print = folder, say
        self._clock = SystemClock()
        self._workers: list[Process] = []
        self._pauses: list[Pause] = []
        self._desk = make_scheduler(folder, f"desk-{os.getpid()}")  # never started: it only asks and tells

    async def run(self) -> list[Figures]:
        """Play it, and count."""
        start = self._clock.now().replace(microsecond=0) + timedelta(seconds=2)
        first = await add_jobs(self._desk, self._folder, start)
        try:
            for name in ("worker-a", "worker-b"):
                await self._start_worker(name)
            await self._sleep_until(start)
            self._say(f"{len(first)} jobs run in two processes, which share {self._folder / 'jobs.yaml'}")
            end = start + timedelta(seconds=_SECONDS)
            await self._within(_SECONDS + _PATIENCE, self._story(start, end))
            await self._within(_PATIENCE, self._until_done(end))
        finally:
            await self._stop_workers()
        return await self._count(first, end)

    async def _within(self, seconds: float, what: Coroutine[None, None, None]) -> None:
        """Wait, but not for ever: what has not come to pass by then is seen in the figures."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await what

    async def _story(self, start: datetime, end: datetime) -> None:
        async with asyncio.TaskGroup() as story:
            story.create_task(self._kill_and_restart())
            story.create_task(self._pause_and_resume(start))
            story.create_task(self._sleep_until(end))

    async def _start_worker(self, name: str) -> Process:
        errors = (self._folder / f"{name}.log").open("ab")
        command = (sys.executable, "-m", "chrono_async.cli._demo_worker", str(self._folder), name)
        worker = await asyncio.create_subprocess_exec(*command, stdout=errors, stderr=errors)
        errors.close()
        self._workers.append(worker)
        self._say(f"{name} started, process {worker.pid}")
        return worker

    async def _kill_and_restart(self) -> None:
        run = await self._until_in_the_middle_of_report()
        os.kill(run.pid, signal.SIGKILL)
        self._say(f"process {run.pid} killed with -9 while it ran 'report' of {run.fire_time:%H:%M:%S}")
        await asyncio.sleep(REPORT_TAKES)
        await self._start_worker("worker-c")
        await _until(lambda: any(run.job_id == "report" and run.attempt > 1 for run in self._logged()))
        self._say(f"another process took that run over, once the lease of {LEASE} s had ended")

    async def _until_in_the_middle_of_report(self) -> LoggedRun:
        await _until(lambda: bool(self._reports_going()))
        begun = self._reports_going()
        await asyncio.sleep(REPORT_TAKES / 3)
        still_going = [run for run in self._reports_going() if run in begun]
        return still_going[0] if still_going else await self._until_in_the_middle_of_report()

    def _reports_going(self) -> list[LoggedRun]:
        return [run for run in self._logged() if run.job_id == "report" and run.is_going]

    async def _pause_and_resume(self, start: datetime) -> None:
        await self._sleep_until(start + timedelta(seconds=2.5))
        paused = await self._desk.pause_job("digest")
        self._say("'digest' paused")
        while paused.status is JobStatus.RUNNING:  # a run that is going moves the pointer yet
            await asyncio.sleep(0.05)
            paused = await self._desk.get_job("digest")
        await asyncio.sleep(2)
        resumed = await self._desk.resume_job("digest")
        self._say("'digest' resumed")
        if paused.next_run and resumed.next_run:
            self._pauses.append(Pause("digest", paused.next_run, resumed.next_run))

    async def _until_done(self, end: datetime) -> None:
        """Wait until all that was due by the end has been settled."""
        while any(_is_behind(job, end) for job in await self._desk.list_jobs()):  # noqa: ASYNC110  # other processes
            await asyncio.sleep(0.1)

    async def _stop_workers(self) -> None:
        """Let the workers drain."""
        for worker in self._workers:
            with suppress(ProcessLookupError):
                worker.terminate()
        for worker in self._workers:
            await worker.wait()

    async def _count(self, first: list[JobInfo], end: datetime) -> list[Figures]:
        logged, rows = self._logged(), await self._desk.list_runs(limit=1000)
        last = {job.id: job for job in await self._desk.list_jobs()}
        return [count(job, last[job.id], logged, rows, pauses=self._pauses, end=end) for job in first]

    def _logged(self) -> list[LoggedRun]:
        return read_log(self._folder / "runs.jsonl")

    async def _sleep_until(self, moment: datetime) -> None:
        await asyncio.sleep(max(0.0, (moment - self._clock.now()).total_seconds()))

    def _say(self, what: str) -> None:
        self._print(f"{self._clock.now():%H:%M:%S}  {what}", highlight=False, markup=False, soft_wrap=True)


async def _until(is_so: Callable[[], bool]) -> None:
    """Look until it is so: it comes about in other processes, which cannot set an event here."""
    while not is_so():  # noqa: ASYNC110
        await asyncio.sleep(0.05)


def _is_behind(job: JobInfo, end: datetime) -> bool:
    return job.next_run is not None and job.next_run <= end


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
