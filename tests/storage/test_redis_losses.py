"""
What a Redis loses when it ends as no server should, and what becomes of jobs, leases and outcomes then.

Each test writes a life: a job is registered, claimed, settled, claimed again. Then the server loses some of the end of
it, in one of the ways in which servers do, and what is left must be a moment of that life, whole.
"""

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from chrono_async import AsyncScheduler, JobNotFoundError
from chrono_async.claims import ClaimRequest, Granted, Outcome, PointerMove
from chrono_async.errors import StorageError
from chrono_async.events import LeaseLost, StorageFailing
from chrono_async.models import JobRecord, RunRecord, RunStatus
from chrono_async.storage import RedisStorage
from tests import servers
from tests.chaos.proxy import Proxy

from .redis_steps import LONG_AGO, TTL, Open, jobs

NEXT = LONG_AGO + timedelta(seconds=1)
NOTHING, REGISTERED, CLAIMED, SETTLED = range(4)
"""The first moments of a life, by their numbers."""

Seen = tuple[list[JobRecord], list[RunRecord]]


@pytest.fixture
def new_server() -> Iterator[Callable[..., servers.RedisServer]]:
    """Start servers that tests may do anything to."""
    started: list[servers.RedisServer] = []

    def start(*options: str) -> servers.RedisServer:
        started.append(servers.RedisServer(*options))
        started[-1].start()
        return started[-1]

    yield start
    for server in started:
        server.remove()


class Life:
    """A job's life in so many steps, and what is seen of it after each."""

    STEPS = ("registered", "claimed", "settled", "claimed again", "paused")

    def __init__(self, storage: RedisStorage) -> None:
        self.storage, self.seen = storage, dict[str, Seen]()
        self.granted: list[Granted] = []

    async def live(self, *steps: str) -> "Life":
        """Take these steps, or all."""
        for step in steps or self.STEPS:
            await getattr(self, step.split()[0])()
            self.seen[step] = await seen_in(self.storage)
        return self

    async def registered(self) -> None:
        await self.storage.register(jobs(1)[0])

    async def claimed(self) -> None:
        self.granted.append(await claimed(self.storage, f"me/{len(self.granted)}"))

    async def settled(self) -> None:
        record, (granted,) = await self.storage.get_job("job 00000"), self.granted
        row = RunRecord("job 00000", LONG_AGO, RunStatus.COMPLETED, token=granted.lease.token)
        await self.storage.settle([Outcome(granted.lease, row, PointerMove(LONG_AGO, record.revision, NEXT))])

    async def paused(self) -> None:
        await self.storage.set_paused("job 00000")


async def seen_in(storage: RedisStorage) -> Seen:
    return await storage.list_jobs(), await storage.list_runs()


async def claimed(storage: RedisStorage, owner: str) -> Granted:
    record = await storage.get_job("job 00000")
    assert record.next_run is not None
    asked = ClaimRequest(record.id, record.next_run, record.next_run, record.revision)
    (verdict,) = (await storage.claim([asked], owner, TTL)).verdicts
    assert isinstance(verdict, Granted), verdict
    return verdict


# ── what is written down ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("sync", ["always", "no"])
async def test_a_server_that_is_killed_loses_nothing_that_it_had_written_down(
    open_: Open, new_server: Callable[..., servers.RedisServer], sync: str
) -> None:
    """It writes before it answers, so that the kernel has it: to sync it is only against a crash of the machine."""
    server = new_server("--appendonly", "yes", "--appendfsync", sync)
    life = await Life(open_(server.url)).live()
    server.kill()
    with pytest.raises(StorageError):
        await life.storage.list_jobs()
    server.start()
    assert await seen_in(life.storage) == life.seen["paused"]
    lease = life.granted[-1].lease
    assert (await life.storage.renew([lease], TTL)).lost == []


def log_of(server: servers.RedisServer) -> Path:
    """Return the file to which the server appends what it does."""
    (log,) = (server.folder / "appendonlydir").glob("*.incr.aof")
    return log


