"""
Writes outcomes in batches: whatever gathered while the last write was under way.

A result is kept until the storage has answered for it; its lease is renewed all the while. Events and callbacks come
only after the answer, and only for a result that counts.
"""

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

from .._tasks import is_cancellation
from ..claims import Outcome, Release, Settled, SettleVerdict
from ..errors import StorageError
from ..events import FireTimesMissed, FireTimesSkipped, LeaseLost, RunFinished, RunReleased
from ..models import Due, JobResult, JobStatus, RunRecord
from ..options import LocalOptions
from .outcomes import way_back
from .run import Run
from .state import State
from .storage_door import job_of

_logger = logging.getLogger("chrono_async")
job_logger: logging.Logger = logging.getLogger("chrono_async.jobs")
"""For what jobs raise, which a user may want elsewhere."""

_callback: ContextVar[asyncio.Task[Any] | None] = ContextVar("chrono_async_callback", default=None)
"""The task of the callback that goes on here."""

_MOST_CALLBACKS = 100_000
"""At a time. More than this many are not slow, but hang; the loop must not be buried under them."""
_BATCH = 1000
_LAST_PAUSE = 0.5


class Settler:
    """One task. Only a body settles besides, in a transaction of its own; see `settling_in`."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._runs = state.runs  # of this life of the scheduler: a leaked run may end in the next
        self._waiting: deque[Run] = deque()
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._batch = _BATCH
        self._under_way = 0
        self._callbacks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._waiting) + self._under_way

    def settle(self, run: Run, outcome: Outcome) -> None:
        """Take in how a run ended."""
        self._put(run, outcome)

    def release(self, run: Run, row: RunRecord | None = None) -> None:
        """Take in a run that is to be given back: for a later try, or because this instance stops."""
        is_between_tries = run.not_before is not None or run.started is None or run.is_queued
        tries = run.tries if is_between_tries else 0  # one that was cut begins anew
        self._put(run, Release(run.lease, run.not_before, tries, row, way_back(run)))

    def drop(self, run: Run) -> None:
        """Forget a run whose lease is not ours any more."""
        self._forget(run)
        self._state.hurry.set()  # whatever its job is now, nothing was armed while it ran here

    async def run(self) -> None:
        """Write what arrives, for ever."""
        while True:
            while self._waiting:
                await self._write_batch()
            self._idle.set()
            self._arrived.clear()
            await self._arrived.wait()

    async def flush(self) -> None:
        """Wait until all is written and all callbacks have returned."""
        await self._idle.wait()
        while self._callbacks:
            await asyncio.wait(tuple(self._callbacks))

    def is_calling_back(self) -> bool:
        """Whether a callback asks, or a task that it has started."""
        return _callback.get() in self._callbacks

    def abandon_callbacks(self) -> int:
        """Cancel the callbacks that are still going; return how many these are."""
        for task in tuple(self._callbacks):
            task.cancel()
        return len(self._callbacks)

    def _put(self, run: Run, ending: Outcome | Release) -> None:
        run.ending = ending
        self._waiting.append(run)
        self._idle.clear()
        self._arrived.set()

    async def _write_batch(self) -> None:
        """Write the oldest. After a failure one at a time, so that none that cannot be written holds up the others."""
        batch = self._take_batch()
        self._under_way = len(batch)
        try:
            await self._write(batch)
        except StorageError as error:
            if len(batch) == 1 and job_of(error) == batch[0].job.id:
                self._forget(batch[0])  # it can be written nowhere
                self._tell_lost(batch[0])
                return
            self._batch, self._under_way = 1, 0
            self._waiting.extend(batch)
            await self._pause()
        except BaseException:
            self._waiting.extendleft(run for run in reversed(batch) if run in self._runs)
            raise
        else:
            self._batch = min(self._batch * 2, _BATCH)
        finally:
            self._under_way = 0

    async def _pause(self) -> None:
        """Leave the storage alone for a while; but not into the drain, which has not long to write what is left."""
        pause = self._state.door.pause()
        if self._state.draining.is_set():
            await asyncio.sleep(min(pause, _LAST_PAUSE))
        else:
            await self._state.drains_within(timedelta(seconds=pause))

    def _take_batch(self) -> list[Run]:
        """Take off the oldest, as many as end in the same way."""
        kind, batch = type(self._waiting[0].ending), list[Run]()
        while self._waiting and len(batch) < self._batch and type(self._waiting[0].ending) is kind:
            batch.append(self._waiting.popleft())
        return batch

    async def _write(self, batch: list[Run]) -> None:
        outcomes = [run.ending for run in batch if isinstance(run.ending, Outcome)]
        if outcomes:
            await self._settle(batch, outcomes)
        else:
            await self._release(batch, [run.ending for run in batch if isinstance(run.ending, Release)])

    async def _settle(self, batch: list[Run], outcomes: list[Outcome]) -> None:
        state = self._state
        answer = await state.door.ask_dated(state.door.storage.settle(outcomes))
        state.door.check_answers(outcomes, answer.settled, Settled)
        for run, outcome, settled in zip(batch, outcomes, answer.settled, strict=True):
            self._forget(run)
            state.arm(settled.due)
            if settled.verdict is SettleVerdict.STALE:
                self._tell_lost(run)
            elif settled.verdict is SettleVerdict.REPEATED and run.written is not None and run.error is not None:
                self._tell_finished(run, _what_counts(run, run.written))
            else:
                self._tell_finished(run, outcome)

    async def _release(self, batch: list[Run], releases: list[Release]) -> None:
        state = self._state
        dues = await state.door.ask(state.door.storage.release(releases))
        state.door.check_answers(releases, dues, Due | None)
        for run, due in zip(batch, dues, strict=True):
            self._forget(run)
            state.arm(due)
            state.bus.tell(RunReleased(state.time.now(), run.job.id, run.fire_time, run.not_before))

    def _forget(self, run: Run) -> None:
        self._runs.remove(run)
        if self._state.settings.max_concurrent_runs is not None:
            self._state.wake.set()  # a place is free

    def _tell_lost(self, run: Run) -> None:
        state = self._state
        state.hurry.set()
        state.bus.tell(LeaseLost(state.time.now(), run.job.id, run.fire_time, run.lease.token))
        run.error = None  # for the same reason as below

    def _tell_finished(self, run: Run, outcome: Outcome) -> None:
        self._state.results.note(run)
        if run.status is JobStatus.FAILED:
            job_logger.error("job %r failed, run %s", run.job.id, run.run_id, exc_info=run.error)
        if not self._state.bus.is_silent:
            self._tell_events(run, outcome)
        if run.job.has_callbacks:
            self._start_to_call_back(run)
        run.error = None  # the results have it; what it is traced to knows the run: they would keep each other

    def _start_to_call_back(self, run: Run) -> None:
        if len(self._callbacks) >= _MOST_CALLBACKS:
            _logger.error("%d callbacks have not returned: job %r is not called back", _MOST_CALLBACKS, run.job.id)
            return
        task = asyncio.get_running_loop().create_task(self._call_back(run.job.options, run.result()))
        self._callbacks.add(task)
        task.add_done_callback(self._callbacks.discard)

    async def _call_back(self, options: LocalOptions, result: JobResult) -> None:
        """Call what the job's options name. One that raises is logged, and harms nothing."""
        task = asyncio.current_task()
        assert task is not None, "the one that was made for this"  # noqa: S101 - a type narrowing
        self._callbacks.add(task)  # an eager one begins before whoever makes it can note it
        _callback.set(task)
        if result.status is JobStatus.COMPLETED and options.on_success is not None:
            await _call_safely(options.on_success, result.job_id)
        if result.status is JobStatus.FAILED and options.on_error is not None:
            await _call_safely(options.on_error, result.job_id, result.error)
        if options.on_result is not None:
            await _call_safely(options.on_result, result)

    def _tell_events(self, run: Run, outcome: Outcome) -> None:
        bus, now, job = self._state.bus, self._state.time.now(), run.job
        if run.missed is not None:
            bus.tell(FireTimesMissed(now, job.id, run.missed))
        if outcome.skipped is not None and outcome.skipped.missed is not None:
            bus.tell(FireTimesSkipped(now, job.id, outcome.skipped.missed))
        if bus.wants(RunFinished):
            bus.tell(RunFinished(now, job.id, run.result()))


def _what_counts(run: Run, written: Outcome) -> Outcome:
    """Let a run count as its body wrote it in a transaction of its own, whatever the body came to after that."""
    _logger.warning("job %r failed after its outcome was committed, which counts", run.job.id, exc_info=run.error)
    run.error, run.status, run.finished = None, JobStatus.COMPLETED, written.run.finished
    return written


async def _call_safely(callback: Callable[..., Any], *args: Any) -> None:
    try:
        answer = callback(*args)
        if inspect.isawaitable(answer):
            await answer
    except (Exception, SystemExit, asyncio.CancelledError) as error:  # a task that raises the second would end the loop
        if is_cancellation(error):
            raise
        _logger.exception("the callback %r failed", callback)
