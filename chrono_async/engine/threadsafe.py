"""
The way in from other threads.
"""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, ParamSpec, TypeVar

from ..errors import SchedulerStoppedError

P = ParamSpec("P")
T = TypeVar("T")


class ThreadSafe:
    """Calls a scheduler's verbs on its own event loop: `s.threadsafe.call(s.pause_job, "report")`."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self._loop = loop

    def submit(self, verb: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Start a verb and return its future. `SchedulerStoppedError` if the scheduler does not run."""
        if self._loop is None:
            raise SchedulerStoppedError("the scheduler does not run, so there is no loop to call it on")
        return asyncio.run_coroutine_threadsafe(verb(*args, **kwargs), self._loop)

    def call(self, verb: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a verb and return its answer. `RuntimeError` on the loop's own thread, which would wait for ever."""
        if self._loop is not None and self._loop is _running_loop():
            raise RuntimeError("this thread runs the scheduler's own event loop: await the verb instead")
        return self.submit(verb, *args, **kwargs).result()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
