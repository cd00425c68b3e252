"""
What is put in order in passing, when an instance says that it is alive: the history's bounds, and locks that a clock
which was set back would let last too long.
"""

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime

from ...errors import StorageError
from .._ledger.bounds import Bounds
from .pool import Connections

_log = logging.getLogger("chrono_async")

_CHUNK = 1000
_STEP = 1.0
"""Seconds that the server's clock must have been set back by before locks are looked through."""


class Upkeep:
    """Keeps the tables of a storage in order; what fails is tried again the next time."""

    def __init__(self, connections: Connections, bounds: Bounds) -> None:
        self._connections, self._bounds = connections, bounds
        self._written: set[str] = set()
        self._grown_by = max(1, bounds.total)
        self._ahead: float | None = None

    def note(self, job_ids: Sequence[str]) -> None:
        """Remember whose history has grown, by a row for each time that a job is named."""
        self._written.update(job_ids)
        self._grown_by += len(job_ids)

    async def run(self, now: datetime) -> None:
        """Put things in order; `now` is what the server's clock has just said."""
        try:
            await self._clamp_locks(now)
            await self._prune()
        except StorageError as error:
            _log.debug("the upkeep is put off: %s", error)

    async def _clamp_locks(self, now: datetime) -> None:
        """Look through all locks at first, and whenever the server's clock has lost time against this process's."""
        ahead, before = now.timestamp() - asyncio.get_running_loop().time(), self._ahead
        if before is None or ahead < before - _STEP:
            await self._connections.fetch("clamp_locks")
        self._ahead = ahead

    async def _prune(self) -> None:
        bounds = self._bounds
        while self._written:
            await self._prune_jobs([self._written.pop() for _ in range(min(_CHUNK, len(self._written)))])
        if self._grown_by * 100 >= bounds.total:  # to count them all is dear: it waits for the hundredth part of them
            counted = self._grown_by
            await self._connections.fetch("prune_total", bounds.total)
            self._grown_by -= counted
        if bounds.age is not None:
            await self._connections.fetch("prune_old", bounds.age)

    async def _prune_jobs(self, job_ids: list[str]) -> None:
        """Prune these, or remember them again; one that is noted meanwhile has grown, and stays noted either way."""
        try:
            await self._connections.fetch("prune_jobs", job_ids, self._bounds.of_job)
        except BaseException:
            self._written.update(job_ids)
            raise
