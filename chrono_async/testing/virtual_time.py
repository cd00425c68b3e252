"""
Simulated time: an event loop whose clock jumps to the next timer instead of waiting for it.

A year of schedules passes in seconds, and passes the same way each time. What falls due at one instant runs in one
iteration of the loop, and a seed shuffles those who are ready together, so that a race which needs luck is found by
counting seeds. Time never moves while a thread works, and what would hang a real program, or burn its processor, is an
error here that names the tasks.
"""

import asyncio
import contextlib
import functools
import heapq
import math
import random
import threading
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from pathlib import Path
from selectors import BaseSelector
from types import FrameType
from typing import Any, Final, TypeVar, TypeVarTuple

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

_MICROSECONDS: Final = 1_000_000

# A timer is due when its instant, rounded to a whole microsecond, has come.
_RESOLUTION: Final = 0.5 / _MICROSECONDS

# How far time must move to count as progress (a millisecond): a task that re-arms itself a microsecond ahead is as busy
# as one that does not wait at all.
_PROGRESS: Final = _MICROSECONDS // 1000

# How long, in real seconds, one look at the outside lasts while something works there.
_GLANCE: Final = 0.05

# In how many of the last iterations before it gives up a loop notes who is busy.
_WATCHED_STEPS: Final = 100


class VirtualDeadlockError(AssertionError):
    """Everybody waits and nothing is left that could wake anyone: outside of a simulation this would hang for ever."""

    def __init__(self, tasks: list[str]) -> None:
        super().__init__(
            f"nothing can happen any more, and these wait:{_listing(tasks)}\n"
            "(a thread or a process that was to answer works under `loop.outside_work()`)"
        )
        self.tasks: list[str] = tasks


class VirtualLivelockError(AssertionError):
    """The loop turned and turned while time stood still: outside of a simulation this would burn a processor."""

    def __init__(self, steps: int, tasks: list[str]) -> None:
        super().__init__(f"in {steps} iterations of the loop time has not moved, and these are busy:{_listing(tasks)}")
        self.steps: int = steps
        self.tasks: list[str] = tasks


class _Hold:
    """Somebody outside works; time stands still until they end, or sleep in virtual time themselves."""

    __slots__ = ("ended",)

    def __init__(self) -> None:
        self.ended = False


