"""What holds for a Redis that many hosts share, whatever becomes of connections, of the server and of what lies there."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.crc import key_slot

from chrono_async import AsyncScheduler
from chrono_async.errors import InvalidOptionError, JobNotFoundError, StorageCorruptError, StorageError
from chrono_async.models import (
    ClaimRequest,
    Definition,
    Due,
    Gone,
    Granted,
    InstanceInfo,
    JobRecord,
    Outcome,
    PointerMove,
    RunRecord,
    RunStatus,
)
from chrono_async.storage import LeasingStorage, RedisStorage, open_storage
from chrono_async.storage._redis_link import WRITE
from chrono_async.storage._redis_rows import FARTHEST
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
    await storage._change(records, attrgetter("id"), lambda table, _, some: [table.save(record) for record in some])


async def all_due(storage: LeasingStorage, limit: int = 1000) -> list[Due]:
    now, found, more = datetime.now(UTC), list[Due](), True
    while more:
        page = await storage.due(now, now, limit=limit, after=found[-1] if found else None)
        found, more = found + page.due, page.more
    return found


def request(due: Due) -> ClaimRequest:
    assert due.next_run is not None
    return ClaimRequest(due.job_id, due.next_run, due.next_run, due.revision)


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


# ── who gets what ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_two_storages_that_race_for_200_jobs_get_each_once(open_: Open) -> None:
    """Two hosts ask for the same batch at the same moment; each occurrence has one owner, and none is lost."""
    one, two = open_(), open_()
    await put(one, jobs(200))
    requests = [request(due) for due in await all_due(one)]
    assert len(requests) == 200
    answers = await asyncio.gather(
        *(storage.claim(requests[at : at + 20], f"{name}/{at}", TTL)
          for at in range(0, 200, 20) for name, storage in (("one", one), ("two", two)))
    )  # fmt: skip
    granted = [verdict.lease for answer in answers for verdict in answer.verdicts if isinstance(verdict, Granted)]
    assert sorted(lease.job_id for lease in granted) == [record.id for record in jobs(200)]
    assert {(r.id, r.owner, r.token) for r in await two.list_jobs()} == {(g.job_id, g.owner, g.token) for g in granted}


async def test_one_of_a_hundred_tasks_on_two_hosts_gets_an_occurrence(open_: Open) -> None:
    """Who was beaten to the write reads again, and is told who has it."""
    one, two = open_(), open_()
    await put(one, jobs(1))
    (due,) = await all_due(one)
    answers = await asyncio.gather(*((one, two)[n % 2].claim([request(due)], f"{n}/1", TTL) for n in range(100)))
    assert sum(isinstance(answer.verdicts[0], Granted) for answer in answers) == 1


async def test_counters_are_exact_when_two_hosts_take_turns(open_: Open) -> None:
    """As many runs as were settled, whoever settled them."""
    one, two = open_(), open_()
    await put(one, jobs(1))
    for n in range(10):
        await run((one, two)[n % 2], "job 00000")
    assert (await one.get_job("job 00000")).run_count == 10


async def test_namespaces_do_not_touch(open_: Open) -> None:
    """Two programs on one server, with jobs of the same ids."""
    one, two = open_(namespace=uuid4().hex), open_(namespace=uuid4().hex)
    await put(one, jobs(3))
    await one.heartbeat(InstanceInfo("me", LONG_AGO, LONG_AGO))
    await run(one, "job 00000")
    assert await two.list_jobs() == await two.list_runs() == await two.list_instances() == await all_due(two) == []


# ── the index of what is due ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("limit", [1, 7, 1000])
async def test_pages_follow_the_order_of_the_texts(open_: Open, limit: int) -> None:
    """Among equal times the ids decide, by their characters and not by the server's language; each comes once."""
    storage = open_()
    ids = ["Z", "a", "ä", "B", "a b", "ab", "\ud800", "\U0001f570", "0", "é" * 40, "\n", "\x7f", "{", '"', "\\"]
    await put(storage, [JobRecord(id=job_id, next_run=LONG_AGO) for job_id in ids])
    assert [due.job_id for due in await all_due(storage, limit)] == sorted(ids)


