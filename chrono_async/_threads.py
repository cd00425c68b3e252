"""
The one door to worker threads.

A thread cannot be stopped. Whoever waits for one and is cancelled goes on at once, and the thread ends when it does:
what must be heard to the end belongs in a task of its own.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar, TypeVarTuple

from anyio import CapacityLimiter, to_thread

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


async def run_in_thread(
    func: Callable[[*Arguments], Result], *args: *Arguments, limiter: CapacityLimiter | None = None
) -> Result:
    """
    Return `func(*args)`, called in a worker thread that sees the caller's context variables.

    `limiter` bounds how many threads work at once; without one, anyio's own bound of forty a loop holds.
    """
    async with limiter or to_thread.current_default_thread_limiter():
        with outside_work():  # and not while it waits for its turn: those before it need time to pass
            return await to_thread.run_sync(func, *args, limiter=CapacityLimiter(1))


def outside_work() -> AbstractContextManager[object]:
    """
    Wait in this context for a thread of one's own.

    A loop with simulated time must not jump to its next timer while a thread, which it cannot see, is at work.
    """
    enter: Callable[[], AbstractContextManager[object]] | None
    enter = getattr(asyncio.get_running_loop(), "outside_work", None)
    return nullcontext() if enter is None else enter()