# Whose work a piece of code is part of, from the outermost hold to the innermost. A context carries it into threads
# that run in a copy of it; `run_in_executor` knows no contexts, and `to_thread` lays its own over what is set there.
_holds_of_context: ContextVar[tuple[_Hold, ...]] = ContextVar("chrono_async_holds", default=())
_holds_of_thread = threading.local()


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """
    An event loop on simulated time, which is counted in whole microseconds and begins at `start` seconds.

    With a `seed`, what becomes ready together runs in a shuffled order, the same one for the same seed. Only what no
    program may rely on is shuffled (steps of tasks, timers of one instant), never the order of one transport's calls.

    `max_steps_without_progress` bounds the iterations within a virtual millisecond. `patience` is how many real seconds
    the loop waits for a thread, a signal or a file descriptor, when nothing else is left, before it says "deadlock".
    """

    # asyncio has no public seam between "what is ready?" and "run it". What is used of its inside is the same from 3.11
    # to 3.13, and this is all of it.
    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]
    _timer_cancelled_count: int
    _clock_resolution: float
    _stopping: bool
    _selector: BaseSelector
    _process_events: Callable[[list[Any]], None]
    _check_closed: Callable[[], None]

    def __init__(
        self,
        *,
        start: float = 0.0,
        seed: int | None = None,
        max_steps_without_progress: int = 100_000,
        patience: float = 1.0,
    ) -> None:
        self._dice = None if seed is None else random.Random(seed)
        self._patience = patience
        self._max_steps = max_steps_without_progress
        self._steps = 0
        self._busy: set[str] = set()
        self._holds: set[_Hold] = set()
        self._settling: list[asyncio.Future[None]] = []
        self._threads: Executor | None = None
        self._sleeping_threads: set[threading.Event] = set()
        self._begin = self._progress = round(start * _MICROSECONDS)
        self._set_time(self._begin)
        super().__init__()
        self._clock_resolution = self._resolution()

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._seconds

    @property
    def elapsed(self) -> timedelta:
        """How much virtual time has passed on this loop: exact, however long it runs."""
        return timedelta(microseconds=self._now - self._begin)

    @contextlib.contextmanager
    def outside_work(self) -> Generator[None]:
        """
        Hold the time: something that this loop cannot see (a thread, a process) works, and no timer overtakes it.

        What ends the work must wake the loop, as `call_soon_threadsafe` does.
        """
        hold = self._hold()
        outer = _holds_of_context.get()
        _holds_of_context.set((*outer, hold))
        try:
            yield
        finally:
            _holds_of_context.set(outer)
            self._release(hold)

    async def settle(self) -> None:
        """Let everything run that can run at this instant, outside work included, before time moves on."""
        settled = self.create_future()
        self._settling.append(settled)
        await settled

    # Threads ----------------------------------------------------------------------------------------------------------

    def run_in_executor(self, executor: Executor | None, func: Callable[[*_Ts], _T], *args: *_Ts) -> asyncio.Future[_T]:
        """Run `func` in a thread. Time stands still until it has ended, also when nobody waits for it any more."""
        self._check_closed()
        hold = self._hold()
        call = functools.partial(_under, (*_holds_of_context.get(), hold), func, *args)
        work = (executor or self._default_threads()).submit(call)
        result = asyncio.wrap_future(work, loop=self)
        # After wrap_future, so that the loop hears of the result before it hears that time may move.
        work.add_done_callback(lambda _: self._call_from_outside(self._release, hold))
        return result

    def sleep_in_thread(self, seconds: float) -> None:
        """
        Block a worker thread for some virtual time, as `time.sleep` does for real time; it holds no time meanwhile.

        For what runs under `outside_work` or `run_in_executor`. The end of the simulation ends it, with `RuntimeError`.
        """
        woken = threading.Event()
        holds = {*_holds_of_context.get(), *getattr(_holds_of_thread, "holds", ())}
        self._sleeping_threads.add(woken)
        self.call_soon_threadsafe(self._park, woken, holds, seconds)
        woken.wait()
        if woken in self._sleeping_threads:
            raise RuntimeError("the simulation ended while a thread slept in it")

    def set_default_executor(self, executor: ThreadPoolExecutor) -> None:  # type: ignore[override]  # asyncio's own rule
        """Use `executor` where `run_in_executor` is given none."""
        super().set_default_executor(executor)
        self._threads = executor

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for the threads to end: in real time, and without `timeout`, which would be over at once."""
        self._wake_threads()
        with self.outside_work():
            await super().shutdown_default_executor()

    def close(self) -> None:
        """Close the loop, and end the sleep of threads that sleep in its time."""
        super().close()
        self._wake_threads()

    def _default_threads(self) -> Executor:
        if self._threads is None:
            self.set_default_executor(ThreadPoolExecutor(thread_name_prefix="virtual-time"))
        return self._threads  # type: ignore[return-value]  # set in the line above

    def _hold(self) -> _Hold:
        hold = _Hold()
        self._holds.add(hold)
        return hold

    def _release(self, hold: _Hold) -> None:
        hold.ended = True
        self._holds.discard(hold)

    def _park(self, woken: threading.Event, holds: set[_Hold], seconds: float) -> None:
        self._holds.difference_update(holds)
        self.call_later(seconds, self._unpark, woken, holds)

    def _unpark(self, woken: threading.Event, holds: set[_Hold]) -> None:
        self._holds.update(hold for hold in holds if not hold.ended)
        self._sleeping_threads.discard(woken)
        woken.set()

    def _wake_threads(self) -> None:
        for woken in list(self._sleeping_threads):  # threads may add to it meanwhile
            woken.set()

    def _call_from_outside(self, callback: Callable[[_Hold], object], hold: _Hold) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed before the thread had ended
            self.call_soon_threadsafe(callback, hold)

    # One iteration ----------------------------------------------------------------------------------------------------

    def _run_once(self) -> None:
        if not self._ready and not self._stopping:
            self._wait()
        self._collect_due_timers()
        if self._dice is not None:
            self._shuffle_ready(self._dice)
        self._count_step()
        super()._run_once()  # type: ignore[misc]  # runs what is ready

    def _wait(self) -> None:
        """Return when something is ready or due; let time move only if nothing else is left."""
        while not self._ready:
            self._drop_cancelled_timers()
            if self._poll(0.0) or self._is_due():
                return
            if self._holds:
                self._steps = 0
                self._poll(_GLANCE)
            elif self._settling:
                self._tell_settled()
            elif self._next_timer() < math.inf:
                self._jump(self._next_timer())
            elif not self._poll(self._patience):
                raise VirtualDeadlockError(sorted(_describe(task) for task in asyncio.all_tasks(self)))

    def _poll(self, real_seconds: float) -> bool:
        """Ask the operating system what has happened; True if that made anything ready."""
        self._process_events(self._selector.select(real_seconds))
        return bool(self._ready)

    def _next_timer(self) -> float:
        return self._scheduled[0].when() if self._scheduled else math.inf

    def _is_due(self) -> bool:
        return bool(self._scheduled) and self._scheduled[0].when() < self._due_before

    def _jump(self, when: float) -> None:
        self._set_time(max(self._now, round(when * _MICROSECONDS)))
        if when >= self._due_before:  # just between two microseconds
            self._set_time(self._now + 1)
        self._clock_resolution = self._resolution()
        if self._now - self._progress >= _PROGRESS:
            self._progress, self._steps = self._now, 0
            self._busy.clear()

    def _set_time(self, now: int) -> None:
        self._now = now
        self._seconds = now / _MICROSECONDS
        self._due_before = self._seconds + self._resolution()

    def _resolution(self) -> float:
        # One that vanishes beside the time, as a nanosecond does after 194 days, leaves a timer almost due for ever.
        return max(_RESOLUTION, 2 * math.ulp(self._seconds))

    def _tell_settled(self) -> None:
        settling, self._settling = self._settling, []
        for settled in settling:
            if not settled.done():
                settled.set_result(None)

    def _drop_cancelled_timers(self) -> None:
        while self._scheduled and self._scheduled[0].cancelled():
            self._pop_timer()

    def _collect_due_timers(self) -> None:
        while self._is_due():
            timer = self._pop_timer()
            if not timer.cancelled():
                self._ready.append(timer)

    def _pop_timer(self) -> asyncio.TimerHandle:
        timer = heapq.heappop(self._scheduled)
        timer._scheduled = False  # type: ignore[attr-defined]  # noqa: SLF001 - the base class's account of cancelled timers
        if timer.cancelled():
            self._timer_cancelled_count -= 1
        return timer

    def _shuffle_ready(self, dice: random.Random) -> None:
        # Other threads may append meanwhile: what is there is taken from the left, and put back on the left.
        handles = [self._ready.popleft() for _ in range(len(self._ready))]
        places = [place for place, handle in enumerate(handles) if _has_no_fixed_place(handle)]
        for place, handle in zip(places, dice.sample([handles[place] for place in places], len(places)), strict=True):
            handles[place] = handle
        self._ready.extendleft(reversed(handles))

    def _count_step(self) -> None:
        self._steps += 1
        if self._steps > self._max_steps - _WATCHED_STEPS:
            self._busy.update(_describe_handle(handle) for handle in self._ready)
        if self._steps > self._max_steps:
            steps, busy = self._steps, sorted(self._busy)
            self._steps = 0
            self._busy.clear()
            raise VirtualLivelockError(steps, busy)


class VirtualClock:
    """
    The `Clock` of a simulation: `start`, and the virtual time that has passed on its loop.

    Exact to the microsecond however long the simulation runs. The loop is the running one unless another is given.
    """

    def __init__(
        self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC), *, loop: VirtualTimeLoop | None = None
    ) -> None:
        if start.utcoffset() is None:
            raise ValueError(f"start={start!r}: must be aware")
        self._start = start.astimezone(UTC)
        self._loop = _running_virtual_loop() if loop is None else loop
        self._listeners: list[Callable[[], None]] = []

    def now(self) -> datetime:
        """Return the wall time, in UTC."""
        return self._start + self._loop.elapsed

    def boot(self) -> float:
        """Return the loop's own time in seconds, which no `step` touches."""
        return self._loop.time()

    def step(self, change: timedelta) -> None:
        """Set the wall clock forward, or back, as an operator or a time service does; timers do not notice."""
        self._start += change
        for callback in tuple(self._listeners):
            callback()

    def on_set(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back at every `step`, until the function that is returned is called."""
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback)

    def skewed(self, difference: timedelta) -> "VirtualClock":
        """Return the clock of another machine in the same simulation, ahead of this one by `difference`."""
        return VirtualClock(self._start + difference, loop=self._loop)


def _under(holds: tuple[_Hold, ...], func: Callable[[*_Ts], _T], *args: *_Ts) -> _T:
    _holds_of_thread.holds = holds
    try:
        return func(*args)
    finally:
        _holds_of_thread.holds = ()


def _running_virtual_loop() -> VirtualTimeLoop:
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualTimeLoop):
        raise TypeError(f"a virtual clock needs a virtual loop, but a {type(loop).__name__} is running")
    return loop


def _has_no_fixed_place(handle: asyncio.Handle) -> bool:
    return isinstance(handle, asyncio.TimerHandle) or _task_of(handle) is not None


def _task_of(handle: asyncio.Handle) -> "asyncio.Task[Any] | None":
    owner = getattr(handle._callback, "__self__", None)  # type: ignore[attr-defined]  # noqa: SLF001 - as its repr does
    return owner if isinstance(owner, asyncio.Task) else None


def _describe_handle(handle: asyncio.Handle) -> str:
    task = _task_of(handle)
    return repr(handle) if task is None else _describe(task)


def _describe(task: "asyncio.Task[Any]") -> str:
    frame = _waiting_frame(task.get_coro())
    if frame is None:
        return task.get_name()
    return f"{task.get_name()} in {frame.f_code.co_qualname} ({Path(frame.f_code.co_filename).name}:{frame.f_lineno})"


def _waiting_frame(awaitable: object) -> FrameType | None:
    """Return the innermost frame of a suspended coroutine; of asyncio's own frames, none but the outermost."""
    found = None
    while awaitable is not None:
        frame = getattr(awaitable, "cr_frame", None) or getattr(awaitable, "gi_frame", None)
        if frame is not None and (found is None or not frame.f_globals.get("__name__", "").startswith("asyncio.")):
            found = frame
        awaitable = getattr(awaitable, "cr_await", None) or getattr(awaitable, "gi_yieldfrom", None)
    return found


def _listing(names: list[str]) -> str:
    return "".join(f"\n  - {name}" for name in names) or " none"
