"""
A run in progress, and the table of them.
"""

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from ..claims import Lease, Outcome, Release
from ..errors import InvalidOptionError
from ..models import JobResult, JobStatus, run_id
from ..options import read_arguments
from ..policies import Missed
from .registry import LocalJob


class Why(StrEnum):
    """Why a run is cancelled."""

    LEASE_LOST = "its lease was lost"
    REMOVED = "its job was removed"
    OVERLAP = "a later fire time took its place"
    STOPPING = "the scheduler stops"


@dataclass(slots=True, eq=False)
class Run:
    """An occurrence that this instance holds a claim on, from the grant to the settled outcome."""

    job: LocalJob
    lease: Lease
    fire_time: datetime
    attempt: int
    manual: bool
    missed: Missed | None
    expected: datetime | None
    """The pointer, as the claim left it."""
    revision: int
    moves_pointer: bool
    """Whether settling moves the pointer: the run is no manual one, and its claim has not freed the job."""
    claimed_at: datetime
    trust_until: float
    """Boot-clock seconds until which the lease is trusted."""
    at_most_once: bool
    """Whether the claim was the end of it for the storage: once begun, the run is never given back."""
    tries: int
    previous_success: datetime | None
    arguments: str = ""
    task: asyncio.Task[None] | None = None
    why_cancelled: Why | None = None
    is_queued: bool = False
    """It waits until a thread is free, or did so until it was cancelled."""
    has_thread: bool = False
    """One of those that there may be at a time is kept for it."""
    is_overrun: bool = False
    """It has been told of that the job came due again while this one went on."""
    is_spent: bool = False
    """No more tries: a thread outlived its time, or the lease was found to be lost."""
    written: Outcome | None = None
    """What the body has written in a transaction of its own, which it may not have committed yet; see `settling_in`."""
    is_written: bool = False
    """That transaction was not undone: the lease is gone."""
    not_before: datetime | None = None
    """The run is given back, to be tried again from then on."""
    lost: asyncio.Event | None = None
    started: datetime | None = None
    finished: datetime | None = None
    status: JobStatus = JobStatus.RUNNING
    error: BaseException | None = None
    ending: Outcome | Release | None = None
    """What the storage is to be told of it."""

    def cancel(self, why: Why) -> None:
        """Ask the body to end; the first reason counts."""
        if self.why_cancelled is None:
            self.why_cancelled = why
            if why is Why.LEASE_LOST and self.lost is not None:
                self.lost.set()
            if self.task is not None and (self.started is not None or self.is_queued):
                self.task.cancel(str(why))  # one that is about to begin looks by itself

    @property
    def run_id(self) -> str:
        """The occurrence's name."""
        return run_id(self.job.id, self.fire_time, manual=self.manual)

    @property
    def can_be_given_back(self) -> bool:
        """Whether it may become due again: not an at-most-once run that has begun, nor a manual flight."""
        return not self.at_most_once or (self.started is None and not (self.manual and self.job.is_parallel))

    @property
    def is_body_done(self) -> bool:
        """Whether the body has ended, or never began."""
        return self.task is None or self.task.done()

    def result(self) -> JobResult:
        """Tell how the run ended."""
        started, finished = self.started or self.claimed_at, self.finished or self.claimed_at
        retries = max(self.tries - 1, 0)
        return JobResult(self.job.id, self.run_id, self.fire_time, started, finished, self.status, self.error, retries)


class RunTable:
    """The runs of this instance, by job. A job has more than one only with `Overlap.ALLOW`."""

    def __init__(self) -> None:
        self._by_job: dict[str, list[Run]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, run: object) -> bool:
        return isinstance(run, Run) and run in self._by_job.get(run.job.id, ())

    def __iter__(self) -> Iterator[Run]:
        return (run for runs in tuple(self._by_job.values()) for run in tuple(runs))

    def of(self, job_id: str) -> list[Run]:
        """Return the job's runs."""
        return self._by_job.get(job_id, [])

    def add(self, run: Run) -> None:
        """Take in a run."""
        self._by_job.setdefault(run.job.id, []).append(run)
        self._count += 1

    def remove(self, run: Run) -> None:
        """Forget a run that is over."""
        runs = self._by_job[run.job.id]
        runs.remove(run)
        self._count -= 1
        if not runs:
            del self._by_job[run.job.id]


def arguments_of(run: Run) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Return what the function is called with: what the trigger brought, else the job's own."""
    if not run.arguments:
        return run.job.options.args, run.job.options.kwargs
    return parse_arguments(run.arguments)


def parse_arguments(text: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Read what `dump_arguments` wrote."""
    given = json.loads(text)
    return tuple(given["args"]), given["kwargs"]


def dump_arguments(args: Iterable[Any] | None, kwargs: Mapping[str, Any] | None) -> str:
    """Write a manual run's arguments as JSON, nothing if there are none; `InvalidOptionError` if that cannot be."""
    if args is None and kwargs is None:
        return ""
    several, named = read_arguments(() if args is None else args, {} if kwargs is None else kwargs)
    given = {"args": several, "kwargs": named}
    try:
        return json.dumps(given, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidOptionError("args, kwargs", given, f"must be what JSON can hold: {error}") from None