async def test_a_page_can_follow_one_whose_last_job_is_gone(open_: Open) -> None:
    """What was claimed or removed between two pages hides nothing."""
    storage = open_()
    await put(storage, jobs(5))
    page = await storage.due(LONG_AGO, LONG_AGO, limit=2)
    await storage.delete_job("job 00001")
    await storage.claim([request(page.due[0])], "me/1", TTL)
    rest = await storage.due(LONG_AGO, LONG_AGO, after=page.due[-1])
    assert [due.job_id for due in rest.due] == ["job 00002", "job 00003", "job 00004"]


async def test_ten_thousand_due_jobs_cost_tens_of_round_trips(open_: Open, admin: Any) -> None:
    """Reading them, claiming them and settling them, in batches as an engine does."""
    storage = open_()
    await put(storage, jobs(10_000))
    before = await scripts_run(admin)
    due = await all_due(storage)
    assert len(due) == 10_000
    claims = await storage.claim([request(one) for one in due[:2000]], "me/1", TTL)
    outcomes = [
        Outcome(
            v.lease, RunRecord(v.lease.job_id, LONG_AGO, RunStatus.COMPLETED), PointerMove(v.next_run, 0, v.next_run)
        )
        for v in claims.verdicts
        if isinstance(v, Granted)
    ]
    await storage.settle(outcomes)
    assert len(outcomes) == 2000
    assert await scripts_run(admin) - before <= 30


async def test_ten_thousand_excluded_jobs_are_left_out_in_one_round_trip(open_: Open, admin: Any) -> None:
    """An instance that can run few of many jobs does not page through the others."""
    storage = open_()
    await put(storage, jobs(10_001))
    before = await scripts_run(admin)
    page = await storage.due(LONG_AGO, LONG_AGO, exclude={record.id for record in jobs(10_000)}, limit=100)
    assert [due.job_id for due in page.due] == ["job 10000"]
    assert not page.more
    assert await scripts_run(admin) - before == 1


async def test_what_is_due_beyond_the_scores_is_due_after_all_else(open_: Open) -> None:
    """A double tells microseconds apart until 2255; a job at the end of the calendar is still found."""
    storage, last = open_(), datetime.max.replace(tzinfo=UTC)
    await put(storage, [JobRecord(id="a", next_run=last), JobRecord(id="b", next_run=last - MINUTE)])
    await put(storage, [JobRecord(id="first", next_run=datetime.min.replace(tzinfo=UTC))])
    assert [record.id for record in await storage.get_due_jobs(datetime.now(UTC))] == ["first"]
    assert {record.id for record in await storage.get_due_jobs(last)} == {"first", "a", "b"}
    page = await storage.due(datetime.now(UTC), last)
    assert [(due.job_id, due.when) for due in page.due[1:]] == [("a", last), ("b", last - MINUTE)]
    assert last.timestamp() * 1e6 > FARTHEST


async def test_jobs_are_due_for_the_eight_methods_whoever_holds_them(open_: Open) -> None:
    """`get_due_jobs` tells of pointers, not of locks."""
    storage = open_()
    await put(storage, jobs(2500))
    await claim(storage, "job 00000")
    due = await storage.get_due_jobs(LONG_AGO)
    assert sorted(record.id for record in due) == [record.id for record in jobs(2500)]


# ── what is tidied up ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_looking_for_what_is_due_buries_the_dead(open_: Open) -> None:
    """A run of at most once whose process died is claimed by nobody again: looking writes it down."""
    storage = open_()
    await put(storage, jobs(1))
    await claim(storage, "job 00000", owner="dead/1", moves=True, moves_to=None, ttl=timedelta(milliseconds=50))
    async with asyncio.timeout(10):
        while not await storage.list_runs():
            assert await all_due(storage) == []
    (row,) = await storage.list_runs()
    assert (row.status, row.instance_id) == (RunStatus.ABANDONED, "dead")
    assert (await storage.get_job("job 00000")).owner is None


