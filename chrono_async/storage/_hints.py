"""
Hints that something has changed, from one task of a process to others.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress


class Hints:
    """Wakes every listener, whatever loop it is on; hints that come while one is at work become one."""

    __slots__ = ("_listeners",)

    def __init__(self) -> None:
        self._listeners: list[_Listener] = []

    def give(self) -> None:
        """Tell all listeners that something has changed."""
        for listener in self._listeners.copy():
            listener.wake()

    def give_others(self) -> None:
        """Tell them of a change that one of them has made: a lone listener knows what it did itself."""
        if len(self._listeners) > 1:
            self.give()

    def end(self) -> None:
        """Let those who listen now stop."""
        for listener in self._listeners.copy():
            listener.goes_on = False
            listener.wake()

    async def listen(self) -> AsyncGenerator[None, None]:
        """Yield once for any number of changes since the last time."""
        listener = _Listener()
        self._listeners.append(listener)
        try:
            await listener.event.wait()
            while listener.goes_on:
                listener.event.clear()
                yield
                await listener.event.wait()
        finally:
            self._listeners.remove(listener)


class _Listener:
    """Who listens, and where."""

    __slots__ = ("event", "goes_on", "loop")

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.goes_on: bool = True

    def wake(self) -> None:
        """Wake it; an event may be set by nobody but its own loop."""
        if self.loop is asyncio.get_running_loop():
            self.event.set()
            return
        with suppress(RuntimeError):  # that loop has been closed, and whoever listened on it is gone
            self.loop.call_soon_threadsafe(self.event.set)


async def no_hints() -> AsyncGenerator[None, None]:
    """Yield nothing, and end at once."""
    for _ in range(0):
        yield
