"""What holds for jobs in PostgreSQL beside the contract: races, broken connections, its tables, its history."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from chrono_async import InstanceInfo, JobNotFoundError, JobStatus, LeasingStorage, RunRecord, RunStatus, StorageError
from chrono_async.errors import InvalidOptionError, StorageCorruptError
from chrono_async.models import JobRecord
from chrono_async.policies import Policies, Recovery
from chrono_async.storage import (
    ClaimRequest,
    Granted,
    Held,
    Outcome,
    PointerMove,
    PostgresStorage,
    Release,
    SettleVerdict,
    Trigger,
    open_storage,
)
from chrono_async.storage._ledger.rows import COLUMNS, RUN_COLUMNS
from chrono_async.storage._ledger.sheet import Change
from chrono_async.storage._postgres import arrays
from chrono_async.storage._postgres.ledger import PostgresLedger
from chrono_async.storage._postgres.statements import Statements
from chrono_async.testing._contract_steps import job, run_of
from tests import servers
from tests.chaos.proxy import Proxy

from .set_clocks import an_hour_ahead_at_first
from .transaction_pooler import transaction_pooler

MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)

Make = Callable[..., PostgresStorage]


@pytest.fixture
def namespace() -> str:
    return f"test_{uuid4().hex[:8]}"


@pytest.fixture
async def make(namespace: str) -> AsyncIterator[Make]:
    """Make storages on one set of tables, and close them."""
    made: list[PostgresStorage] = []

    def make(dsn: str | None = None, **options: object) -> PostgresStorage:
        storage = PostgresStorage(dsn or servers.postgres().dsn, **{"namespace": namespace, **options})
        made.append(storage)
        return storage

    yield make
    for storage in made:
        await storage.close()


@pytest.fixture
async def db() -> AsyncIterator[asyncpg.Connection]:
    """A connection beside the storage's."""
    connection = await asyncpg.connect(servers.postgres().dsn)
    yield connection
    await connection.close()


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


def request(record: JobRecord) -> ClaimRequest:
    assert record.next_run is not None
    return ClaimRequest(record.id, record.next_run, record.next_run, record.revision)


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    """Ask until it holds."""
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - it is a question to the server
            await asyncio.sleep(0.01)


async def waits_for_a_row(db: asyncpg.Connection) -> int | None:
    """Return the server's process that waits for a row which somebody else has locked."""
    await db.execute("SELECT pg_stat_clear_snapshot()")  # in a transaction one would see the same for ever
    return await db.fetchval(
        "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'chrono-async'"
    )


# ── races ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_two_storages_racing_for_200_jobs_claim_each_once(make: Make, now: datetime) -> None:
    """In batches that overlap, in opposite orders: no job twice, none left, no two that wait for each other."""
    one, two = make(), make()
    records = [(await one.register(job(f"job {n}", now))).record for n in range(200)]
    asked = [request(record) for record in records]
    batches = [(one, asked), (two, asked[::-1]), (one, asked[50:150]), (two, asked[150:] + asked[:50])]
    answers = await asyncio.gather(
        *(storage.claim(batch, f"owner/{n}", MINUTE) for n, (storage, batch) in enumerate(batches))
    )
    verdicts = [verdict for answer in answers for verdict in answer.verdicts]
    granted = [verdict.lease.job_id for verdict in verdicts if isinstance(verdict, Granted)]
    assert sorted(granted) == sorted(record.id for record in records)
    assert all(isinstance(verdict, Granted | Held) for verdict in verdicts)


async def test_of_a_hundred_claims_by_many_storages_one_wins(make: Make, now: datetime) -> None:
    """Each with its own connections."""
    storages = [make(max_connections=2) for _ in range(5)]
    asked = request((await storages[0].register(job("a", now))).record)
    answers = await asyncio.gather(*(storages[n % 5].claim([asked], f"i{n}/1", MINUTE) for n in range(100)))
    verdicts = [type(answer.verdicts[0]) for answer in answers]
    assert (verdicts.count(Granted), verdicts.count(Held)) == (1, 99)


async def test_outcomes_of_many_storages_are_all_counted(make: Make, now: datetime) -> None:
    """Nothing that one writes is lost to what another writes at the same time."""
    storages = [make() for _ in range(4)]
    await storages[0].save_job(JobRecord(id="a", next_run=now))

    async def touch(n: int) -> None:
        storage = storages[n % 4]
        await storage.trigger("a", Trigger(now))
        await storage.set_paused("a")
        await storage.acquire_lock("a", "me", MINUTE)

    await asyncio.gather(*(touch(n) for n in range(20)))
    record = await storages[0].get_job("a")
    assert record.paused
    assert record.triggered is not None
    assert not await storages[1].acquire_lock("a", "you", MINUTE)


async def test_an_old_view_of_a_job_never_fits_its_next_life(make: Make, now: datetime) -> None:
    """A job that is removed and made anew has other versions: what was decided about the old one is not written."""
    storage = make()
    await storage.register(job("a", now))
    reading = await storage._read(["a"], floors=False, history=False)
    stored = reading.stored["a"]
    await storage.delete_job("a")
    await storage.register(job("a", now, name="new"))
    change = Change("a", stored.version, stored.row, [RunRecord("a", now, RunStatus.MISSED)])
    assert (await storage._write([change], None)).job_ids == set()
    assert (await storage.get_job("a")).name == "new"
    assert await storage.list_runs("a") == [], "a row of the history goes with its job's change"


