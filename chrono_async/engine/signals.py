"""
The one door to signals: the first one drains, the second one cancels what still runs.
"""

import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio


@asynccontextmanager
async def stop_on_signals(request_stop: Callable[[float | None], None], *, enabled: bool) -> AsyncIterator[None]:
    """Call `request_stop(None)` at the first SIGINT or SIGTERM and `request_stop(0)` at every further one."""
    if not enabled or threading.current_thread() is not threading.main_thread():
        yield  # only the main thread hears signals
        return
    async with anyio.create_task_group() as listeners:
        listeners.start_soon(_listen, request_stop)
        yield
        listeners.cancel_scope.cancel()


async def _listen(request_stop: Callable[[float | None], None]) -> None:
    timeout = None
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            request_stop(timeout)
            timeout = 0.0
