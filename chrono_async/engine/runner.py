"""
A task a run: tries under `asyncio.timeout`, pauses between them, and how it all ended.

The body's every ending is caught here, `SystemExit` too: it harms only itself. The outcome goes to the settler.
"""

import asyncio
import inspect
import logging
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import Any

from .._threads import call_in_thread
from ..errors import PoisonedError, StorageError, describe
from ..events import RunStarted
from ..models import JobStatus
from ..policies import MAX_ATTEMPTS
from . import context
from .outcomes import outcome_of, row_of, status_of
from .run import Run, Why, arguments_of
from .settler import Settler, job_logger
from .state import State

_logger = logging.getLogger("chrono_async")

_Ending = tuple[Any, BaseException | None]
"""What a plain function has returned, or what it has raised."""


class Runner:
    """Starts runs, and sees each of them to its end."""

    def __init__(self, state: State, settler: Settler) -> None:
        self._state, self._settler = state, settler
        self._new: list[Run] = []  # a callback for all of them costs a run less than one for each
        self._threads = asyncio.Semaphore(state.settings.max_threads)

    def start(self, run: Run) -> None:
        """Begin a granted run; one that came too late to begin is given back."""
        state = self._state
        state.runs.add(run)
        if run.attempt > 1:
            _logger.warning(
                "job %r: attempt %d at %s; the lease of the one before ran out", run.job.id, run.attempt, run.fire_time
            )
        if state.draining.is_set() or run.job.id not in state.registry:
            self._give_back(run)
        elif run.attempt > MAX_ATTEMPTS:
            self._end_with(run, PoisonedError(run.job.id, MAX_ATTEMPTS))
        else:
            task = asyncio.get_running_loop().create_task(self._run(run))
            if not task.done():
                run.task = task
                self._watch(run)

    def _give_back(self, run: Run) -> None:
        """Let the run be due again, as if it had not been claimed; one for which there is no way back is settled."""
        if run.can_be_given_back:
            self._settler.release(run)
        else:
            self._end_with(run, asyncio.CancelledError(str(Why.STOPPING)))

    def _watch(self, run: Run) -> None:
        """See to it that a run ends whose task is cancelled before its first step: nothing of `_run` happens then."""
        self._new.append(run)
        if len(self._new) == 1:
            asyncio.get_running_loop().call_soon(self._watch_all)

    def _watch_all(self) -> None:
        """Look again when those that were started together have all had their first step: it stands in line already."""
        new, self._new = self._new, []
        asyncio.get_running_loop().call_soon(self._end_stillborn, new)

    def _end_stillborn(self, runs: list[Run]) -> None:
        for run in runs:
            if run.finished is None and run.is_body_done:
                self._end_with(run, asyncio.CancelledError())

    async def _run(self, run: Run) -> None:
        """
        See the run to its end, and leave no cycle behind, in which it would wait for the garbage collector.

        Its task's context knows the run. So do the frames that an error is traced to, ours too: none keeps the error.
        """
        context.enter(run, self._state)
        run.task = asyncio.current_task()  # it may be an eager one, which nobody has been given yet
        try:
            await self._try_until_done(run)
        except BaseException as error:  # noqa: BLE001 - between tries, or before the first
            run.error = _traced_from_its_function(error)
        self._end(run)
        run.task = None

    async def _try_until_done(self, run: Run) -> None:
        """Try, and try again as the job's options say."""
        while True:
            await (self._try(run) if run.job.is_async else self._try_in_turn(run))
            if run.error is None or await self._finds_written(run) or not _wants_retry(run, run.error):
                return
            if not await self._reaches_next_try(run, run.error):
                return

    async def _try_in_turn(self, run: Run) -> None:
        """Try when a thread is free: until then nothing has begun, and its time does not run."""
        run.is_queued = True
        await self._threads.acquire()
        run.is_queued, run.has_thread = False, True
        try:
            await self._try(run)
        finally:
            self._leave_thread(run)

    def _leave_thread(self, run: Run) -> None:
        if run.has_thread:
            run.has_thread = False
            self._threads.release()

    async def _try(self, run: Run) -> None:
        """
        Call the function once. `CancelledError` is raised if it must not be called any more.

        A timeout is a `TimeoutError`, whatever the body made of being cancelled.
        """
        self._begin_try(run)
        seconds = run.job.options.timeout
        try:
            if seconds is None:
                await self._called(run)
                return
            async with asyncio.timeout(seconds) as limit:
                await self._called(run)
        except BaseException as error:  # noqa: BLE001 - see the head of this module
            is_late = seconds is not None and limit.expired() and not run.why_cancelled
            run.error = _timed_out(run) if is_late else _traced_from_its_function(error)
        else:
            run.error = _timed_out(run) if limit.expired() else None

    def _begin_try(self, run: Run) -> None:
        self._check(run)
        if run.started is None:
            self._begin(run)
        run.tries += 1
        run.error = None

    def _check(self, run: Run) -> None:
        """Refuse to call the body of a run that is cancelled, or whose lease is trusted no more."""
        if run.why_cancelled is None and self._state.time.boot() >= run.trust_until:
            self._state.lose(run)
        if run.why_cancelled is not None:
            raise asyncio.CancelledError(str(run.why_cancelled))

    def _begin(self, run: Run) -> None:
        run.started = self._state.time.now()
        if not self._state.bus.is_silent:
            self._state.bus.tell(RunStarted(run.started, run.job.id, run.fire_time, run.attempt, run.manual))

    def _called(self, run: Run) -> Awaitable[object]:
        """Call the function; what is returned is to be awaited. Each coroutine around a body costs every run of it."""
        args, kwargs = arguments_of(run)
        if run.job.is_async:
            body: Awaitable[object] = run.job.func(*args, **kwargs)
            return body
        return self._call_in_thread(run, partial(run.job.func, *args, **kwargs))

    async def _call_in_thread(self, run: Run, call: Callable[[], Any]) -> None:
        answer, error = await _hear_out(run, call)
        self._leave_thread(run)
        if error is not None:
            raise error
        if inspect.isawaitable(answer):  # a plain function that hands back a coroutine, such as a lambda
            await answer

    async def _reaches_next_try(self, run: Run, error: BaseException) -> bool:
        """Wait for the next try; False if it is not to be here: the pause outlasts the lease, or the drain comes."""
        retry = run.job.options.retry
        pause = retry.delay_after(run.tries, random.random()) if retry else timedelta(0)
        not_before = self._state.time.now() + pause
        job_logger.warning("job %r: try %d failed, the next in %s: %s", run.job.id, run.tries, pause, describe(error))
        stays = run.at_most_once or pause <= self._state.settings.lock_ttl
        if stays and not pause:
            await asyncio.sleep(0)  # a function that fails before its first await would keep the loop to itself
            return True
        if stays and not await self._state.drains_within(pause):
            return True
        run.not_before = None if run.at_most_once else not_before
        return False

    async def _finds_written(self, run: Run) -> bool:
        """
        Whether a body that failed had written its outcome in a transaction of its own which was committed all the same.

        The lease tells: it is gone then. While such a transaction is undecided a renewal does not answer.
        """
        while run.written is not None and not run.is_written:
            try:
                run.is_written = not await self._is_held(run)
            except StorageError:
                if run.why_cancelled is not None:
                    break  # what is written next is as conditional as ever; so it does not matter much
                await asyncio.sleep(self._state.door.pause())
        return run.is_written

    async def _is_held(self, run: Run) -> bool:
        """Whether the lease is still ours: nothing is written then, and the lease is extended."""
        state, sent = self._state, self._state.time.boot()
        answer = await state.door.ask(state.door.storage.renew([run.lease], state.settings.lock_ttl))
        if answer.lost:
            return False
        run.written = None
        run.trust_until = max(run.trust_until, sent + state.settings.trust / timedelta(seconds=1))
        return True

    def _end_with(self, run: Run, error: BaseException) -> None:
        """End a run whose function is not called."""
        run.error = error
        self._end(run)

    def _end(self, run: Run) -> None:
        """Say how the run ended, and hand it to the settler."""
        now, instance_id, error = self._state.time.now(), self._state.settings.instance_id, run.error
        written = run.written if error is None else None
        run.finished = now if written is None else written.run.finished
        run.status = status_of(error)
        is_cut_short = run.status is JobStatus.CANCELLED
        if run.not_before is not None:
            self._settler.release(run)
        elif is_cut_short and run.why_cancelled in {Why.LEASE_LOST, Why.REMOVED} and not run.is_written:
            self._settler.drop(run)
        elif is_cut_short and run.why_cancelled is Why.STOPPING and run.can_be_given_back and not run.is_written:
            self._settler.release(run, row_of(run, error, now, instance_id))
        else:
            self._settler.settle(run, written or outcome_of(run, error, now, instance_id))


