"""What becomes of a storage when connections, the server, or what lies in it are not as they should be."""

import asyncio
import contextlib
import gc
import subprocess
import sys
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.crc import key_slot

from chrono_async import AsyncScheduler, current_run
from chrono_async.claims import Gone, Granted
from chrono_async.errors import InvalidOptionError, StorageCorruptError, StorageError
from chrono_async.models import InstanceInfo, JobRecord, RunStatus, Trigger
from chrono_async.storage import RedisStorage, open_storage
from chrono_async.storage._redis.link import WRITE
from tests import servers

from .redis_steps import LONG_AGO, TTL, Open, all_due, claim, jobs, keys_of, put, request, run

HEAD = b"1900000000000000 0000000000000000 "

# ── what lies in the server ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "damage", [b"", b"nonsense", b"x\ny", b"\xff", b"=", *(HEAD + row for row in (b"[1,2", b"{}", b"[1]", b"1],[2"))]
)
async def test_a_row_that_cannot_be_read_costs_that_job(
    open_: Open, admin: Any, namespace: str, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    """It is left as it is, reported once, and the others are listed, found due, claimed and settled."""
    storage = open_()
    await put(storage, jobs(5))
    page = await storage.due(LONG_AGO, LONG_AGO, limit=3)
    await admin.hset(f"{{{namespace}}}:jobs", "job 00001", damage or b" ")
    assert [record.id for record in await storage.list_jobs()] == [f"job 0000{n}" for n in (0, 2, 3, 4)]
    assert [due.job_id for due in await all_due(storage, limit=1)] == [f"job 0000{n}" for n in (0, 2, 3, 4)]
    assert len(await storage.get_due_jobs(LONG_AGO)) == 4
    verdicts = (await storage.claim([request(due) for due in page.due], "me/1", TTL)).verdicts
    assert [type(verdict) for verdict in verdicts] == [Granted, Gone, Granted]
    assert list((await storage.due(LONG_AGO, LONG_AGO)).unreadable) == ["job 00001"]
    record = jobs(2)[1]
    for call in (
        storage.get_job("job 00001"), storage.register(record), storage.save_job(record),
        storage.acquire_lock("job 00001", "me", TTL),
    ):  # fmt: skip
        with pytest.raises(StorageCorruptError, match="job 00001") as refused:
            await call
        assert refused.value.job_id == "job 00001"
    assert await admin.hget(f"{{{namespace}}}:jobs", "job 00001") == (damage or b" ")
    assert caplog.text.count("job 00001") == 1


async def test_all_keys_lie_in_one_slot(open_: Open, admin: Any, namespace: str) -> None:
    """So that a script may use them all on a cluster."""
    storage = open_()
    await put(storage, jobs(3))
    await run(storage, "job 00000")
    await claim(storage, "job 00001", moves=True, moves_to=None)
    await storage.heartbeat(InstanceInfo("me", LONG_AGO, LONG_AGO))
    keys = await keys_of(admin, namespace)
    assert len(keys) == 11
    assert len({key_slot(key.encode()) for key in keys}) == 1


async def test_a_cluster_is_a_server(caplog: pytest.LogCaptureFixture) -> None:
    """Behind a client for clusters: each verb finds its slot, and no script touches a key outside."""
    server = servers.RedisServer("--cluster-enabled", "yes", "--cluster-port", str(servers._free_port()))
    server.start()
    try:
        async with Redis.from_url(server.url) as node:
            await node.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            while b"cluster_state:ok" not in await node.execute_command("CLUSTER", "INFO"):
                pass
        async with RedisCluster.from_url(server.url) as cluster:
            storage = RedisStorage(cluster)
            await put(storage, jobs(3))
            async with asyncio.timeout(10):
                await anext(storage.changes())
            await run(storage, "job 00000")
            assert len(await all_due(storage)) == len(await storage.list_jobs()) == 3
            await storage.heartbeat(InstanceInfo("me", LONG_AGO, LONG_AGO))
            assert [row.job_id for row in await storage.list_runs()] == ["job 00000"]
            assert not caplog.records
            await storage.close()
    finally:
        server.remove()


@pytest.mark.parametrize("bad", ["", "a{b", "}"])
def test_a_namespace_must_be_fit_for_a_key(bad: str) -> None:
    """Braces would say something else to a cluster."""
    with pytest.raises(InvalidOptionError, match="namespace"):
        RedisStorage("redis://", namespace=bad)


@pytest.mark.parametrize("bad", ["http://user:secret@host", "host:6379", "redis://host:port:port/x"])
def test_a_url_is_looked_at_at_once(bad: str) -> None:
    """And a password in it is not repeated."""
    with pytest.raises(InvalidOptionError, match="url") as caught:
        RedisStorage(bad)
    assert "secret" not in str(caught.value)
    with pytest.raises(InvalidOptionError, match="max_connections"):
        RedisStorage("redis://host", max_connections=0)


async def test_what_cannot_be_read_of_runs_and_instances_is_left_out(open_: Open, admin: Any, namespace: str) -> None:
    """The others are listed, and outcomes are compared with them."""
    storage = open_()
    await put(storage, jobs(1))
    for _ in range(3):
        await run(storage, "job 00000")
    number, *_ = sorted(await admin.hkeys(f"{{{namespace}}}:runs"))
    await admin.hset(f"{{{namespace}}}:runs", number, b"[1]")
    assert len(await storage.list_runs()) == len(await storage.list_runs("job 00000")) == 2
    await storage.trigger("job 00000", Trigger(LONG_AGO))
    for name in ("bad", "good"):
        await storage.heartbeat(InstanceInfo(name, LONG_AGO, LONG_AGO))
    await admin.hset(f"{{{namespace}}}:instances", "bad", "nonsense")
    assert [instance.instance_id for instance in await storage.list_instances()] == ["good"]


def test_a_url_leads_here() -> None:
    """And nothing connects before it is used."""
    assert isinstance(open_storage("redis://nowhere.invalid"), RedisStorage)
    assert isinstance(open_storage("rediss://nowhere.invalid"), RedisStorage)


# ── servers and connections that fail ─────────────────────────────────────────────────────────────────────────────────


async def test_a_server_that_is_not_there_is_a_storage_error() -> None:
    """With the driver's own error as its cause."""
    storage = RedisStorage("redis://127.0.0.1:1", timeout=2)
    with pytest.raises(StorageError, match="redis: ConnectionError") as caught:
        await storage.list_jobs()
    assert isinstance(caught.value.__cause__, ConnectionError | Exception)
    assert type(caught.value.__cause__).__module__.startswith("redis")


async def test_scripts_that_a_server_has_forgotten_are_sent_again(open_: Open, admin: Any) -> None:
    """After SCRIPT FLUSH, and after a failover to a server that never had them."""
    storage = open_()
    await put(storage, jobs(1))
    await admin.script_flush()
    await run(storage, "job 00000")
    await admin.script_flush()
    assert len(await storage.list_runs()) == 1


async def test_killed_connections_are_made_anew(open_: Open, admin: Any) -> None:
    """Between two calls nobody notices."""
    storage = open_()
    await put(storage, jobs(20))
    for _ in range(3):
        await admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await asyncio.gather(*(storage.get_job(record.id) for record in jobs(20)))


async def test_a_connection_killed_within_a_write_is_an_unknown_outcome(
    open_: Open, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call fails as a storage's call does, and is not sent again behind its asker's back."""
    storage = open_()
    await put(storage, jobs(1))
    real = storage._link.run

    async def paused(script: Any, *words: Any) -> list[Any]:
        if script is WRITE:
            await admin.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
        return await real(script, *words)

    monkeypatch.setattr(storage._link, "run", paused)
    call = asyncio.create_task(storage.set_paused("job 00000"))
    while not await waits_at_the_server(admin):
        pass
    await admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    with pytest.raises(StorageError):
        await call
    await admin.execute_command("CLIENT", "UNPAUSE")
    monkeypatch.undo()
    assert not (await storage.get_job("job 00000")).paused
    assert (await storage.set_paused("job 00000")).paused


async def waits_at_the_server(admin: Any) -> bool:
    return any("b" in client["flags"] for client in await admin.client_list())


async def test_an_answer_that_does_not_come_is_waited_for_in_vain_for_so_long(open_: Open, admin: Any) -> None:
    """A server that hangs must not hang its clients."""
    storage = open_(timeout=0.2)
    await put(storage, jobs(1))
    await admin.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
    try:
        with pytest.raises(StorageError, match=r"no answer within 0\.2 s|Timeout"):
            await storage.get_job("job 00000")
    finally:
        await admin.execute_command("CLIENT", "UNPAUSE")
    assert (await storage.get_job("job 00000")).id == "job 00000"


@pytest.mark.parametrize("by_url", [True, False])
async def test_a_server_that_never_says_a_word_is_left_at_the_limit(by_url: bool) -> None:
    """With a client of the user's too, who may have set no limit; for hints as for calls."""

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until who is there leaves
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    client = Redis.from_url(url)
    storage = RedisStorage(url if by_url else client, timeout=0.2)
    async with asyncio.timeout(10):
        for call in (storage.list_jobs(), storage._link.say("a word"), storage._link.hear().__anext__()):
            with pytest.raises(StorageError, match=r"no answer within 0\.2 s|Timeout"):
                await call
        await storage.close()
        await client.aclose()
        server.close()
        await server.wait_closed()


async def test_a_restarted_server_goes_on_where_it_was(open_: Open, own_server: servers.RedisServer) -> None:
    """While it is down calls fail; then jobs, leases and history are there, and tokens go on growing."""
    storage = open_(own_server.url)
    await put(storage, jobs(3))
    await run(storage, "job 00000")
    granted = await claim(storage, "job 00001")
    own_server.stop()
    with pytest.raises(StorageError):
        await storage.list_jobs()
    own_server.start()
    assert [record.id for record in await storage.list_jobs()] == [record.id for record in jobs(3)]
    assert (await storage.renew([granted.lease], TTL)).lost == []
    assert len(await storage.list_runs()) == 1
    assert (await claim(storage, "job 00002")).lease.token > granted.lease.token


async def test_a_scheduler_outlives_a_restart_of_its_server(open_: Open, own_server: servers.RedisServer) -> None:
    """A run that goes on meanwhile is settled when the server is back, and others follow it."""
    ran, is_back = asyncio.Queue[int](), asyncio.Event()

    async def work() -> None:
        ran.put_nowait(current_run().attempt)
        await is_back.wait()

    async with AsyncScheduler(storage=open_(own_server.url), storage_poll_interval=0.3) as scheduler:
        await scheduler.add_interval_job("job", "", work, 0.1)
        assert await ran.get() == 1
        own_server.stop()
        own_server.start()
        is_back.set()
        async with asyncio.timeout(20):
            assert [await ran.get() for _ in range(3)] == [1, 1, 1]
    assert {row.status for row in await open_(own_server.url).list_runs("job")} >= {RunStatus.COMPLETED}


async def test_a_server_that_lost_all_is_an_empty_storage(open_: Open, admin: Any, namespace: str) -> None:
    """After FLUSHALL leases are lost and outcomes stale, as for jobs that were removed; versions do not begin anew."""
    storage = open_()
    await put(storage, jobs(1))
    granted = await claim(storage, "job 00000")
    await admin.delete(*await keys_of(admin, namespace))
    assert (await storage.renew([granted.lease], TTL)).lost == [granted.lease]
    assert await storage.list_jobs() == []
    await storage.register(jobs(1)[0])
    assert (await claim(storage, "job 00000")).lease.token > granted.lease.token


async def test_a_server_that_throws_keys_away_is_refused(open_: Open, own_server: servers.RedisServer) -> None:
    """A full server would forget jobs; the error says what to set, and when it is set all is well."""
    storage = open_(own_server.url)
    async with Redis.from_url(own_server.url) as client:
        await client.config_set("maxmemory-policy", "allkeys-lru")
        for _ in range(2):
            with pytest.raises(StorageError, match="noeviction"):
                await storage.save_job(JobRecord(id="a"))
        assert await client.dbsize() == 0
        await client.config_set("maxmemory-policy", "noeviction")
    await storage.save_job(JobRecord(id="a"))


async def test_a_server_that_does_not_tell_is_warned_of_once(
    open_: Open, own_server: servers.RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A managed server may keep its settings to itself."""
    async with Redis.from_url(own_server.url) as client:
        await client.execute_command("ACL", "SETUSER", "app", "on", "nopass", "~*", "&*", "+@all", "-info")
    storage = open_(own_server.url.replace("//", "//app:x@"))
    for _ in range(2):
        await storage.save_job(JobRecord(id="a"))
        await storage.close()
    assert caplog.text.count("noeviction") == 1


# ── connections ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_thousand_calls_at_once_share_a_few_connections(open_: Open, own_server: servers.RedisServer) -> None:
    """They wait for one another instead of failing, or of filling the server with connections."""
    storage = open_(own_server.url, max_connections=4, timeout=60)
    await put(storage, jobs(1000))
    async with Redis.from_url(own_server.url) as client:
        await client.config_resetstat()
        records = await asyncio.gather(*(storage.get_job(record.id) for record in jobs(1000)))
        assert [record.id for record in records] == [record.id for record in jobs(1000)]
        assert len(await client.client_list()) <= 4 + 1 + 1
        assert (await client.info("stats"))["total_connections_received"] <= 4 + 1


async def test_closing_lets_go_of_all_connections(open_: Open, own_server: servers.RedisServer) -> None:
    """And of all tasks; a storage that is used again connects again."""
    tasks = asyncio.all_tasks()
    storage = open_(own_server.url)
    listener = asyncio.create_task(anext(storage.changes()))
    await storage.save_job(JobRecord(id="a"))
    async with Redis.from_url(own_server.url) as client:
        while not await client.pubsub_numsub(storage._link.channel):
            pass
        await storage.close()
        await storage.close()
        with contextlib.suppress(StopAsyncIteration):
            await listener
        while len(await client.client_list()) > 1:
            pass
    assert asyncio.all_tasks() == tasks
    assert [record.id for record in await storage.list_jobs()] == ["a"]


async def test_a_client_of_ones_own_is_used_and_left_open(namespace: str) -> None:
    """However it decodes its answers: ours are bytes."""
    async with Redis.from_url(servers.redis().url, decode_responses=True) as client:
        storage = RedisStorage(client, namespace=namespace)
        await put(storage, jobs(2))
        await run(storage, "job 00000")
        assert len(await all_due(storage)) == len(await storage.list_jobs()) == 2
        await storage.close()
        assert await client.ping()


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("closes", [True, False])
def test_a_storage_outlives_an_event_loop(namespace: str, closes: bool) -> None:
    """Two calls of `asyncio.run` in one script, with the storage made outside, whether it was closed or forgotten."""
    storage = RedisStorage(servers.redis().socket_url, namespace=namespace)

    async def use(*, last: bool) -> int:
        await storage.register(jobs(1)[0])
        records = await storage.list_jobs()
        if closes or last:
            await storage.close()
        return len(records)

    assert [asyncio.run(use(last=False)), asyncio.run(use(last=True))] == [1, 1]
    gc.collect()  # what was forgotten says so here, where that is expected


def test_without_the_driver_there_is_a_line_that_says_how_to_get_it() -> None:
    """The extra has a name."""
    program = "import sys; sys.modules['redis'] = None; from chrono_async.storage import RedisStorage"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].endswith(
        "ModuleNotFoundError: RedisStorage needs a package more: pip install 'chrono-async[redis]'"
    )