async def test_an_outcome_is_written_without_reading_its_job_again(make: Make, now: datetime) -> None:
    """What this storage wrote at the claim is what there is, as a rule; each batch is one statement then."""
    storage = make()
    records = [(await storage.register(job(f"job {n}", now))).record for n in range(20)]
    answer = await storage.claim([request(record) for record in records], "me/1", MINUTE)
    asked = spy_on(storage)
    settled = await storage.settle(
        [outcome_of(granted, now, records[0].revision) for granted in answer.verdicts if isinstance(granted, Granted)]
    )
    assert [answer.verdict for answer in settled.settled] == [SettleVerdict.DONE] * 20
    assert asked == ["write"]
    assert abs(settled.now - datetime.now(UTC)) < MINUTE


async def test_an_outcome_does_not_undo_what_others_did_meanwhile(make: Make, now: datetime) -> None:
    """What is recalled of a job is written only if it still is so; else the job is read, and each judged as it is."""
    mine, other = make(), make()
    records = [(await mine.register(job(name, now))).record for name in ("left", "paused", "gone", "taken")]
    answer = await mine.claim([request(record) for record in records], "me/1", timedelta(seconds=0.05))
    granted = [verdict for verdict in answer.verdicts if isinstance(verdict, Granted)]
    await other.set_paused("paused")
    await other.delete_job("gone")

    async def is_taken() -> bool:
        (verdict,) = (await other.claim([request(records[-1])], "other/1", MINUTE)).verdicts
        return isinstance(verdict, Granted)

    await until(is_taken)
    asked = spy_on(mine)
    outcomes = [
        outcome_of(grant, now + MINUTE, record.revision) for grant, record in zip(granted, records, strict=True)
    ]
    verdicts = [answer.verdict for answer in (await mine.settle(outcomes)).settled]
    done, stale = SettleVerdict.DONE, SettleVerdict.STALE
    assert verdicts == [done, done, stale, stale]
    assert asked[:3] == ["write", "read", "write"]
    paused = await other.get_job("paused")
    assert (paused.paused, paused.run_count, paused.next_run) == (True, 1, now + MINUTE)
    assert (await other.get_job("taken")).owner == "other/1"
    again = [answer.verdict for answer in (await mine.settle(outcomes)).settled]
    assert again == [SettleVerdict.REPEATED, SettleVerdict.REPEATED, stale, stale]


def spy_on(storage: PostgresStorage) -> list[str]:
    """Return the list of the kinds of statements that the storage will execute."""
    asked: list[str] = []
    fetch = storage._fetch

    async def spy(name: str, *arguments: object) -> list[object]:
        asked.append(name.split(maxsplit=1)[0])
        return await fetch(name, *arguments)

    storage._connections.fetch = storage._fetch = spy  # type: ignore[method-assign, assignment]
    return asked


def outcome_of(granted: Granted, next_run: datetime | None, revision: int, error: str = "") -> Outcome:
    fire_time = granted.next_run
    assert fire_time is not None
    run = run_of(granted, fire_time, RunStatus.FAILED if error else RunStatus.COMPLETED, error)
    return Outcome(granted.lease, run, PointerMove(fire_time, revision, next_run))


# ── connections ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_connection_that_is_killed_mid_way_is_an_error_and_is_replaced(
    make: Make, namespace: str, db: asyncpg.Connection, now: datetime
) -> None:
    """What was under way came to nothing here, and can be asked again."""
    storage = make()
    asked = request((await storage.register(job("a", now))).record)
    async with db.transaction():
        await db.execute(f"SELECT 1 FROM {namespace}_jobs FOR UPDATE")  # noqa: S608
        claim = asyncio.create_task(storage.claim([asked], "me/1", MINUTE))
        await until(lambda: waits_for_a_row(db))
        await db.execute("SELECT pg_terminate_backend($1)", await waits_for_a_row(db))
        with pytest.raises(StorageError) as caught:
            await claim
        assert isinstance(caught.value.__cause__, asyncpg.PostgresError)
    (verdict,) = (await storage.claim([asked], "me/1", MINUTE)).verdicts
    assert isinstance(verdict, Granted)


async def test_no_statement_takes_longer_than_its_limit(
    make: Make, namespace: str, db: asyncpg.Connection, now: datetime
) -> None:
    """A server that does not answer holds nobody up for ever; and what was given up does not happen later."""
    storage = make(timeout=0.3)
    asked = request((await storage.register(job("a", now))).record)
    async with db.transaction():
        await db.execute(f"SELECT 1 FROM {namespace}_jobs FOR UPDATE")  # noqa: S608
        with pytest.raises(StorageError, match=r"no answer within 0\.3 s"):
            await storage.claim([asked], "me/1", MINUTE)
        await until(lambda: _nobody_waits(db))
    assert (await storage.get_job("a")).owner is None
    assert isinstance((await storage.claim([asked], "me/1", MINUTE)).verdicts[0], Granted)


