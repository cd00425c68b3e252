"""
A virtual loop on which several processes live, each of which can stand still, or stop for ever.

Whatever a process does on the loop (a task's step, a timer, a future's callback) carries that process's context. So a
process that is frozen is one whose callbacks are held back until the thaw, in the order in which they came; a dead one
is never thawed. Nothing is cancelled: no `finally` runs in a process that is gone.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from typing import Any

from chrono_async.testing import VirtualTimeLoop

PROCESS: ContextVar[str] = ContextVar("process", default="")


def context_of(who: str) -> Context:
    """Return a context in which all that is done is done by this process."""
    context = copy_context()
    context.run(PROCESS.set, who)
    return context


class ProcessLoop(VirtualTimeLoop):
    """A virtual loop that knows whose callbacks it runs."""

    def __init__(self, *, seed: int) -> None:
        super().__init__(seed=seed)
        self._held: dict[str, list[asyncio.Handle]] = {}
        self.tasks: defaultdict[str, list[asyncio.Task[Any]]] = defaultdict(list)
        """All tasks that a process has ever begun."""
        self.set_task_factory(self._make_task)

    def freeze(self, who: str) -> None:
        """Hold back whatever the process would do next."""
        self._held.setdefault(who, [])

    def is_frozen(self, who: str) -> bool:
        """Whether the process stands still."""
        return who in self._held

    def thaw(self, who: str) -> None:
        """Let the process go on where it stood: all that has become due meanwhile happens now."""
        self._ready.extend(self._held.pop(who, ()))

    def thaw_all(self) -> None:
        """Let everybody go on, the dead too: they are to be cleared away."""
        for who in list(self._held):
            self.thaw(who)

    def tasks_left(self, who: str) -> list[asyncio.Task[Any]]:
        """Return the process's tasks that are not done."""
        self.tasks[who] = [task for task in self.tasks[who] if not task.done()]
        return self.tasks[who]

    def _make_task(self, loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> "asyncio.Task[Any]":
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, **options)
        context: Context | None = options.get("context")
        self.tasks[PROCESS.get() if context is None else context.get(PROCESS, "")].append(task)
        return task

    def _collect_due_timers(self) -> None:
        super()._collect_due_timers()
        if self._held:
            self._hold_back()

    def _hold_back(self) -> None:
        free: deque[asyncio.Handle] = deque()
        for handle in self._ready:
            held = self._held.get(handle._context.get(PROCESS, ""))  # type: ignore[attr-defined]
            (free if held is None else held).append(handle)
        self._ready = free
        if not free:
            self.call_soon(_nothing)  # an empty turn: the base class would wait for the next timer in real time


def _nothing() -> None:
    """Do nothing."""


def spawn(who: str, loop: ProcessLoop, work: Callable[[], Any]) -> "asyncio.Task[Any]":
    """Begin a task of this process."""
    return loop.create_task(work(), context=context_of(who))