async def test_a_lock_without_a_job_leaves_nothing_behind(open_: Open, admin: Any, namespace: str) -> None:
    """Whoever locks a new name each time must not fill the server."""
    storage = open_()
    assert await storage.acquire_lock("a", "me", timedelta(milliseconds=20))
    async with asyncio.timeout(10):
        while await admin.hlen(f"{{{namespace}}}:jobs"):
            await all_due(storage)
    assert await keys_of(admin, namespace) == {f"{{{namespace}}}:meta"}


async def keys_of(admin: Any, namespace: str) -> set[str]:
    return {key.decode() async for key in admin.scan_iter(f"{{{namespace}}}*", count=1000)}


async def test_history_is_kept_to_a_bound_for_each_and_for_all(open_: Open, admin: Any, namespace: str) -> None:
    """The newest stay, and nothing of the others does."""
    storage = open_(history=3, total_history=5)
    await put(storage, jobs(2))
    for n in range(5):
        await run(storage, "job 00000", f"a{n}")
    for n in range(4):
        await run(storage, "job 00001", f"b{n}")
    assert [row.error for row in await storage.list_runs()] == ["b3", "b2", "b1", "a4", "a3"]
    assert [row.error for row in await storage.list_runs("job 00000")] == ["a4", "a3"]
    assert [row.error for row in await storage.list_runs("job 00001", limit=2)] == ["b3", "b2"]
    assert await storage.list_runs(limit=0) == []
    assert await admin.hlen(f"{{{namespace}}}:runs") == await admin.zcard(f"{{{namespace}}}:order") == 5


async def test_old_history_is_forgotten(open_: Open, admin: Any, namespace: str) -> None:
    """By a heartbeat, when it is older than one wants it."""
    storage, forgetful = open_(), open_(history_age=timedelta(microseconds=1))
    await put(storage, jobs(1))
    await run(storage, "job 00000")
    await storage.heartbeat(InstanceInfo("me", LONG_AGO, LONG_AGO))
    assert len(await storage.list_runs()) == 1
    await forgetful.heartbeat(InstanceInfo("me", LONG_AGO, LONG_AGO))
    assert await storage.list_runs() == await storage.list_runs("job 00000") == []
    left = await keys_of(admin, namespace)
    assert not left & {f"{{{namespace}}}:{name}" for name in ("runs", "log", "order")}


async def test_no_history_is_a_choice(open_: Open) -> None:
    """Runs are settled all the same."""
    storage = open_(history=0)
    await put(storage, jobs(1))
    await run(storage, "job 00000")
    assert await storage.list_runs() == []
    assert (await storage.get_job("job 00000")).run_count == 1


async def test_instances_not_heard_of_for_long_are_forgotten(open_: Open, admin: Any, namespace: str) -> None:
    """They are not listed, and the next heartbeat of another removes what was known of them."""
    storage = open_()
    await storage.heartbeat(InstanceInfo("gone \ud800", LONG_AGO, LONG_AGO, frozenset({"a"})))
    assert [instance.instance_id for instance in await storage.list_instances()] == ["gone \ud800"]
    await admin.zadd(f"{{{namespace}}}:seen", {"gone \ud800".encode("utf-8", "surrogatepass"): 1})
    assert await storage.list_instances() == []
    await storage.heartbeat(InstanceInfo("me", LONG_AGO, LONG_AGO))
    assert await admin.hkeys(f"{{{namespace}}}:instances") == [b"me"]