async def test_a_server_that_has_gone_silent_is_left_at_once(make: Make, namespace: str) -> None:
    """Who gives up waits for no leave of it: leases end meanwhile. The pool would take as long as a statement may."""
    proxy = Proxy(lambda: asyncio.open_unix_connection(f"{servers.postgres().folder}/.s.PGSQL.5432"))
    await proxy.start()
    far = PostgresStorage(f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres", namespace=namespace, timeout=60)
    await far.register(job("a", datetime.now(UTC)))
    proxy.cut()
    async with asyncio.timeout(30):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await far.get_job("a")
    proxy.mend()
    assert (await far.get_job("a")).id == "a"
    await far.close()
    await proxy.close()


async def _nobody_waits(db: asyncpg.Connection) -> bool:
    return await waits_for_a_row(db) is None


async def test_a_storage_outlives_a_crash_of_its_server(now: datetime) -> None:
    """While the server is away calls fail; when it is back they work, on the same tables, and hints come again."""
    server = servers.PostgresServer()
    server.start()
    storage, other = PostgresStorage(server.dsn), PostgresStorage(server.dsn)
    await storage.register(job("a", now))
    hints = storage.changes()
    heard = asyncio.create_task(anext(hints))
    server.kill()
    with pytest.raises(StorageError):
        await storage.get_job("a")
    with pytest.raises(StorageError):
        await storage.claim([], "me/1", MINUTE)
    server.start()
    assert (await storage.get_job("a")).next_run == now

    async def is_heard() -> bool:
        await other.set_paused("a")
        return heard.done()

    await until(is_heard)
    await hints.aclose()
    await asyncio.gather(storage.close(), other.close())
    server.remove()


async def test_a_server_that_is_not_there_is_an_error_of_the_storage(tmp_path: Path) -> None:
    """At the first use, from the driver's error; made is a storage without it."""
    storage = open_storage(f"postgresql://nobody@/nothing?host={tmp_path}")
    with pytest.raises(StorageError) as caught:
        await storage.get_job("a")
    assert isinstance(caught.value.__cause__, OSError)
    await storage.close()


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
async def test_many_at_once_make_the_tables_however_transactions_are_isolated(isolation: str) -> None:
    """Who has waited sees what the one before it has made."""
    settings = {"default_transaction_isolation": isolation}
    async with asyncpg.create_pool(servers.postgres().dsn, min_size=8, max_size=8, server_settings=settings) as pool:
        for _ in range(3):
            namespace = f"test_{uuid4().hex[:8]}"
            storages = [PostgresStorage(pool, namespace=namespace) for _ in range(8)]
            await asyncio.gather(*(storage.migrate() for storage in storages))
            await storages[0].erase()
            await asyncio.gather(*(storage.close() for storage in storages))


async def test_who_makes_the_pool_closes_it(make: Make, namespace: str, db: asyncpg.Connection) -> None:
    """A user's own pool is left open; of a storage's own no connection stays."""
    async with asyncpg.create_pool(servers.postgres().dsn, min_size=1, max_size=3) as pool:
        storage = PostgresStorage(pool, namespace=namespace)
        listening = asyncio.create_task(_ends(storage.changes()))
        await storage.save_job(JobRecord(id="a"))
        await until(lambda: _listen(db, namespace, 1))
        await storage.close()
        await listening
        assert await pool.fetchval("SELECT 1") == 1
        assert pool.get_idle_size() == pool.get_size()
    own = make(f"{servers.postgres().dsn}&application_name=own")
    await own.get_job("a")
    await own.close()
    await until(lambda: _is_without(db, "own"))
    assert (await own.get_job("a")).id == "a", "closed is not broken: it connects again"


async def _ends(hints: AsyncIterator[None]) -> None:
    async for _ in hints:
        pass


async def _is_without(db: asyncpg.Connection, name: str) -> bool:
    return not await db.fetchval("SELECT count(*) FROM pg_stat_activity WHERE application_name = $1", name)


def test_a_storage_can_be_used_by_one_loop_after_another(namespace: str) -> None:
    """As two calls of asyncio.run do, each of which closes what it leaves."""
    storage = PostgresStorage(servers.postgres().dsn, namespace=namespace)

    async def use(name: str) -> None:
        await storage.save_job(JobRecord(id=name))
        await storage.close()

    asyncio.run(use("a"))
    asyncio.run(use("b"))

    async def look() -> list[str]:
        try:
            return [record.id for record in await storage.list_jobs()]
        finally:
            await storage.close()

    assert asyncio.run(look()) == ["a", "b"]


async def test_it_works_behind_a_transaction_pooler(make: Make, namespace: str, now: datetime) -> None:
    """Where each transaction may come to another server process."""
    folder = servers._new_folder(None)
    async with transaction_pooler(servers.postgres().folder, folder) as dsn:
        storage = make(dsn, notify=False, statement_cache_size=0)
        for n in range(5):
            asked = request((await storage.register(job(f"job {n}", now))).record)
            (granted,) = (await storage.claim([asked], "me/1", MINUTE)).verdicts
            assert isinstance(granted, Granted)
            await storage.release([Release(granted.lease)])
        assert len((await storage.due(now, now + MINUTE)).due) == 5
        assert [hint async for hint in storage.changes()] == []
        await storage.close()


# ── tables ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_many_may_make_the_tables_at_once(make: Make) -> None:
    """N processes that start at once on an empty database all work."""
    storages = [make(max_connections=2) for _ in range(20)]
    await asyncio.gather(*(storage.migrate() for storage in storages[:10]), *(s.list_jobs() for s in storages[10:]))
    await storages[0].save_job(JobRecord(id="a"))
    assert [record.id for record in await storages[-1].list_jobs()] == ["a"]


async def test_who_may_not_make_tables_can_use_those_that_are_there(
    make: Make, namespace: str, db: asyncpg.Connection, now: datetime
) -> None:
    """A service need not own its tables, once somebody has migrated them."""
    await make().migrate()
    await db.execute(f"CREATE ROLE {namespace} LOGIN")
    await db.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    for table in ("jobs", "runs", "instances", "meta"):
        await db.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {namespace}_{table} TO {namespace}")
    dsn = servers.postgres().dsn.replace("postgres@", f"{namespace}@")
    storage = make(dsn)
    granted = await claimed(storage, (await storage.register(job("a", now))).record)
    assert await settled(storage, granted, now) is SettleVerdict.DONE
    await storage.heartbeat(InstanceInfo("me", now, now))
    assert len(await storage.list_runs("a")) == 1
    with pytest.raises(StorageError, match=r"permission denied.*chrono-async migrate URL --namespace other"):
        await make(dsn, namespace="other").list_jobs()


async def claimed(storage: LeasingStorage, record: JobRecord) -> Granted:
    (verdict,) = (await storage.claim([request(record)], "me/1", MINUTE)).verdicts
    assert isinstance(verdict, Granted)
    return verdict


async def settled(
    storage: LeasingStorage, granted: Granted, next_run: datetime | None, *, error: str = "", revision: int = 0
) -> SettleVerdict:
    return (await storage.settle([outcome_of(granted, next_run, revision, error)])).settled[0].verdict


async def test_namespaces_do_not_touch(make: Make, namespace: str) -> None:
    """Several services may share a database."""
    one, two = make(), make(namespace=f"{namespace}_2")
    await one.save_job(JobRecord(id="a"))
    assert await two.list_jobs() == []
    assert await two.acquire_lock("a", "me", MINUTE)
    assert await one.acquire_lock("a", "you", MINUTE)


@pytest.mark.parametrize("bad", ["", "Jobs", "1st", "a-b", "a;drop", "x" * 41])
def test_a_namespace_is_part_of_a_tables_name(bad: str) -> None:
    """Nothing else can be smuggled into a statement."""
    with pytest.raises(InvalidOptionError, match="namespace"):
        PostgresStorage("postgresql:///", namespace=bad)


async def test_tables_that_were_dropped_are_made_anew(make: Make, namespace: str, db: asyncpg.Connection) -> None:
    """By the call after the one that noticed."""
    storage = make()
    await storage.save_job(JobRecord(id="a"))
    await db.execute(f"DROP TABLE {namespace}_jobs, {namespace}_runs, {namespace}_meta, {namespace}_instances")
    with pytest.raises(StorageError):
        await storage.list_jobs()
    assert await storage.list_jobs() == []


async def test_the_tables_have_the_columns_that_are_written(make: Make, namespace: str, db: asyncpg.Connection) -> None:
    """What a row has is named in one place, what a table has in another."""
    await make().migrate()
    query = "SELECT column_name FROM information_schema.columns WHERE table_name = $1"
    jobs = {name for (name,) in await db.fetch(query, f"{namespace}_jobs")}
    runs = {name for (name,) in await db.fetch(query, f"{namespace}_runs")}
    assert jobs == {*COLUMNS, "version", "lock_ttl"}
    assert runs == {*RUN_COLUMNS, "seq", "added"}


async def test_the_index_finds_what_is_due(make: Make, namespace: str, db: asyncpg.Connection, now: datetime) -> None:
    """In order, without a look at the other jobs, also past ten thousand that are excluded."""
    storage = make()
    await storage.migrate()
    await db.execute(
        f"INSERT INTO {namespace}_jobs (id, version, name, status, paused, next_run, due_at, run_count, error_count,"  # noqa: S608
        " last_error, revision, scheduled_runs, token, settled_token, attempt, tries)"
        " SELECT 'job ' || n, 1, '', 'pending', false, t, t, 0, 0, '', 0, 0, 0, 0, 0, 0"
        " FROM generate_series(1, 30000) n, LATERAL (SELECT $1::timestamptz + n * interval '1 second' AS t) times",
        now,
    )
    await db.execute(f"ANALYZE {namespace}_jobs")
    excluded = [f"job {n}" for n in range(1, 10_001)]
    page = await storage.due(now, now + timedelta(days=9), exclude=excluded, limit=10)
    assert [due.job_id for due in page.due] == [f"job {n}" for n in range(10_001, 10_011)]
    last = page.due[-1]
    plan = await db.fetch(
        f"EXPLAIN (ANALYZE, TIMING OFF) {Statements(namespace)['due'].strip().rstrip(';')}",
        timedelta(days=9), last.when, last.job_id, excluded, 11,
    )  # fmt: skip
    text = "\n".join(line for (line,) in plan)
    assert f"Index Scan using {namespace}_jobs_due on {namespace}_jobs" in text
    assert "hashed SubPlan" in text
    assert f"Seq Scan on {namespace}_jobs" not in text
    assert "Sort Key: " not in text.split("Limit", maxsplit=1)[1], "the index is in order already"


# ── hints ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_change_wakes_the_others_and_not_oneself(make: Make) -> None:
    """At once; who made it knows of it."""
    one, two = make(), make()
    heard: dict[str, int] = {"one": 0, "two": 0}

    async def listen(name: str, storage: PostgresStorage) -> None:
        async for _ in storage.changes():
            heard[name] += 1

    async with asyncio.TaskGroup() as tasks:
        listeners = [tasks.create_task(listen("one", one)), tasks.create_task(listen("two", two))]
        await until(lambda: _is_true(heard == {"one": 1, "two": 1}))  # who begins to listen may have missed something
        await one.save_job(JobRecord(id="a"))
        await until(lambda: _is_true(heard["two"] > 1))
        await two.set_paused("a")
        await until(lambda: _is_true(heard["one"] > 1))
        assert heard == {"one": 2, "two": 2}
        for task in listeners:
            task.cancel()


async def test_who_lost_the_connection_of_a_users_pool_hears_again(
    make: Make, namespace: str, db: asyncpg.Connection
) -> None:
    """Over another one of that pool."""
    heard: list[None] = []
    async with asyncpg.create_pool(servers.postgres().dsn, min_size=1, max_size=3) as pool:
        storage = PostgresStorage(pool, namespace=namespace)
        hints = storage.changes()
        await anext(hints)
        ear = asyncio.create_task(_append_all(hints, heard))
        lost = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ILIKE $1 AND state = 'idle'"
        assert await db.fetchval(lost, f"LISTEN%{namespace}_changes%")
        await until(lambda: _is_true(heard))  # who hears again may have missed something
        heard.clear()
        await make().save_job(JobRecord(id="a"))
        await until(lambda: _is_true(heard))
        await storage.close()
        await ear


async def _append_all(hints: AsyncIterator[None], heard: list[None]) -> None:
    async for hint in hints:
        heard.append(hint)  # noqa: PERF401 - one by one, as they come


async def _is_true(value: object) -> object:
    return value


async def _listen(db: asyncpg.Connection, namespace: str, count: int) -> bool:
    query = "SELECT count(*) FROM pg_stat_activity WHERE query ILIKE $1 AND state = 'idle'"
    return await db.fetchval(query, f"LISTEN%{namespace}_changes%") == count


async def test_claims_and_settles_say_nothing(
    make: Make, namespace: str, db: asyncpg.Connection, now: datetime
) -> None:
    """A notification takes a lock of the whole server: only what users do is worth it."""
    storage = make()
    said: list[str] = []
    record = (await storage.register(job("a", now))).record
    await storage.close()
    await db.add_listener(f"{namespace}_changes", lambda *heard: said.append(heard[-1]))
    granted = await claimed(storage, record)
    assert (await storage.renew([granted.lease], MINUTE)).lost == []
    assert await settled(storage, granted, now) is SettleVerdict.DONE
    await storage.due(now, now + MINUTE)
    await storage.set_paused("a")
    await storage.close()
    await until(lambda: _is_true(said))
    assert len(said) == 1


# ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("damage", ["status = 'odd'", "options = '{'", "triggered = '[1]'", "flights = '7'"])
async def test_a_row_that_cannot_be_read_costs_that_row(
    make: Make, namespace: str, db: asyncpg.Connection, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told of once and left as it is; the other jobs run."""
    storage, now = make(), datetime.now(UTC)
    for name in ("bad", "good"):
        await storage.register(job(name, now))
    await db.execute(f"UPDATE {namespace}_jobs SET {damage} WHERE id = 'bad'")  # noqa: S608
    before = await db.fetch(f"SELECT * FROM {namespace}_jobs WHERE id = 'bad'")  # noqa: S608
    with caplog.at_level(logging.ERROR, "chrono_async"):
        assert [due.job_id for due in (await storage.due(now, now + MINUTE)).due] == ["good"]
        assert [due.job_id for due in (await storage.due(now, now + MINUTE, limit=1)).due] == ["good"]
        assert [record.id for record in await storage.list_jobs()] == ["good"]
        assert list((await storage.due(now, now + MINUTE)).unreadable) == ["bad"]
        record = job("bad", now)
        for call in (
            storage.get_job("bad"), storage.register(record), storage.save_job(record),
            storage.acquire_lock("bad", "me", MINUTE),
        ):  # fmt: skip
            with pytest.raises(StorageCorruptError) as refused:
                await call
            assert refused.value.job_id == "bad"
    assert [message.count("'bad'") for message in caplog.messages] == [1]
    assert await db.fetch(f"SELECT * FROM {namespace}_jobs WHERE id = 'bad'") == before  # noqa: S608


@pytest.mark.parametrize("text", ["nul \0", "half \ud800"])
async def test_a_text_that_cannot_be_held_is_refused_by_name_or_escaped(make: Make, now: datetime, text: str) -> None:
    """A name is its user's to change; an exception's message must not keep its run from being settled."""
    storage = make()
    with pytest.raises(InvalidOptionError, match="name="):
        await storage.register(job("a", now, name=text))
    with pytest.raises(InvalidOptionError, match="tag"):
        await storage.register(job("a", now, options=Policies(tags=(text,))))
    with pytest.raises(JobNotFoundError):
        await storage.get_job(text)
    record = (await storage.register(job("a", now))).record
    granted = await claimed(storage, record)
    assert await settled(storage, granted, now, error=text) is SettleVerdict.DONE
    escaped = text.replace("\0", "\\x00").replace("\ud800", "\\ud800")
    assert (await storage.get_job("a")).last_error == escaped
    assert [row.error for row in await storage.list_runs("a")] == [escaped]
    assert (await storage.due(now, now + MINUTE, exclude=[text])).due != []


@pytest.mark.parametrize(
    "texts",
    [
        ["", " ", "a,b", "{a}", "NULL", "null", 'say "a"', "back\\slash", '\\"', "line\nend", "tab\t", "'", "日本 🎉"],
        ['with "', None, "a null"],
        [None],
        ["one"],
        [],
    ],
)
async def test_texts_arrive_in_an_array_as_they_are(db: asyncpg.Connection, texts: list[str | None]) -> None:
    assert await db.fetchval("SELECT $1::text::text[]", arrays.of_texts(texts)) == texts


async def test_a_null_character_in_an_array_is_refused_and_parts_no_text(db: asyncpg.Connection) -> None:
    with pytest.raises(asyncpg.CharacterNotInRepertoireError):
        await db.fetchval("SELECT $1::text::text[]", arrays.of_texts(["a\0b", "c"]))


@pytest.mark.parametrize("numbers", [[1, -(2**63), None, 2**63 - 1], [], [None, None]])
async def test_numbers_arrive_in_an_array_as_they_are(db: asyncpg.Connection, numbers: list[int | None]) -> None:
    assert await db.fetchval("SELECT $1::text::bigint[]", arrays.of_numbers(numbers)) == numbers


async def test_truth_arrives_in_an_array_as_it_is(db: asyncpg.Connection) -> None:
    assert await db.fetchval("SELECT $1::text::boolean[]", arrays.of_numbers([True, None, False])) == [
        True,
        None,
        False,
    ]


async def test_far_ends_of_time_come_back_as_they_were(make: Make) -> None:
    """The first and the last moment there is."""
    storage = make()
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    await storage.save_job(JobRecord(id="a", last_run=first, next_run=last))
    await storage.save_job(JobRecord(id="b", last_run=last, next_run=first))
    assert {(r.last_run, r.next_run) for r in await storage.list_jobs()} == {(first, last), (last, first)}
    assert [r.id for r in await storage.get_due_jobs(last)] == ["a", "b"]
    assert [due.job_id for due in (await storage.due(first, last)).due] == ["b"], "the last moment never comes"


async def test_a_lock_that_outlasts_its_length_is_cut(
    make: Make, namespace: str, db: asyncpg.Connection, now: datetime
) -> None:
    """It proves that the server's clock was set back: else a dead owner would hold the job for as long as that was."""
    storage = make()
    await claimed(storage, (await storage.register(job("a", now))).record)
    await claimed(storage, (await storage.register(job("b", now))).record)
    hour = 3_600_000_000
    await db.execute(
        f"UPDATE {namespace}_jobs SET lock_until = lock_until + {hour},"  # noqa: S608
        " lease_until = lease_until + interval '1 hour', due_at = due_at + interval '1 hour' WHERE id = 'a'"
    )
    untouched = await db.fetch(f"SELECT * FROM {namespace}_jobs WHERE id = 'b'")  # noqa: S608
    await make().heartbeat(InstanceInfo("me", now, now))
    due = {due.job_id: due.when for due in (await storage.due(now, now + 3 * MINUTE)).due}
    assert due.keys() == {"a", "b"}
    record = await storage.get_job("a")
    assert record.lease_until == due["a"]
    assert due["a"] <= datetime.now(UTC) + MINUTE
    assert await db.fetch(f"SELECT * FROM {namespace}_jobs WHERE id = 'b'") == untouched  # noqa: S608


async def test_a_manual_run_whose_lock_is_cut_is_due_when_that_ends(
    make: Make, namespace: str, db: asyncpg.Connection, now: datetime
) -> None:
    """And not when the pointer comes, or its retry."""
    storage = make()
    record = (await storage.register(job("a", now))).record
    given = Release((await claimed(storage, record)).lease, now + 60 * MINUTE)
    await storage.release([given])
    waiting = await storage.trigger("a", Trigger(now))
    request = ClaimRequest("a", now, waiting.at, record.revision, manual=True)
    await storage.claim([request], "me/2", MINUTE)
    hour = 3_600_000_000
    await db.execute(
        f"UPDATE {namespace}_jobs SET lock_until = lock_until + {hour}, due_at = due_at + interval '1 hour'"  # noqa: S608
    )
    await make().heartbeat(InstanceInfo("me", now, now))
    (due,) = (await storage.due(now, now + 3 * MINUTE)).due
    assert due.trigger == waiting.at
    assert due.when <= datetime.now(UTC) + MINUTE


@pytest.mark.parametrize("is_there", [True, False])
async def test_what_was_decided_before_the_clock_went_back_is_decided_again(
    make: Make, now: datetime, monkeypatch: pytest.MonkeyPatch, *, is_there: bool
) -> None:
    """Else a lock could last for its ttl and an hour, and nobody would notice."""
    storage, told = make(), list[datetime]()
    if is_there:
        await storage.register(job("a", now))
    with monkeypatch.context() as patch:
        patch.setattr(PostgresLedger, "_read", an_hour_ahead_at_first(PostgresLedger._read, told))
        assert await make().acquire_lock("a", "dead", MINUTE)
    assert len(told) == 2
    if is_there:
        (held,) = (await storage.due(now, now + 3 * MINUTE)).due
        assert held.when <= told[1] + MINUTE


async def test_a_clock_that_is_set_back_is_noticed_by_who_is_alive(make: Make, now: datetime) -> None:
    """At its next heartbeat; as long as the clock goes on, nobody looks through the locks."""
    storage = make()
    asked = spy_on(storage)
    for ahead, looks in [(0, 1), (0, 1), (-0.5, 1), (-2, 2), (-2, 2), (3600, 2), (0, 3)]:
        await storage._upkeep.run(datetime.now(UTC) + ahead * SECOND)
        assert asked.count("clamp_locks") == looks


async def test_an_owner_that_died_without_a_claim_to_come_is_written_down(make: Make, now: datetime) -> None:
    """By whoever looks for what is due."""
    storage = make()
    options = Policies(recovery=Recovery.SKIP)
    record = (await storage.register(job("a", now, options=options))).record
    asked = request(record)._replace(moves=True)
    await storage.claim([asked], "dead/1", timedelta(seconds=0.1))

    async def is_buried() -> bool:
        await storage.due(now, now + MINUTE)
        return (await storage.get_job("a")).status is JobStatus.FAILED

    await until(is_buried)
    assert [row.status for row in await storage.list_runs("a")] == [RunStatus.ABANDONED]


# ── the history and the instances ────────────────────────────────────────────────────────────────────────────────────


async def ran(storage: PostgresStorage, job_id: str, times: int, now: datetime) -> None:
    record = await storage.get_job(job_id)
    for _ in range(times):
        granted = await claimed(storage, record)
        assert await settled(storage, granted, now, revision=record.revision) is SettleVerdict.DONE


async def count_runs(db: asyncpg.Connection, namespace: str) -> dict[str, int]:
    return dict(await db.fetch(f"SELECT job_id, count(*) FROM {namespace}_runs GROUP BY job_id"))  # noqa: S608


async def test_the_history_of_a_job_is_kept_to_a_bound(
    make: Make, namespace: str, db: asyncpg.Connection, now: datetime
) -> None:
    """Seen at once, and put in order at a heartbeat: the latest stay."""
    storage = make(history=3)
    for name, times in (("busy", 7), ("idle", 2)):
        await storage.register(job(name, now))
        await ran(storage, name, times, now)
    seen = await storage.list_runs("busy")
    assert len(seen) == 3
    await storage.heartbeat(InstanceInfo("me", now, now))
    assert await count_runs(db, namespace) == {"busy": 3, "idle": 2}
    assert await storage.list_runs("busy") == seen
    assert [row.token for row in seen] == sorted((row.token for row in seen), reverse=True)


async def test_a_history_that_could_not_be_put_in_order_is_the_next_time(
    make: Make, namespace: str, db: asyncpg.Connection, now: datetime
) -> None:
    """Though nothing has run meanwhile; and the heartbeat itself does not fail."""
    storage = make(history=3)
    await storage.register(job("busy", now))
    await ran(storage, "busy", 7, now)
    await db.execute(f"ALTER TABLE {namespace}_runs RENAME TO {namespace}_away")
    await storage.heartbeat(InstanceInfo("me", now, now))
    await db.execute(f"ALTER TABLE {namespace}_away RENAME TO {namespace}_runs")
    assert await count_runs(db, namespace) == {"busy": 7}
    await storage.heartbeat(InstanceInfo("me", now, now))
    assert await count_runs(db, namespace) == {"busy": 3}


async def test_the_whole_history_is_kept_to_a_bound(
    make: Make, namespace: str, db: asyncpg.Connection, now: datetime
) -> None:
    """The oldest go first, whosever they are."""
    storage = make(total_history=4)
    for name in "abcdef":
        await storage.register(job(name, now))
        await ran(storage, name, 1, now)
    await storage.heartbeat(InstanceInfo("me", now, now))
    assert await count_runs(db, namespace) == dict.fromkeys("cdef", 1)
    assert [row.job_id for row in await storage.list_runs(limit=3)] == ["f", "e", "d"]


async def test_the_whole_history_is_counted_when_it_has_grown(make: Make, now: datetime) -> None:
    """At first, and by each hundredth part: a heartbeat that finds nothing to do costs next to nothing."""
    storage = make(total_history=300)
    await storage.register(job("a", now))
    asked = spy_on(storage)
    for runs, counted in [(0, 1), (0, 1), (2, 1), (1, 2), (0, 2)]:
        await ran(storage, "a", runs, now)
        await storage.heartbeat(InstanceInfo("me", now, now))
        assert asked.count("prune_total") == counted


async def test_the_history_is_kept_for_a_time(
    make: Make, namespace: str, db: asyncpg.Connection, now: datetime
) -> None:
    """If one is given."""
    storage = make(history_age=timedelta(days=1))
    for name in "ab":
        await storage.register(job(name, now))
        await ran(storage, name, 1, now)
    await db.execute(f"UPDATE {namespace}_runs SET added = added - interval '2 days' WHERE job_id = 'a'")  # noqa: S608
    await storage.heartbeat(InstanceInfo("me", now, now))
    assert await count_runs(db, namespace) == {"b": 1}


async def test_no_history_is_kept_where_none_is_wanted(
    make: Make, namespace: str, db: asyncpg.Connection, now: datetime
) -> None:
    """Not a row, from the first."""
    storage = make(history=0)
    await storage.register(job("a", now))
    await ran(storage, "a", 2, now)
    assert await count_runs(db, namespace) == {}
    assert await storage.list_runs("a") == await storage.list_runs() == []


async def test_a_run_is_in_the_history_exactly_if_its_outcome_was_written(make: Make, now: datetime) -> None:
    """One statement writes both: a stale outcome leaves no row."""
    storage = make()
    record = (await storage.register(job("a", now))).record
    granted = await claimed(storage, record)
    await storage.delete_job("a")
    assert await settled(storage, granted, now) is SettleVerdict.STALE
    assert await storage.list_runs("a") == []
    record = (await storage.register(job("a", now))).record
    granted = await claimed(storage, record)
    skipped = RunRecord("a", now, RunStatus.SKIPPED)
    run = run_of(granted, now)
    outcome = Outcome(granted.lease, run, PointerMove(now, record.revision, now), skipped)
    assert (await storage.settle([outcome])).settled[0].verdict is SettleVerdict.DONE
    assert (await storage.settle([outcome])).settled[0].verdict is SettleVerdict.REPEATED
    assert await storage.list_runs("a") == [run, skipped]


async def test_instances_that_are_not_heard_of_are_forgotten(
    make: Make, namespace: str, db: asyncpg.Connection, now: datetime
) -> None:
    """By the server's clock; their rows go with the next heartbeat of another."""
    storage = make()
    await storage.heartbeat(InstanceInfo("dead", now, now, frozenset("ab")))
    await db.execute(f"UPDATE {namespace}_instances SET seen = seen - interval '11 minutes'")  # noqa: S608
    assert await storage.list_instances() == []
    await storage.heartbeat(InstanceInfo("me", now, now))
    assert [name for (name,) in await db.fetch(f"SELECT instance_id FROM {namespace}_instances")] == ["me"]  # noqa: S608


# ── making one ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_the_driver_it_says_what_to_install() -> None:
    """The exact command, whichever way the storage is asked for."""
    for asked in ("import PostgresStorage", "import open_storage as o; o('postgresql://localhost/x')"):
        script = f"import sys; sys.modules['asyncpg'] = None; from chrono_async.storage {asked}"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert "ModuleNotFoundError: PostgresStorage needs a package more" in done.stderr
        assert "pip install 'chrono-async[postgres]'" in done.stderr


@pytest.mark.parametrize(
    "options",
    [{"max_connections": 0}, {"min_connections": 6}, {"min_connections": -1}, {"timeout": 0},
     {"timeout": float("nan")}, {"history_age": -1}],
)  # fmt: skip
def test_options_that_cannot_be_are_refused_at_once(options: dict[str, float]) -> None:
    """By name, before anything connects."""
    with pytest.raises(InvalidOptionError, match=f"^{next(iter(options))}="):
        PostgresStorage("postgresql:///", **options)  # type: ignore[arg-type]


async def test_a_server_that_is_not_there_is_named_without_the_password() -> None:
    """The system's own words, such as "No such file or directory", do not say where."""
    storage = PostgresStorage("postgresql://app:secret@/jobs?host=/nowhere/at/all")
    with pytest.raises(StorageError, match=r"FileNotFoundError.*/nowhere/at/all") as caught:
        await storage.list_jobs()
    assert "secret" not in str(caught.value)


def test_what_is_neither_a_dsn_nor_a_pool_is_refused() -> None:
    """A connection is no pool: two calls at once would need two."""
    with pytest.raises(InvalidOptionError, match="dsn_or_pool"):
        PostgresStorage(7)  # type: ignore[arg-type]
