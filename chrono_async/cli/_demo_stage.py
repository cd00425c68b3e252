"""
The stage of a demonstration: worker processes that come and go, the log that they share, and a voice that tells of it.
"""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from chrono_async import AsyncScheduler, JobInfo, SystemClock

from ._demo_figures import LoggedRun, read_log

PATIENCE = 20.0
"""Seconds that a slow machine gets on top, for whatever is waited for."""


class Stage:
    """Workers of one kind, in a folder; `settings` is told to them by their environment, which others do not see."""

    def __init__(
        self, folder: Path, worker: str, say: Callable[..., None], *, settings: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.clock: SystemClock = SystemClock()
        self._worker, self._print = worker, say
        self._environment = {**os.environ, **(settings or {})}
        self._workers: dict[str, Process] = {}

    # ── workers ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def start_worker(self, name: str) -> None:
        """Start a process."""
        errors = (self.folder / f"{name}.log").open("ab")
        command = (sys.executable, "-m", f"chrono_async.cli.{self._worker}", str(self.folder), name)
        worker = await asyncio.create_subprocess_exec(*command, stdout=errors, stderr=errors, env=self._environment)
        errors.close()
        self._workers[name] = worker
        self.say(f"{name} started, process {worker.pid}")

    def name_of(self, pid: int) -> str:
        """Return the name of the worker that this process is, or was."""
        return next(name for name, worker in self._workers.items() if worker.pid == pid)

    def is_alive(self, pid: int) -> bool:
        """Whether this process is a worker that has not ended, as far as is known."""
        return any(worker.pid == pid and worker.returncode is None for worker in self._workers.values())

    async def ended(self, pid: int) -> int:
        """Wait until the worker has ended, and return its exit code."""
        return await self._workers[self.name_of(pid)].wait()

    async def stop_workers(self) -> None:
        """Let the workers drain; one that will not end is ended."""
        self._send(signal.SIGCONT)  # lest one is frozen
        self._send(signal.SIGTERM)
        await within(PATIENCE, self._all_ended())
        self._send(signal.SIGKILL)
        await self._all_ended()

    def _send(self, number: signal.Signals) -> None:
        for worker in self._workers.values():
            if worker.returncode is None:
                with suppress(ProcessLookupError):
                    worker.send_signal(number)

    async def _all_ended(self) -> None:
        for worker in self._workers.values():
            await worker.wait()

    # ── what they do ─────────────────────────────────────────────────────────────────────────────────────────────────

    def logged(self) -> list[LoggedRun]:
        """Return the runs that the workers have noted."""
        return read_log(self.folder / "runs.jsonl")

    async def in_the_middle_of(self, is_meant: Callable[[LoggedRun], bool], takes: float) -> LoggedRun:
        """Wait until a run that is meant is well under way; it takes so many seconds."""
        while True:
            await until(lambda: bool(self._going(is_meant)))
            begun = self._going(is_meant)
            await asyncio.sleep(takes / 3)
            still_going = [run for run in self._going(is_meant) if run in begun]
            if still_going:
                return still_going[0]

    def _going(self, is_meant: Callable[[LoggedRun], bool]) -> list[LoggedRun]:
        return [run for run in self.logged() if run.is_going and self.is_alive(run.pid) and is_meant(run)]

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def sleep_until(self, moment: datetime) -> None:
        """Wait for a moment."""
        await asyncio.sleep(max(0.0, (moment - self.clock.now()).total_seconds()))

    def say(self, what: str) -> None:
        """Say what happens, in a line."""
        self._print(f"{self.clock.now():%H:%M:%S}  {what}", highlight=False, markup=False, soft_wrap=True)


async def freeze(pid: int, write: Coroutine[None, None, None], *, patience: float) -> bool:
    """
    Freeze a process, but not with what the others need: whoever writes a file holds its lock for as long as he stands.

    A `write` of this process tells; if it is not done after so many seconds, the other goes on. Whether it is frozen.
    """
    os.kill(pid, signal.SIGSTOP)
    if await within(patience, write):
        return True
    os.kill(pid, signal.SIGCONT)
    return False


async def until(is_so: Callable[[], bool]) -> None:
    """Look until it is so: it comes about in other processes, which cannot set an event here."""
    while not is_so():  # noqa: ASYNC110  # other processes
        await asyncio.sleep(0.05)


async def within(seconds: float, what: Coroutine[None, None, None]) -> bool:
    """Wait, but not for ever: what has not come to pass by then is seen in the figures. Whether it has."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await what
            return True
    return False


async def until_done(desk: AsyncScheduler, end: datetime) -> None:
    """Wait until all that was due by the end has been settled."""
    while any(_is_behind(job, end) for job in await desk.list_jobs()):  # noqa: ASYNC110  # other processes
        await asyncio.sleep(0.1)


def _is_behind(job: JobInfo, end: datetime) -> bool:
    return job.next_run is not None and job.next_run <= end
