"""
A task a run: tries under `asyncio.timeout`, pauses between them, and how it all ended.

The body's every ending is caught here, `SystemExit` too: it harms only itself. The outcome goes to the settler.
"""

import asyncio
import inspect
import logging
import random
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from anyio import CapacityLimiter

from .._threads import run_in_thread
from ..events import RunStarted
from ..models import JobStatus, PointerMove, RunRecord, RunStatus
from ..policies import MAX_ATTEMPTS, Missed, Move, move_after_run
from . import context
from .run import Run, Why, arguments_of
from .settler import Settler
from .state import State

_logger = logging.getLogger("chrono_async")


class PoisonedError(RuntimeError):
    """The occurrence's process has died too often; it is given up."""


class Runner:
    """Starts runs, and sees each of them to its end."""

    def __init__(self, state: State, settler: Settler) -> None:
        self._state, self._settler = state, settler
        self._of_task: dict[asyncio.Task[None], Run] = {}  # which costs a run less than a function of its own
        self._threads: CapacityLimiter | None = None

    def start(self, run: Run) -> None:
        """Begin a granted run; one that came too late to begin is given back."""
        state = self._state
        state.runs.add(run)
        if state.draining.is_set() or run.job.id not in state.registry:
            self._settler.release(run)
        elif run.attempt > MAX_ATTEMPTS:
            self._end(run, PoisonedError(f"its process died in each of {MAX_ATTEMPTS} attempts"))
        else:
            run.task = task = asyncio.get_running_loop().create_task(self._run(run))
            self._of_task[task] = run
            task.add_done_callback(self._see_off)

    def _see_off(self, task: asyncio.Task[None]) -> None:
        """End a run whose task was cancelled before its first step: nothing of `_run` has happened then."""
        run = self._of_task.pop(task)
        if run.finished is None:
            self._end(run, asyncio.CancelledError())

    async def _run(self, run: Run) -> None:
        context.enter(run)
        run.started = self._state.time.now()
        if not self._state.bus.is_silent:
            self._state.bus.tell(RunStarted(run.started, run.job.id, run.fire_time, run.attempt, run.manual))
        try:
            error = await self._try_until_done(run)
        except asyncio.CancelledError as cancelled:  # in a pause between tries
            error = cancelled
        self._end(run, error)

    async def _try_until_done(self, run: Run) -> BaseException | None:
        """Try, and try again as the job's options say. Returns what the last try raised."""
        while True:
            if run.why_cancelled is not None:
                return asyncio.CancelledError(str(run.why_cancelled))
            if self._state.time.boot() >= run.trust_until:
                run.why_cancelled = Why.LEASE_LOST
                return asyncio.CancelledError(str(Why.LEASE_LOST))
            run.tries += 1
            error = await self._try_once(run)
            if error is None or not _wants_retry(run, error) or not await self._reaches_next_try(run):
                return error

    async def _try_once(self, run: Run) -> BaseException | None:
        """Call the function once. A timeout is a `TimeoutError`, whatever the body made of being cancelled."""
        seconds = run.job.options.timeout
        try:
            if seconds is None:
                await self._call(run)
                return None
            async with asyncio.timeout(seconds) as limit:
                await self._call(run)
        except BaseException as error:  # noqa: BLE001 - see the head of this module
            return _timed_out(run) if seconds is not None and limit.expired() and not run.why_cancelled else error
        return _timed_out(run) if limit.expired() else None

    async def _call(self, run: Run) -> None:
        args, kwargs = arguments_of(run)
        if run.job.is_async:
            await run.job.func(*args, **kwargs)
            return
        answer = await self._call_in_thread(run, args, kwargs)
        if inspect.isawaitable(answer):  # a plain function that hands back a coroutine, such as a lambda
            await answer

    async def _call_in_thread(self, run: Run, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Call a plain function. A thread cannot be stopped: out of time or cancelled, its run ends when it does."""
        if self._threads is None:
            self._threads = CapacityLimiter(self._state.settings.max_threads)
        call = run_in_thread(lambda: run.job.func(*args, **kwargs), limiter=self._threads)
        thread = asyncio.get_running_loop().create_task(call)
        try:
            return await asyncio.shield(thread)
        except asyncio.CancelledError:
            run.is_spent = True
            await _outlast(thread)
            if run.why_cancelled is None:
                raise
            return thread.result()  # it was not cancelled after all

    async def _reaches_next_try(self, run: Run) -> bool:
        """Wait for the next try; False if it is not to be here: the pause outlasts the lease, or the drain comes."""
        retry = run.job.options.retry
        pause = retry.delay_after(run.tries, random.random()) if retry else timedelta(0)
        not_before = self._state.time.now() + pause
        stays = run.at_most_once or pause <= self._state.settings.lock_ttl
        if stays and (not pause or not await self._state.drains_within(pause)):
            return True
        run.not_before = None if run.at_most_once else not_before
        return False

    def _end(self, run: Run, error: BaseException | None) -> None:
        """Say how the run ended, and hand it to the settler."""
        run.finished = self._state.time.now()
        run.error, run.status = error, _status_of(error)
        is_cut_short = run.status is JobStatus.CANCELLED
        row = _row(run, self._state.settings.instance_id)
        if run.not_before is not None:
            self._settler.release(run)
        elif is_cut_short and run.why_cancelled in {Why.LEASE_LOST, Why.REMOVED}:
            self._settler.drop(run)
        elif is_cut_short and run.why_cancelled is Why.STOPPING and not run.at_most_once:
            self._settler.release(run, row)
        else:
            self._settler.settle(run, row, *self._move(run))

    def _move(self, run: Run) -> tuple[PointerMove | None, Missed | None]:
        """Say where the pointer goes: nowhere any more, if a schedule of a user's own fails; and that is told."""
        if not run.moves_pointer:
            return None, None
        try:
            move = move_after_run(
                run.job.schedule,
                run.fire_time,
                run.claimed_at,
                run.finished or run.claimed_at,
                run.job.policies.overlap,
            )
        except Exception:
            _logger.exception("the schedule of job %r failed; the job has no next run", run.job.id)
            move = Move(None)
        return PointerMove(run.expected, run.revision, move.next_run, move.queued, run.at_most_once), move.skipped


def _wants_retry(run: Run, error: BaseException) -> bool:
    retry = run.job.options.retry
    if retry is None or run.why_cancelled is not None or run.is_spent or isinstance(error, asyncio.CancelledError):
        return False
    return retry.wants(error, run.tries)


def _timed_out(run: Run) -> TimeoutError:
    return TimeoutError(f"job {run.job.id!r} was not done within {run.job.options.timeout:g} s")


async def _outlast(thread: asyncio.Task[Any]) -> None:
    """Wait until the thread has ended, whoever cancels meanwhile."""
    while not thread.done():
        try:
            await asyncio.wait([thread])
        except asyncio.CancelledError:
            continue


def _status_of(error: BaseException | None) -> JobStatus:
    if error is None:
        return JobStatus.COMPLETED
    return JobStatus.CANCELLED if isinstance(error, asyncio.CancelledError) else JobStatus.FAILED


def _row_status(status: JobStatus) -> RunStatus:
    if status is JobStatus.COMPLETED:
        return RunStatus.COMPLETED
    return RunStatus.CANCELLED if status is JobStatus.CANCELLED else RunStatus.FAILED


def _row(run: Run, instance_id: str) -> RunRecord:
    return RunRecord(  # by position: names cost twice as much, and every run pays
        run.job.id,
        run.fire_time,
        _row_status(run.status),
        instance_id,
        run.attempt,
        run.lease.token,
        run.manual,
        run.started,
        run.finished,
        "" if run.error is None else describe(run.error),
        run.tries - 1 if run.tries else 0,
        run.missed,
    )


def describe(error: BaseException) -> str:
    """Return an exception as text for the record: type and message, whatever its `__str__` does."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - a job's own exception may be broken in any way
        text = "(its message cannot be read)"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
