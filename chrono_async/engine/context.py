"""
What a running job can know of itself.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from ..policies import Missed
from .run import Run
from .settling_in import settle_in
from .state import State

_current: ContextVar[tuple[Run, State] | None] = ContextVar("chrono_async_current_run", default=None)


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
    _settle_in: Callable[[object], Awaitable[None]] = field(repr=False, compare=False)

    async def settle_in(self, connection: object) -> None:
        """
        Record the run as completed in the transaction that you have begun on `connection`: with it, or not at all.

        For `PostgresStorage`, on a connection of asyncpg to its database. Let it be the transaction's last statement,
        and commit: until then the job is locked. `LeaseLostError` if another instance has taken over: let it end the
        transaction. If you undo that, or the body raises before it is committed, the run fails or is tried again as
        ever; once it is committed, it is completed whatever the body does.
        """
        await self._settle_in(connection)


def current_run() -> RunContext:
    """Return the run that is going on here; `LookupError` outside of any."""
    here = _current.get()
    if here is None:
        raise LookupError("no job runs here: current_run() is for the inside of a job's function")
    run, state = here
    if run.lost is None:
        run.lost = asyncio.Event()
    return RunContext(
        run.job.id,
        run.run_id,
        run.fire_time,
        run.attempt,
        run.lease.token,
        state.settings.instance_id,
        run.missed,
        run.previous_success,
        run.lost,
        partial(settle_in, state, run),
    )


def enter(run: Run, state: State) -> None:
    """Make `run` the current one of this task, and of the tasks and threads that it starts."""
    _current.set((run, state))


def running_here() -> Run | None:
    """Return the run that this task belongs to, if any."""
    here = _current.get()
    return None if here is None else here[0]
