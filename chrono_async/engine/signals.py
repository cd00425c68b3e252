"""
The one door to signals: the first one drains, the second one cancels what still runs.
"""

import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


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
    with _received() as signals:
        async for _ in signals:
            request_stop(timeout)
            timeout = 0.0


@contextmanager
def _received() -> Iterator[AsyncIterator[signal.Signals]]:
    """Receive the signals, and hand them back to whoever had them before."""
    before = own = _handlers()
    try:
        with anyio.open_signal_receiver(*_SIGNALS) as signals:
            own = _handlers()
            yield signals
    finally:
        for number, handler in before.items():
            # One that is like our own was the loop's, which does not tell whom it would have called.
            if handler is not None and handler != own[number]:
                signal.signal(number, handler)


def _handlers() -> dict[signal.Signals, Any]:
    return {number: signal.getsignal(number) for number in _SIGNALS}
