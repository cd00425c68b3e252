"""
Hints that something has changed, from one task of a process to others.
"""

import asyncio
from collections.abc import AsyncGenerator


class Hints:
    """Wakes every listener; hints that come while one is at work become one."""

    __slots__ = ("_listeners",)

    def __init__(self) -> None:
        self._listeners: dict[asyncio.Event, bool] = {}

    def give(self) -> None:
        """Tell all listeners that something has changed."""
        for event in self._listeners:
            event.set()

    def give_others(self) -> None:
        """Tell them of a change that one of them has made: a lone listener knows what it did itself."""
        if len(self._listeners) > 1:
            self.give()

    def end(self) -> None:
        """Let those who listen now stop."""
        for event in self._listeners:
            self._listeners[event] = False
            event.set()

    async def listen(self) -> AsyncGenerator[None, None]:
        """Yield once for any number of changes since the last time."""
        event = asyncio.Event()
        self._listeners[event] = True
        try:
            await event.wait()
            while self._listeners[event]:
                event.clear()
                yield
                await event.wait()
        finally:
            del self._listeners[event]


async def no_hints() -> AsyncGenerator[None, None]:
    """Yield nothing, and end at once."""
    for _ in range(0):
        yield
