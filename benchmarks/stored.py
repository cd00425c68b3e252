"""
What do N stored jobs cost an instance that has nothing to do with them: a poll, a claim?

None of the N is due before tomorrow. A poll is `due()` for what comes within the horizon of a poll every 30 seconds;
claims are of 500 more jobs, due by now, a hundred at a time, each settled before the next.
"""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from ._measure import Question, Sample

POLL = "ms a poll"
QUESTION = Question("stored", __doc__, sizes=(1_000, 100_000, 1_000_000), compared={}, repeats=3)
DUE, POLLS = 500, 30
_CHUNK, _CLAIMS = 500, 100
_HORIZON = timedelta(seconds=46)


async def measure(size: int, storage: Any) -> Sample:
    now = datetime.now(UTC)
    tomorrow = now + timedelta(days=1)
    await _register(storage, [(f"far-{n}", tomorrow + timedelta(seconds=n * 7919 % 86_400)) for n in range(size)])
    polls = [await _poll(storage) for _ in range(POLLS)]
    await _register(storage, [(f"due-{n}", now + timedelta(seconds=1)) for n in range(DUE)])
    await asyncio.sleep(1.1)
    claims = await _claim_all(storage)
    await storage.close()
    return {POLL: median(polls) * 1e3, "us a claim and settle": claims / DUE * 1e6, "jobs": size}


async def _register(storage: Any, jobs: Sequence[tuple[str, datetime]]) -> None:
    """Register many at once, as the public verb does one at a time."""
    from chrono_async import JobRecord
    from chrono_async.storage import Call, Definition

    definition = Definition("{}", "{}")

    def register(table: Any, at: Any, some: Sequence[JobRecord]) -> list[Any]:
        return [table.register(record, at.now) for record in some]

    for start in range(0, len(jobs), _CHUNK):
        some = jobs[start : start + _CHUNK]
        records = [JobRecord(job_id, "Job", next_run=at, schedule=definition) for job_id, at in some]
        await storage._change(Call(records, attrgetter("id"), register, floors=True))  # noqa: SLF001 - see above


async def _poll(storage: Any) -> float:
    now, begun = datetime.now(UTC), time.perf_counter()
    page = await storage.due(now, now + _HORIZON)
    assert not page.due
    return time.perf_counter() - begun


async def _claim_all(storage: Any) -> float:
    from chrono_async import RunRecord, RunStatus
    from chrono_async.storage import ClaimRequest, Outcome, PointerMove

    now = datetime.now(UTC)
    due = (await storage.due(now, now + timedelta(seconds=5))).due
    assert len(due) == DUE
    begun = time.perf_counter()
    for start in range(0, DUE, _CLAIMS):
        some = due[start : start + _CLAIMS]
        requests = [ClaimRequest(one.job_id, one.next_run, one.next_run, one.revision) for one in some]
        granted = (await storage.claim(requests, f"me/{start}", timedelta(minutes=5))).verdicts
        outcomes = [
            Outcome(
                grant.lease,
                RunRecord(one.job_id, one.next_run, RunStatus.COMPLETED, "me", 1, grant.lease.token),
                PointerMove(grant.next_run, one.revision, None),
            )
            for one, grant in zip(some, granted, strict=True)
        ]
        await storage.settle(outcomes)
    return time.perf_counter() - begun


@QUESTION.contestant("SQLite")
async def sqlite(size: int) -> Sample:
    from chrono_async.storage import SQLiteStorage

    with TemporaryDirectory() as folder:
        return await measure(size, SQLiteStorage(Path(folder, "jobs.db")))


@QUESTION.contestant("PostgreSQL")
async def postgres(size: int) -> Sample:
    from chrono_async.storage import PostgresStorage
    from tests import servers

    return await measure(size, PostgresStorage(servers.postgres().dsn))


@QUESTION.contestant("Redis")
async def redis(size: int) -> Sample:
    from chrono_async.storage import RedisStorage
    from tests import servers

    return await measure(size, RedisStorage(servers.redis().url))


if __name__ == "__main__":
    QUESTION.main()
