"""
From start to stop: the tasks of the engine, in a task of their own.

The task group is entered and left inside that task, so that start and stop may come from different ones: a fixture's
two halves, two notebook cells.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

from .._tasks import is_cancellation
from ..events import LoopBlocked, SchedulerStarted, SchedulerStopped
from .context import running_here
from .declarations import Declarations
from .leases import LeaseKeeper
from .loop import RunLoop
from .poller import Poller
from .run import Run, Why
from .runner import Runner
from .settler import Settler
from .state import State
from .storage_door import check_home
from .watchdog import Watchdog

_logger = logging.getLogger("chrono_async")

_LAST_WORDS = 5.0
"""Seconds that cancelled bodies get to end; what still goes on then is left behind, and said."""

_CANCELLED_AGAIN = 0.5


class Session:
    """One life of the scheduler."""

    def __init__(self, state: State, declarations: Declarations) -> None:
        self.state: State = state
        self._declarations = declarations
        self.settler: Settler = Settler(state)
        self._poller = Poller(state)
        self._keeper = LeaseKeeper(state)
        self._run_loop = RunLoop(state, Runner(state, self.settler))
        self._cut = asyncio.Event()
        self._stopping = asyncio.Event()
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        state.door.home = self.loop
        self._task = self.loop.create_task(self._main())

    @property
    def is_over(self) -> bool:
        """Whether all has ended: with the event loop at the latest."""
        return self._task.done() or self.loop.is_closed()

    @property
    def is_stopping(self) -> bool:
        """Whether somebody has asked for the end, or brought it about."""
        return self._stopping.is_set() or self.is_over

    def request_stop(self, timeout: float | None) -> None:
        """Begin to drain; after `timeout` seconds, what still runs is cancelled. Asked again, the sooner end counts."""
        check_home(self.loop)
        self._stopping.set()
        self.state.draining.set()
        self.state.wake.set()
        if timeout is not None:
            asyncio.get_running_loop().call_later(timeout, self._cut.set)

    async def ended(self) -> None:
        """Wait for the end; cancelling this waits no longer, and ends nothing."""
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.result()  # what went wrong with the scheduler itself must not look like an end in order

    async def outlived(self) -> None:
        """Wait for the end; cancelled, bring it about: the first time drains, a second time cancels what still runs."""
        try:
            await self.ended()
        except asyncio.CancelledError:
            self.request_stop(None)
            await self._cut_when_cancelled()
            raise

    async def _cut_when_cancelled(self) -> None:
        while not self.is_over:
            try:
                await self.ended()
            except asyncio.CancelledError:
                self.request_stop(0)

    def is_called_from_inside(self) -> bool:
        """Whether the caller is a run or a callback, which the end would wait for."""
        run = running_here()
        return self.settler.is_calling_back() or (run is not None and any(run is mine for mine in self.state.runs))

    async def _main(self) -> None:
        state = self.state
        watchdog = self._watch()
        if _is_simulated(self.loop) and state.time.is_the_machines:
            _logger.warning(
                "the event loop's time is simulated, the scheduler's clock is the machine's: no job will come due; "
                "give it the clock of the simulation, clock=VirtualClock() or clock=sim.clock"
            )
        state.bus.tell(SchedulerStarted(state.time.now(), state.settings.instance_id))
        leaked: list[Run] = []
        try:
            async with asyncio.TaskGroup() as services:
                loop = services.create_task(_guard(self._run_loop.run))
                others = [
                    services.create_task(_guard(service))
                    for service in (self._poller.run, self._poller.listen, self._keeper.run, self.settler.run)
                ]
                await self._stopping.wait()
                leaked = await self._drain(loop)
                await _end(others)
        finally:
            if watchdog is not None:
                watchdog.stop()
            state.timeline.clear()
            state.door.home = None
        state.bus.tell(SchedulerStopped(state.time.now(), state.settings.instance_id, tuple(r.job.id for r in leaked)))

    async def _drain(self, loop: asyncio.Task[None]) -> list[Run]:
        """Let what runs finish, or cancel it when time is up; write it down. Returns the runs that would not end."""
        await self._until_done_or_cut([loop])
        bodies = [run.task for run in self.state.runs if run.task is not None and not run.task.done()]
        await self._until_done_or_cut(bodies)
        for run in self.state.runs:
            if not run.is_body_done:
                run.cancel(Why.STOPPING)
        await asyncio.wait([loop, *bodies], timeout=_LAST_WORDS)
        await _end([loop])  # which may wait for the answer to a claim
        await self._write_down()
        leaked = [run for run in self.state.runs if not run.is_body_done]
        if leaked:
            _logger.warning("these jobs would not end when they were cancelled: %s", [run.job.id for run in leaked])
        return leaked

    async def _until_done_or_cut(self, tasks: list[asyncio.Task[None]]) -> None:
        if not tasks:
            return
        done = asyncio.ensure_future(asyncio.wait(tasks))
        cut = asyncio.ensure_future(self._cut.wait())
        try:
            await asyncio.wait({done, cut}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            done.cancel()
            cut.cancel()

    async def _write_down(self) -> None:
        """Settle what is over, register what is declared, let callbacks return; bounded, if the storage is down too."""
        limit = self.state.settings.storage_timeout / timedelta(seconds=1)
        flush, registering = asyncio.ensure_future(self.settler.flush()), self._declarations.under_way
        await asyncio.wait([flush, *registering], timeout=limit)
        await _end(registering)  # what is not registered waits for the next start
        if flush.done():
            return
        flush.cancel()
        results, callbacks = len(self.settler), self.settler.abandon_callbacks()
        if results:
            _logger.warning("%d results could not be written before the end; their runs will be repeated", results)
        if callbacks:
            _logger.warning("%d callbacks would not end and are cancelled", callbacks)

    def _watch(self) -> Watchdog | None:
        threshold = self.state.settings.blocked_loop_threshold
        if threshold is None or _is_simulated(self.loop):  # simulated time cannot be blocked
            return None
        try:
            return Watchdog(threshold / timedelta(seconds=1), self._job_of, self._tell_blocked)
        except RuntimeError as error:  # there are no more threads to be had
            _logger.warning("nobody will tell what blocks the event loop: %s", error)
            return None

    def _job_of(self, task: object) -> str | None:
        return next((run.job.id for run in self.state.runs if run.task is task), None) if task is not None else None

    def _tell_blocked(self, job_id: str | None, where: str, seconds: float) -> None:
        self.state.bus.tell(LoopBlocked(self.state.time.now(), job_id, where, seconds))


def _is_simulated(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether the loop's time is simulated: it must be told then of work that is done outside."""
    return hasattr(loop, "outside_work")


async def _end(services: list[asyncio.Task[None]]) -> None:
    """Cancel the services until they have ended: a driver may swallow a cancellation, and the poller would go on."""
    while going := [task for task in services if not task.done()]:
        for task in going:
            task.cancel()
        await asyncio.wait(going, timeout=_CANCELLED_AGAIN)


async def _guard(service: Callable[[], Awaitable[None]]) -> None:
    """Run a service; a defect in it is logged and costs a second, not the scheduler."""
    while True:
        try:
            await service()
        except (Exception, asyncio.CancelledError) as error:
            if is_cancellation(error):
                raise
            _logger.exception("%s failed; it goes on in a second", service)
            await asyncio.sleep(1)
        else:
            return