async def test_a_lease_from_the_future_is_shortened_to_its_length(
    open_: Open, admin: Any, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the server's clock goes back by an hour, a dead owner holds its job for its ttl and not for an hour more."""
    storage = open_()
    await put(storage, jobs(2))
    await claim(storage, "job 00000")
    await an_hour_ahead(storage, "job 00001", admin, namespace, monkeypatch)
    before = {record.id: record.lease_until for record in await storage.list_jobs()}
    await storage.heartbeat(InstanceInfo("me", LONG_AGO, LONG_AGO))
    after = {record.id: record.lease_until for record in await storage.list_jobs()}
    assert after["job 00000"] == before["job 00000"]
    assert before["job 00001"] - after["job 00001"] > timedelta(minutes=59)
    now = (await storage.due(LONG_AGO, LONG_AGO)).now
    assert abs(after["job 00001"] - now - TTL) < timedelta(seconds=5)
    due = await storage.due(now, now + MINUTE)
    assert [one.job_id for one in due.due] == ["job 00000", "job 00001"]
    assert (
        await admin.zrange(f"{{{namespace}}}:leased", "(" + str(int(now.timestamp() * 1e6)), "+inf", byscore=True) == []
    )


async def an_hour_ahead(
    storage: RedisStorage, job_id: str, admin: Any, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Claim a job as if the server's clock were an hour ahead of what it is soon to be."""
    real, hour = storage._link.run, 3_600_000_000

    async def ahead(script: Any, *words: Any) -> list[Any]:
        now, *rest = await real(script, *words)
        return [str(int(now) + hour).encode(), *rest]

    with monkeypatch.context() as patch:
        patch.setattr(storage._link, "run", ahead)
        await claim(storage, job_id)
    await admin.zincrby(f"{{{namespace}}}:leased", hour, job_id)


# ── what lies in the server ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "damage", [b"", b"nonsense", b"7 0 [1,2", b"7 0 {}", b"7 0 [1]", b"x\ny", b"7 0 1],[2", b"\xff"]
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
    with pytest.raises(JobNotFoundError):
        await storage.get_job("job 00001")
    with pytest.raises(StorageCorruptError, match="job 00001"):
        await storage.register(jobs(2)[1])
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


async def test_a_cluster_is_a_server() -> None:
    """Behind a client for clusters: each verb finds its slot, and no script touches a key outside."""
    server = servers.RedisServer("--cluster-enabled", "yes")
    server.start()
    try:
        async with Redis.from_url(server.url) as node:
            await node.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            while b"cluster_state:ok" not in await node.execute_command("CLUSTER", "INFO"):
                pass
        async with RedisCluster.from_url(server.url) as cluster:
            storage = RedisStorage(cluster)
            await put(storage, jobs(3))
            await run(storage, "job 00000")
            assert len(await all_due(storage)) == len(await storage.list_jobs()) == 3
            await storage.heartbeat(InstanceInfo("me", LONG_AGO, LONG_AGO))
            assert [row.job_id for row in await storage.list_runs()] == ["job 00000"]
            await storage.close()
    finally:
        server.remove()


@pytest.mark.parametrize("bad", ["", "a{b", "}"])
def test_a_namespace_must_be_fit_for_a_key(bad: str) -> None:
    """Braces would say something else to a cluster."""
    with pytest.raises(InvalidOptionError, match="namespace"):
        RedisStorage("redis://", namespace=bad)


def test_a_url_leads_here() -> None:
    """And nothing connects before it is used."""
    assert isinstance(open_storage("redis://nowhere.invalid"), RedisStorage)
    assert isinstance(open_storage("rediss://nowhere.invalid"), RedisStorage)


# ── servers and connections that fail ────────────────────────────────────────────────────────────────────────────────


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
        with pytest.raises(StorageError, match="Timeout"):
            await storage.get_job("job 00000")
    finally:
        await admin.execute_command("CLIENT", "UNPAUSE")
    assert (await storage.get_job("job 00000")).id == "job 00000"


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


# ── connections ──────────────────────────────────────────────────────────────────────────────────────────────────────


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
        while not await client.pubsub_numsub(storage._channel._name):
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


def test_a_storage_outlives_an_event_loop(namespace: str) -> None:
    """Two calls of `asyncio.run` in one script, with the storage made outside."""
    storage = RedisStorage(servers.redis().socket_url, namespace=namespace)

    async def use() -> int:
        await storage.register(jobs(1)[0])
        records = await storage.list_jobs()
        await storage.close()
        return len(records)

    assert [asyncio.run(use()), asyncio.run(use())] == [1, 1]


def test_without_the_driver_there_is_a_line_that_says_how_to_get_it() -> None:
    """The extra has a name."""
    program = "import sys; sys.modules['redis'] = None; from chrono_async.storage import RedisStorage"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].endswith(
        "ModuleNotFoundError: RedisStorage needs a package more: pip install 'chrono-async[redis]'"
    )


# ── hints ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Ear:
    """Counts the hints that a storage gives."""

    def __init__(self, storage: RedisStorage) -> None:
        self.storage, self.heard = storage, asyncio.Semaphore(0)
        self._task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        async for _ in self.storage.changes():
            self.heard.release()

    async def hear(self) -> None:
        async with asyncio.timeout(10):
            await self.heard.acquire()

    @property
    def is_quiet(self) -> bool:
        return self.heard.locked()

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


async def listening(storage: RedisStorage) -> Ear:
    """Return when the server knows of the listener: its first hint says so."""
    ear = Ear(storage)
    await ear.hear()
    return ear


async def test_a_change_wakes_the_others_and_not_oneself(open_: Open) -> None:
    """Each verb by which users change something is heard at once; an instance knows of its own."""
    one, two = open_(), open_()
    ears = [await listening(one), await listening(two)]
    await one.register(jobs(1)[0])
    await ears[1].hear()
    await one.set_paused("job 00000")
    await ears[1].hear()
    await two.delete_job("job 00000")
    await ears[0].hear()
    assert ears[0].is_quiet
    assert ears[1].is_quiet
    for ear in ears:
        await ear.stop()


async def test_runs_are_no_news(open_: Open) -> None:
    """Claims and outcomes would wake every instance all the time, for nothing."""
    one, two = open_(), open_()
    await put(one, jobs(1))
    ear = await listening(two)
    await run(one, "job 00000")
    await one.set_paused("job 00000")
    await ear.hear()
    assert ear.is_quiet
    await ear.stop()


async def test_a_listener_that_lost_its_connection_listens_again(open_: Open, admin: Any) -> None:
    """And gives a hint then, since it may have missed one."""
    one, two = open_(), open_()
    ear = await listening(two)
    await admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    await ear.hear()
    await one.register(jobs(1)[0])
    await ear.hear()
    await ear.stop()


async def test_who_stops_listening_leaves_nothing_running(open_: Open) -> None:
    """The last listener takes the connection along."""
    tasks = asyncio.all_tasks()
    storage = open_()
    ears = [await listening(storage), Ear(storage)]
    for ear in ears:
        await ear.stop()
    while asyncio.all_tasks() != tasks:
        await asyncio.sleep(0)


async def test_hints_can_be_done_without(open_: Open) -> None:
    """Then there are none, and nobody waits for them."""
    storage = open_(notify=False)
    assert [hint async for hint in storage.changes()] == []
    await storage.register(jobs(1)[0])


async def test_two_schedulers_share_a_redis(open_: Open) -> None:
    """A job that one adds is known to the other at once; each occurrence runs on one of them."""
    ran: list[str] = []

    async def work() -> None:
        ran.append("once")

    options = {"storage_poll_interval": 0.3}
    async with AsyncScheduler(storage=open_(), **options) as one, AsyncScheduler(storage=open_(), **options) as two:
        await asyncio.gather(*(one_.add_one_shot_job("job", "", work, 0.2) for one_ in (one, two)))
        await asyncio.gather(one.wait_for_job("job"), two.wait_for_job("job"))
        assert [row.status for row in await two.list_runs("job")] == [RunStatus.COMPLETED]
    assert ran == ["once"]
