"""
What a running job can know of itself.
"""

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime

from ..policies import Missed
from .run import Run

_current: ContextVar[Run | None] = ContextVar("chrono_async_current_run", default=None)


@dataclass(frozen=True, slots=True)
class RunContext:
    """The run that a job's function is called for."""

    job_id: str
    run_id: str
    """The same for every attempt at this occurrence, on any instance: an idempotency key."""
    fire_time: datetime
    """The nominal instant, in UTC, however late the run really is."""
    attempt: int
    """1, or more after a crash."""
    token: int
    """Grows with every claim of the job: hand it to what must refuse a writer from the past."""
    instance_id: str
    missed: Missed | None
    """The fire times that were folded into this run."""
    previous_success: datetime | None
    """When the job last completed."""
    lost: asyncio.Event
    """Set when the lease is lost. The body is cancelled then; this is for what cannot be."""


def current_run() -> RunContext:
    """Return the run that is going on here; `LookupError` outside of any."""
    run = _current.get()
    if run is None:
        raise LookupError("no job runs here: current_run() is for the inside of a job's function")
    if run.lost is None:
        run.lost = asyncio.Event()
    owner = run.lease.owner.rpartition("/")[0]
    return RunContext(
        run.job.id,
        run.run_id,
        run.fire_time,
        run.attempt,
        run.lease.token,
        owner,
        run.missed,
        run.previous_success,
        run.lost,
    )


def enter(run: Run) -> None:
    """Make `run` the current one of this task, and of the tasks and threads that it starts."""
    _current.set(run)


def running_here() -> Run | None:
    """Return the run that this task belongs to, if any."""
    return _current.get()
