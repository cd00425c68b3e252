"""
The way in from other threads.
"""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, ParamSpec, TypeVar

from .._tasks import loop_here
from ..errors import SchedulerStoppedError

P = ParamSpec("P")
T = TypeVar("T")


class ThreadSafe:
    """Calls a scheduler's verbs on its own event loop: `s.threadsafe.call(s.pause_job, "report")`."""

    def __init__(self, loop_of: Callable[[], asyncio.AbstractEventLoop | None]) -> None:
        self._loop_of = loop_of  # asked with each call: a scheduler stops, and may start on another loop

    def submit(self, verb: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Start a verb and return its future. `SchedulerStoppedError` if the scheduler, or its loop, does not run."""
        loop = self._loop_of()
        if loop is None:
            raise SchedulerStoppedError("the scheduler does not run, so there is no loop to call it on")
        if not loop.is_running():
            raise SchedulerStoppedError("the scheduler's event loop does not run: nothing would answer")
        return asyncio.run_coroutine_threadsafe(verb(*args, **kwargs), loop)

    def call(self, verb: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a verb and return its answer. `RuntimeError` on the loop's own thread, which would wait for ever."""
        running = loop_here()
        if running is not None and running is self._loop_of():
            raise RuntimeError("this thread runs the scheduler's own event loop: await the verb instead")
        return self.submit(verb, *args, **kwargs).result()
