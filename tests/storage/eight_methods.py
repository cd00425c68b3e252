"""
The least that a storage can be: the seed's eight methods on two dictionaries, with nothing of ours but the record.
"""

import asyncio
from datetime import datetime, timedelta

from chrono_async.clock import Clock
from chrono_async.errors import JobNotFoundError
from chrono_async.models import JobRecord


class EightMethodStorage:
    """Suspends around each call, as one at the other end of a wire would: that is where races live."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.jobs: dict[str, JobRecord] = {}
        self.locks: dict[str, tuple[str, float]] = {}

    async def save_job(self, record: JobRecord) -> None:
        await asyncio.sleep(0)
        self.jobs[record.id] = record.copy()
        await asyncio.sleep(0)

    async def get_job(self, job_id: str) -> JobRecord:
        await asyncio.sleep(0)
        if job_id not in self.jobs:
            raise JobNotFoundError(job_id)
        record = self.jobs[job_id].copy()
        await asyncio.sleep(0)
        return record

    async def delete_job(self, job_id: str) -> None:
        await asyncio.sleep(0)
        if self.jobs.pop(job_id, None) is None:
            raise JobNotFoundError(job_id)
        self.locks.pop(job_id, None)

    async def list_jobs(self) -> list[JobRecord]:
        await asyncio.sleep(0)
        return [record.copy() for record in self.jobs.values()]

    async def get_due_jobs(self, now: datetime) -> list[JobRecord]:
        await asyncio.sleep(0)
        return [r.copy() for r in self.jobs.values() if not r.paused and r.next_run is not None and r.next_run <= now]

    async def acquire_lock(self, job_id: str, owner_id: str, ttl: timedelta) -> bool:
        await asyncio.sleep(0)
        owner, until = self.locks.get(job_id, (owner_id, 0.0))
        if owner != owner_id and until > self.clock.boot():
            return False
        self.locks[job_id] = (owner_id, self.clock.boot() + ttl.total_seconds())
        return True

    async def release_lock(self, job_id: str, owner_id: str) -> None:
        await asyncio.sleep(0)
        if self.locks.get(job_id, ("", 0.0))[0] == owner_id:
            del self.locks[job_id]

    async def close(self) -> None:
        await asyncio.sleep(0)
