"""
Hints by pub/sub: one channel a namespace, on which each storage says that it has changed something.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

from ..errors import StorageError
from ._hints import Hints
from ._redis_link import Link, translated

_log = logging.getLogger("chrono_async")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 30.0
_LOOK_UP = 15.0
"""How often a listener that hears nothing sees whether its connection is still there."""


class Channel:
    """What one storage says to others, and hears from them. Its own words do not come back to it."""

    def __init__(self, link: Link) -> None:
        self._link, self._name, self._me = link, f"{link.prefix}changes", uuid4().hex
        self._hints = Hints()
        self._listeners = 0
        self._hearing: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._has_more = False

    # ── telling ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def tell(self) -> None:
        """Let others know, in passing: it neither holds up nor fails what was done."""
        self._hints.give_others()
        self._has_more = True
        if self._telling is None or self._telling.done() or not _is_here(self._telling):
            self._telling = asyncio.get_running_loop().create_task(self._tell(), name="chrono-async redis hint")

    async def _tell(self) -> None:
        """Say once what was to be said any number of times."""
        while self._has_more:
            self._has_more = False
            try:
                await self._link.publish(self._name, self._me)
            except StorageError as error:
                _log.debug("a hint was not given: %s", error)

    # ── listening ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def listen(self) -> AsyncIterator[None]:
        """Yield once for any number of changes since the last time. All who listen here share one connection."""
        self._listeners += 1
        if self._hearing is None or self._hearing.done() or not _is_here(self._hearing):
            self._hearing = asyncio.get_running_loop().create_task(self._hear(), name="chrono-async redis hints")
        try:
            async for _ in self._hints.listen():
                yield
        finally:
            self._listeners -= 1
            if not self._listeners:
                self._hearing.cancel()

    async def _hear(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                with translated():
                    async for _ in self._heard():
                        pause = _FIRST_PAUSE
                        self._hints.give()
            except StorageError as error:
                _log.debug("no hints for now: %s", error)
            await asyncio.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _heard(self) -> AsyncIterator[None]:
        """Yield when one is listening, since anything may have been said before, and at each word of another's."""
        client: Any = await self._link.client()
        async with client.pubsub() as pubsub:
            await pubsub.subscribe(self._name)
            while True:
                message = await pubsub.get_message(timeout=_LOOK_UP)
                if message is not None and self._is_news(message):
                    yield

    def _is_news(self, message: dict[str, Any]) -> bool:
        return message["type"] == "subscribe" or message["data"] not in {self._me, self._me.encode()}

    async def close(self) -> None:
        """Say what is left to say, and stop listening."""
        self._hints.end()
        telling, hearing = self._telling, self._hearing
        self._telling = self._hearing = None
        if hearing is not None and _is_here(hearing):
            hearing.cancel()
            await asyncio.wait([hearing])
        if telling is not None and _is_here(telling):
            await asyncio.wait([telling])


def _is_here(task: asyncio.Task[None]) -> bool:
    return task.get_loop() is asyncio.get_running_loop()
