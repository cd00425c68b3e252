"""
The eight methods of another's storage, called for one job at a time.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from uuid import uuid4
from weakref import WeakValueDictionary

from ...clock import Clock, SystemClock
from ...models import InstanceInfo, JobRecord
from .._doors import checked, in_utc
from .._hints import Hints
from .._table.history import History
from ..base import Storage
from .asked import AskedStorage

WRITE_TTL = timedelta(seconds=30)
"""How long a lock lasts that is taken for one write."""

_REMOVALS, _UNDER_WAY = 10, 0.1
"""How often a removal looks whether another's write is done, and the seconds between; then that process is dead."""
_LET_GO_WITHIN = 2.0
"""Seconds to wait for the end of a lock that was taken for one write."""


class InTurn:
    """A storage's eight methods, so called that the tasks of this process change a job one after another."""

    def __init__(self, storage: Storage, *, clock: Clock | None = None, history: int = 20) -> None:
        self._inner = AskedStorage(storage)
        self._clock = clock or SystemClock()
        self._history = History(history)
        self._hints = Hints()
        self._instances: dict[str, InstanceInfo] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._asked_for: set[str] = set()
        """Jobs with a manual request of ours: the eight methods would not show one that is paused or not due."""
        self._floor = 0

    # ── the eight ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def save_job(self, record: JobRecord) -> None:
        """Insert the record, or overwrite the one of the same id."""
        own = checked(record)
        async with self._turn(own.id):
            self._remember(await self._inner.find(own.id))
            await self._inner.save(own)
        self._hints.give()

    async def get_job(self, job_id: str) -> JobRecord:
        """Return the record of this id, or raise `JobNotFoundError`."""
        return await self._inner.get(job_id)

    async def delete_job(self, job_id: str) -> None:
        """Forget the record and its lock, or raise `JobNotFoundError`; a write that is under way is waited for."""
        for _ in range(_REMOVALS - 1):
            if await self._delete(job_id):
                break
            await asyncio.sleep(_UNDER_WAY)
        else:
            await self._delete(job_id, at_once=True)
        self._asked_for.discard(job_id)
        self._hints.give()

    async def _delete(self, job_id: str, *, at_once: bool = False) -> bool:
        """Delete the job; not while another process has its lock for a write, which would bring it back."""
        async with self._writing(job_id) as is_locked:
            record = await self._inner.find(job_id)
            if not (at_once or is_locked or record is None or record.owner is not None):
                return False
            self._remember(record)
            await self._inner.delete(job_id)
        return True

    async def list_jobs(self) -> list[JobRecord]:
        """Return all records that can be read."""
        return await self._inner.records()

    async def get_due_jobs(self, now: datetime) -> list[JobRecord]:
        """Return the records that are not paused and whose `next_run` is set and not later than `now`."""
        return await self._inner.due_records(in_utc(now, "now"))

    async def acquire_lock(self, job_id: str, owner_id: str, ttl: timedelta) -> bool:
        """Take the lock, or extend one's own; False when somebody else has it."""
        return await self._inner.lock(job_id, owner_id, ttl)

    async def release_lock(self, job_id: str, owner_id: str) -> None:
        """Give the lock back; by another than its owner nothing happens."""
        await self._inner.unlock(job_id, owner_id)

    async def close(self) -> None:
        """Close the storage within."""
        self._hints.end()
        await self._inner.close()

    def _remember(self, record: JobRecord | None) -> None:
        """Let tokens and revisions grow from what a record had that is about to go."""
        if record is not None:
            self._floor = max(self._floor, record.token, record.revision)

    # ── one job at a time ────────────────────────────────────────────────────────────────────────────────────────────

    def _turn(self, job_id: str) -> asyncio.Lock:
        """Let the tasks of this process change a job one after another."""
        lock = self._turns.get(job_id)
        if lock is None:
            self._turns[job_id] = lock = asyncio.Lock()
        return lock

    @asynccontextmanager
    async def _writing(self, job_id: str) -> AsyncIterator[bool]:
        """
        Change a job in turn, and, if nobody runs it, under its lock; whether it is.

        A run holds the lock for as long as it takes. Pausing must not wait for that: the run's own write reads again.
        """
        owner = f"write:{uuid4().hex}"
        async with self._turn(job_id):
            locked = await self._inner.lock(job_id, owner, WRITE_TTL)
            try:
                yield locked
            finally:
                if locked:
                    await self._let_go(job_id, owner)

    async def _let_go(self, job_id: str, owner: str) -> None:
        """Give a lock back; not for ever, since nobody can give up a write that ends so. It ends by itself too."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LET_GO_WITHIN):
                await self._inner.unlock(job_id, owner)