async def test_of_a_log_without_its_end_all_that_is_left_is_whole(
    open_: Open, new_server: Callable[..., servers.RedisServer]
) -> None:
    """
    As after a crash of the machine that had not synced it: at whichever byte it ends, and in the middle of a write.

    What is left is a moment of the past, never half a change; and tokens grow all the same.
    """
    server = new_server("--appendonly", "yes", "--appendfsync", "always")
    life = await Life(open_(server.url)).live()
    server.kill()
    log, whole = log_of(server), log_of(server).read_bytes()
    moments = [([], []), *life.seen.values()]
    found = []
    for end in range(len(whole) // 24, len(whole), len(whole) // 24):
        log.write_bytes(whole[:end])
        server.start()
        found.append(moments.index(await seen_in(life.storage)))
        await is_lived_on_from(life, found[-1])
        await life.storage.close()
        server.kill()
    assert found == sorted(found)
    assert set(found) >= set(range(len(moments) - 1)), "each moment must have been seen"


async def is_lived_on_from(life: Life, moment: int) -> None:
    """See what becomes of the leases, and of the run whose outcome is forgotten."""
    if moment == NOTHING:
        assert (await life.storage.renew([life.granted[0].lease], TTL)).lost == [life.granted[0].lease]
    elif moment == REGISTERED:
        await another_gets_it(life.storage, life.granted[0])
    elif moment == CLAIMED:
        await it_is_run_again(life.storage, life.granted[0])
    elif moment == SETTLED:
        await another_gets_it(life.storage, life.granted[1])
    else:
        assert (await life.storage.renew([life.granted[1].lease], TTL)).lost == []


async def another_gets_it(storage: RedisStorage, forgotten: Granted) -> None:
    """See a claim that is forgotten: its owner finds the lease lost, and another may begin meanwhile."""
    assert (await storage.renew([forgotten.lease], TTL)).lost == [forgotten.lease]
    assert (await claimed(storage, "other/1")).lease.token > forgotten.lease.token


async def it_is_run_again(storage: RedisStorage, done: Granted) -> None:
    """See an outcome that is forgotten: its run is repeated when the lease, which is not, has run out."""
    await storage.release_lock("job 00000", done.lease.owner)  # as if it had
    again = await claimed(storage, "other/1")
    assert (again.attempt, again.next_run) == (2, LONG_AGO)
    assert again.lease.token > done.lease.token


async def test_a_snapshot_is_what_is_left_where_nothing_else_is_written(
    open_: Open, new_server: Callable[..., servers.RedisServer]
) -> None:
    """All since then is lost, as whole as it was."""
    server = new_server()
    life = await Life(open_(server.url)).live("registered", "claimed")
    async with Redis.from_url(server.url) as client:
        await client.save()
    await life.live("settled", "claimed again", "paused")
    server.kill()
    server.start()
    assert await seen_in(life.storage) == life.seen["claimed"]
    assert (await life.storage.renew([life.granted[1].lease], TTL)).lost == [life.granted[1].lease]


# ── a failover ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_replica_that_takes_over_has_what_it_had_received(
    open_: Open, new_server: Callable[..., servers.RedisServer]
) -> None:
    """An outcome that it had not is forgotten, and its run is repeated, under a greater token."""
    primary = new_server("--repl-diskless-sync-delay", "0")
    replica = new_server("--replicaof", "127.0.0.1", str(primary.port))
    life = await Life(open_(primary.url)).live("registered", "claimed")
    async with Redis.from_url(primary.url, socket_timeout=None) as client:
        there = client.client()  # one connection: it is its own writes that a connection waits for
        await there.set("marker", 1)
        assert await there.execute_command("WAIT", 1, 60_000) == 1
        await there.aclose()
    async with Redis.from_url(replica.url) as client:
        await client.execute_command("REPLICAOF", "NO", "ONE")
    await life.live("settled", "claimed again", "paused")
    primary.kill()
    storage = open_(replica.url)
    assert await seen_in(storage) == life.seen["claimed"]
    assert (await storage.renew([life.granted[1].lease], TTL)).lost == [life.granted[1].lease]
    await it_is_run_again(storage, life.granted[0])


