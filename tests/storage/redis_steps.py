"""
What tests of Redis are made of: storages on a namespace of their own, and somebody else at the same server.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from chrono_async.claims import ClaimRequest, Granted, Outcome, PointerMove
from chrono_async.models import Definition, Due, JobRecord, RunRecord, RunStatus
from chrono_async.storage import Call, LeasingStorage, RedisStorage
from tests import servers

MINUTE = timedelta(minutes=1)
TTL = timedelta(seconds=30)
LONG_AGO = datetime(2001, 9, 9, tzinfo=UTC)

Open = Callable[..., RedisStorage]


@pytest.fixture
def namespace() -> str:
    return uuid4().hex


@pytest.fixture
async def open_(namespace: str) -> AsyncIterator[Open]:
    """Open a storage on this process's server and this test's namespace, unless told otherwise."""
    opened: list[RedisStorage] = []

    def open_one(server: Any = None, **options: Any) -> RedisStorage:
        opened.append(RedisStorage(server or servers.redis().url, **{"namespace": namespace, **options}))
        return opened[-1]

    yield open_one
    for storage in opened:
        await storage.close()


@pytest.fixture
async def admin() -> AsyncIterator[Any]:
    """Somebody else at the same server."""
    async with Redis.from_url(servers.redis().url) as client:
        yield client


@pytest.fixture
def own_server() -> Iterator[servers.RedisServer]:
    """A server that a test may do anything to; it writes down what it answers."""
    server = servers.RedisServer("--appendonly", "yes", "--appendfsync", "always")
    server.start()
    yield server
    server.remove()


def jobs(count: int, next_run: datetime | None = LONG_AGO) -> list[JobRecord]:
    definition = Definition("every so often", "every so often, bound")
    return [JobRecord(id=f"job {n:05}", name="Job", next_run=next_run, schedule=definition) for n in range(count)]


async def put(storage: RedisStorage, records: list[JobRecord]) -> None:
    """Save many in a few round trips."""
    await storage._change(
        Call(records, attrgetter("id"), lambda table, _, some: [table.save(record) for record in some])
    )


async def all_due(storage: LeasingStorage, limit: int = 1000) -> list[Due]:
    now, found, more = datetime.now(UTC), list[Due](), True
    while more:
        page = await storage.due(now, now, limit=limit, after=found[-1] if found else None)
        found, more = found + page.due, page.more
    return found


def request(due: Due) -> ClaimRequest:
    assert due.next_run is not None
    return ClaimRequest(due.job_id, due.next_run, due.next_run, due.revision)


def let_all_read_first(count: int, *storages: RedisStorage) -> None:
    """Let nobody write before so many have read: then it is the write alone that tells who was first."""
    gate, to_wait = asyncio.Barrier(count), iter(range(count))

    def gated(ask: Callable[..., Any]) -> Callable[..., Any]:
        async def ask_and_wait(*words: Any) -> list[Any]:
            answer: list[Any] = await ask(*words)
            if next(to_wait, None) is not None:
                await gate.wait()
            return answer

        return ask_and_wait

    for storage in storages:
        storage._memory.clear()
        storage._link.ask = gated(storage._link.ask)  # type: ignore[method-assign]


async def claim(
    storage: RedisStorage, job_id: str, owner: str = "me/1", ttl: timedelta = TTL, **changes: Any
) -> Granted:
    record = await storage.get_job(job_id)
    assert record.next_run is not None
    asked = ClaimRequest(job_id, record.next_run, record.next_run, record.revision)._replace(**changes)
    (verdict,) = (await storage.claim([asked], owner, ttl)).verdicts
    assert isinstance(verdict, Granted), verdict
    return verdict


async def run(storage: RedisStorage, job_id: str, error: str = "") -> None:
    granted = await claim(storage, job_id)
    row = RunRecord(job_id, LONG_AGO, RunStatus.COMPLETED, token=granted.lease.token, error=error)
    revision = (await storage.get_job(job_id)).revision
    await storage.settle([Outcome(granted.lease, row, PointerMove(granted.next_run, revision, LONG_AGO))])


async def scripts_run(admin: Any) -> int:
    """How many round trips storages have made: each is one script."""
    stats = await admin.info("commandstats")
    return sum(stats[name]["calls"] for name in ("cmdstat_evalsha", "cmdstat_eval") if name in stats)


async def keys_of(admin: Any, namespace: str) -> set[str]:
    return {key.decode() async for key in admin.scan_iter(f"{{{namespace}}}*", count=1000)}
