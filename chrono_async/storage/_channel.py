"""
Hints over a server: each storage says that it has changed something, and hears it from all others.

A hint is a luxury: none is waited for, and one that gets lost costs no more than the wait for the next poll.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from uuid import uuid4

from ..errors import StorageError
from ._hints import Hints

_log = logging.getLogger("chrono_async")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 30.0

Send = Callable[[str], Awaitable[None]]
"""Sends a word to all that hear."""

Hear = Callable[[], AsyncGenerator[str, None]]
"""Yields an empty word when it has begun to hear, and then each that is sent, for as long as the connection holds."""


class Channel:
    """What one storage says to others, and hears from them. Its own words do not come back to it."""

    def __init__(self, send: Send, hear: Hear) -> None:
        self._send, self._hear, self._me = send, hear, uuid4().hex
        self._hints = Hints()
        self._listeners = 0
        self._hearing: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._telling: asyncio.Task[None] | None = None
        self._has_more = False

    # ── telling ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def tell(self) -> None:
        """Let others know, in passing: it neither holds up nor fails what was done."""
        self._hints.give_others()
        self._has_more = True
        if not _is_at_work(self._telling):
            self._telling = asyncio.get_running_loop().create_task(self._tell(), name="chrono-async hint")

    async def _tell(self) -> None:
        """Say once what was to be said any number of times."""
        while self._has_more:
            self._has_more = False
            try:
                await self._send(self._me)
            except StorageError as error:
                _log.debug("a hint was not given: %s", error)

    # ── listening ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def listen(self) -> AsyncGenerator[None, None]:
        """Yield once for any number of changes since the last time. All who listen here share one connection."""
        self._listeners += 1
        if not _is_at_work(self._hearing):
            self._hearing = asyncio.get_running_loop().create_task(self._keep_hearing(), name="chrono-async hints")
        try:
            async with contextlib.aclosing(self._hints.listen()) as hints:
                async for _ in hints:
                    yield
        finally:
            self._listeners -= 1
            if not self._listeners:
                self._stop_hearing()

    def _stop_hearing(self) -> None:
        """Let the connection take leave, undisturbed by who begins to listen meanwhile: that takes a new one."""
        hearing, self._hearing = self._hearing, None
        if hearing is not None and _is_at_work(hearing):
            hearing.cancel()
            self._leaving.add(hearing)
            hearing.add_done_callback(self._leaving.discard)

    async def _keep_hearing(self) -> None:
        """Hear for ever; after a connection was lost, wait a little longer each time."""
        pause = _FIRST_PAUSE
        while True:
            try:
                async with contextlib.aclosing(self._hear()) as words:
                    async for word in words:
                        pause = _FIRST_PAUSE
                        if word != self._me:
                            self._hints.give()
            except Exception as error:  # noqa: BLE001 - whatever it is, who listens hears on
                _log.debug("no hints for now: %s", error)
            await asyncio.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def close(self) -> None:
        """Let those who listen stop, and let go of the connection. What is being said is said first."""
        self._hints.end()
        self._stop_hearing()
        ours = [task for task in (*self._leaving, self._telling) if task is not None and _is_at_work(task)]
        if ours:
            await asyncio.wait(ours)


def _is_at_work(task: asyncio.Task[None] | None) -> bool:
    """Whether the task goes on; one of a loop that has ended does not."""
    return task is not None and not task.done() and task.get_loop() is asyncio.get_running_loop()