async def test_behind_one_address_whoever_writes_after_a_failover_is_found(
    open_: Open, new_server: Callable[..., servers.RedisServer]
) -> None:
    """Although the server that wrote before lives on, as a replica, and keeps its connections open."""
    before = new_server("--repl-diskless-sync-delay", "0")
    after = new_server("--replicaof", "127.0.0.1", str(before.port))
    ports = [before.port]
    address = Proxy(lambda: asyncio.open_connection("127.0.0.1", ports[-1]))
    await address.start()
    storage = open_(f"redis://127.0.0.1:{address.port}")
    await storage.save_job(JobRecord(id="a", run_count=1))
    ports.append(after.port)
    for server, primary in ((after, ("NO", "ONE")), (before, ("127.0.0.1", after.port))):
        async with Redis.from_url(server.url) as client:
            await client.execute_command("REPLICAOF", *primary)
    with pytest.raises(StorageError, match="ReadOnlyError"):
        await storage.save_job(JobRecord(id="a", run_count=2))
    await storage.save_job(JobRecord(id="a", run_count=3))
    assert await seen_in(storage) == await seen_in(open_(after.url))
    await address.close()


# ── all of it, and no room ───────────────────────────────────────────────────────────────────────────────────────────


class Work:
    """A job's function that says that it has begun, and ends when it may."""

    def __init__(self) -> None:
        self.begun, self.may_end, self.ended = asyncio.Event(), asyncio.Event(), asyncio.Queue[str]()

    async def __call__(self) -> None:
        self.begun.set()
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.ended.put_nowait("cancelled")
            raise
        self.ended.put_nowait("done")


async def test_after_flushall_jobs_are_there_again_when_their_code_is_started_again(
    open_: Open, own_server: servers.RedisServer
) -> None:
    """The run that goes on is cancelled, since its lease is lost; the job counts from now."""
    work, lost = Work(), asyncio.Queue[object]()
    async with AsyncScheduler(storage=open_(own_server.url), lock_ttl=3, storage_poll_interval=0.3) as scheduler:
        scheduler.subscribe(lost.put_nowait, LeaseLost)
        await scheduler.add_interval_job("job", "", work, 0.1)
        await work.begun.wait()
        async with Redis.from_url(own_server.url) as client:
            await client.flushall()
        async with asyncio.timeout(30):
            assert await work.ended.get() == "cancelled"
            await lost.get()
        with pytest.raises(JobNotFoundError):
            await scheduler.get_job("job")
        assert await scheduler.list_jobs() == []
    async with AsyncScheduler(storage=open_(own_server.url), storage_poll_interval=0.3) as scheduler:
        work.may_end.set()
        info = await scheduler.add_interval_job("job", "", work, 0.1)
        assert info.run_count == 0
        assert (await scheduler.wait_for_job("job", timeout=30)).error is None


async def test_a_server_without_room_fails_calls_until_there_is_some_and_loses_nothing(
    open_: Open, own_server: servers.RedisServer
) -> None:
    """Not a key of a change is written, so that none is half there; a result is kept until it can be written."""
    storage, work, failing = open_(own_server.url), Work(), asyncio.Queue[object]()
    async with (
        Redis.from_url(own_server.url) as client,
        AsyncScheduler(storage=open_(own_server.url), storage_poll_interval=0.3) as scheduler,
    ):
        scheduler.subscribe(failing.put_nowait, StorageFailing)
        await scheduler.add_one_shot_job("job", "", work, 0.01)
        await work.begun.wait()
        await client.config_set("maxmemory", 1)
        before = await keys_and_values(client)
        for call in (storage.register(jobs(1)[0]), storage.set_paused("job"), storage.acquire_lock("a", "me", TTL)):
            with pytest.raises(StorageError, match="memory"):
                await call
        assert await keys_and_values(client) == before
        work.may_end.set()
        async with asyncio.timeout(30):
            await failing.get()
        assert (await storage.get_job("job")).run_count == 0
        await client.config_set("maxmemory", 0)
        assert (await scheduler.wait_for_job("job", timeout=60)).error is None
        assert (await storage.get_job("job")).run_count == 1


async def keys_and_values(client: Any) -> dict[bytes, bytes]:
    """Return all that the server holds, but for who is alive."""
    keys = sorted([key async for key in client.scan_iter(b"*")])
    return {key: await client.dump(key) for key in keys if not key.endswith((b":instances", b":seen"))}
