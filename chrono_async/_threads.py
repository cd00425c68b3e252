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


async def call_in_thread(func: Callable[[*Arguments], Result], *args: *Arguments) -> Result:
    """
    Return `func(*args)`, called at once in a worker thread that sees the caller's context variables.

    How many there are at a time is for the caller to bound.
    """
    with outside_work():
        return await to_thread.run_sync(func, *args, limiter=CapacityLimiter(1))


def outside_work() -> AbstractContextManager[object]:
    """
    Wait in this context for a thread of one's own.

    A loop with simulated time must not jump to its next timer while a thread, which it cannot see, is at work.
    """
    enter: Callable[[], AbstractContextManager[object]] | None
    enter = getattr(asyncio.get_running_loop(), "outside_work", None)
    return nullcontext() if enter is None else enter()
