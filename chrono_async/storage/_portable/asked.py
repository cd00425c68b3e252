"""
A user's storage, asked with care: what it answers is checked, what it raises is translated.
"""

import asyncio
import logging
from collections.abc import Awaitable, Iterable
from datetime import datetime, timedelta
from typing import TypeVar

from ..._tasks import is_cancellation
from ...errors import ChronoError, JobNotFoundError, StorageError
from ...models import JobRecord
from .._doors import checked
from .._told import Told
from ..base import Storage

_log = logging.getLogger("chrono_async")

_SEED_FIELDS = (
    "name", "status", "paused", "last_run", "next_run", "run_count", "error_count", "last_error",
)  # fmt: skip

Answer = TypeVar("Answer")


class AskedStorage:
    """
    The eight methods of another's storage.

    One that keeps only the nine fields that the Go original has will do: the others are then remembered here, for
    this process.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._told = Told()
        self._keeps_all: bool | None = None
        self._remembered: dict[str, JobRecord] = {}

    @property
    def what_is_forgotten(self) -> str:
        """Say, where it is so, what the storage does not keep; empty where it keeps all, or nothing is known yet."""
        if self._keeps_all is not False:
            return ""
        return "; claims and schedules, which this storage does not keep, are known to the process that they come from"

    async def save(self, record: JobRecord) -> None:
        """Save a copy of the record; the first time, see what is left of it."""
        await _ask(self.storage.save_job(record.copy()))
        if self._keeps_all is None and (record.token or record.revision):
            await self._see_what_is_kept(record)
        if self._keeps_all is False:
            self._remembered[record.id] = record.copy()

    async def _see_what_is_kept(self, record: JobRecord) -> None:
        kept = await self.find(record.id)
        if kept is not None:
            # What others have written meanwhile differs too; only what is not kept at all comes back as nothing.
            self._keeps_all = bool(kept.token or not record.token) and bool(kept.revision or not record.revision)
            if not self._keeps_all:
                _log.warning("%s keeps only some fields of a record", type(self.storage).__name__)

    async def find(self, job_id: str) -> JobRecord | None:
        """Return the job's record, or None when there is none."""
        answer: object
        try:
            answer = await _ask(self.storage.get_job(job_id))
        except JobNotFoundError:
            return None
        return None if answer is None else self._whole(_own(answer))

    def _whole(self, record: JobRecord) -> JobRecord:
        """Return the record with the fields that the storage does not keep, as they were last saved from here."""
        remembered = self._remembered.get(record.id)
        if remembered is None:
            return record
        whole = remembered.copy()
        for name in _SEED_FIELDS:
            setattr(whole, name, getattr(record, name))
        return whole

    async def get(self, job_id: str) -> JobRecord:
        """Return the job's record, or raise `JobNotFoundError`."""
        record = await self.find(job_id)
        if record is None:
            raise JobNotFoundError(job_id)
        return record

    async def delete(self, job_id: str) -> None:
        """Delete the job, or raise `JobNotFoundError`."""
        self._remembered.pop(job_id, None)
        await _ask(self.storage.delete_job(job_id))

    async def records(self) -> list[JobRecord]:
        """Return all records that can be read."""
        return self._readable(await _ask(self.storage.list_jobs()), "list_jobs")

    async def due_records(self, now: datetime) -> list[JobRecord]:
        """Return what the storage says is due, without what is not."""
        records = self._readable(await _ask(self.storage.get_due_jobs(now)), "get_due_jobs")
        due = [record for record in records if not record.paused and record.next_run and record.next_run <= now]
        if len(due) < len(records):
            self._told.warning("get_due_jobs: jobs that are paused or not due are passed over")
        return due

    def _readable(self, answer: object, method: str) -> list[JobRecord]:
        """Return the records in an answer, each once; what else it holds is logged, once, and left."""
        if not isinstance(answer, Iterable):
            self._told.warning(f"{method}: the storage answered {answer!r:.200} instead of a list of records")
            return []
        records: dict[str, JobRecord] = {}
        for item in answer:
            try:
                record = _own(item)
            except StorageError as error:
                self._told.warning(f"{method}: {error}")
            else:
                records.setdefault(record.id, self._whole(record))
        return list(records.values())

    async def lock(self, job_id: str, owner: str, ttl: timedelta) -> bool:
        """Take or extend the lock; anything but a clear yes is a no."""
        return await _ask(self.storage.acquire_lock(job_id, owner, ttl)) is True

    async def unlock(self, job_id: str, owner: str) -> None:
        """Give the lock back."""
        await _ask(self.storage.release_lock(job_id, owner))

    async def close(self) -> None:
        """Close the storage."""
        await _ask(self.storage.close())


async def _ask(question: Awaitable[Answer]) -> Answer:
    """Await a storage's answer; whatever else it raises becomes a `StorageError`."""
    try:
        return await question
    except ChronoError:
        raise
    except asyncio.CancelledError as error:
        if is_cancellation(error):
            raise
        raise StorageError("the storage cancelled its own answer") from error
    except Exception as error:
        raise StorageError(f"the storage failed: {error!r}") from error


def _own(answer: object) -> JobRecord:
    """Return a record of our own with the same values, if it is one."""
    try:
        return checked(answer).copy()
    except (ChronoError, AttributeError) as error:
        raise StorageError(f"the storage gave a record that cannot be read: {error}") from error