def _traced_from_its_function(error: BaseException) -> BaseException:
    """Leave out the frames of this module: they know the run, which knows its error, so neither would be freed soon."""
    trace = _trace_of(error)
    while trace is not None and trace.tb_frame.f_globals is globals():
        trace = trace.tb_next
    BaseException.with_traceback(error, trace)  # whatever its own class makes of that
    return error


_trace_of: Callable[[BaseException], TracebackType | None] = BaseException.__dict__["__traceback__"].__get__


def _wants_retry(run: Run, error: BaseException) -> bool:
    retry = run.job.options.retry
    if retry is None or run.why_cancelled is not None or run.is_spent or isinstance(error, asyncio.CancelledError):
        return False
    return retry.wants(error, run.tries)


def _timed_out(run: Run) -> TimeoutError:
    return TimeoutError(f"job {run.job.id!r} was not done within {run.job.options.timeout:g} s")


async def _hear_out(run: Run, call: Callable[[], Any]) -> _Ending:
    """Call in a thread. That cannot be stopped: out of time or cancelled, its run ends when it does."""
    thread = asyncio.get_running_loop().create_task(call_in_thread(_ending_of, call))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        run.is_spent = True
        await _outlast(thread)
        if run.why_cancelled is None:
            raise
        return thread.result()  # it was not cancelled after all


def _ending_of(call: Callable[[], Any]) -> _Ending:
    """Return what it raises, and do not raise it: in a task of its own `SystemExit` would end the loop."""
    try:
        return call(), None
    except BaseException as error:  # noqa: BLE001 - it is raised in the run's own task
        return None, error


async def _outlast(thread: asyncio.Task[_Ending]) -> None:
    """Wait until the thread has ended, whoever cancels meanwhile."""
    while not thread.done():
        try:
            await asyncio.wait([thread])
        except asyncio.CancelledError:
            continue
