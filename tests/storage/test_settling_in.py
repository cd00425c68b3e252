"""A run's outcome in the user's own transaction: with what the job did there, or not at all; on a real PostgreSQL."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from chrono_async import (
    AsyncScheduler,
    JobResult,
    JobStatus,
    LeaseLostError,
    RunStatus,
    StorageError,
    current_run,
)
from chrono_async.errors import InvalidOptionError
from chrono_async.events import Event, LeaseLost, RunFinished, SchedulerStopped
from chrono_async.storage import (
    ClaimRequest,
    Granted,
    InMemoryStorage,
    Lease,
    Outcome,
    PostgresStorage,
    RenewAnswer,
    SettlesInTransaction,
    SettleVerdict,
)
from chrono_async.testing._contract_steps import job, run_of
from tests import servers

MINUTE = timedelta(minutes=1)
Make = Callable[..., PostgresStorage]


class Accounts:
    """A table of the user's own, and connections to it."""

    def __init__(self, pool: asyncpg.Pool, table: str) -> None:
        self.pool, self.table = pool, table

    async def pay_in(self, connection: asyncpg.Connection) -> None:
        await connection.execute(f"INSERT INTO {self.table} (what) VALUES ($1)", current_run().run_id)  # noqa: S608

    async def count(self) -> int:
        return await self.pool.fetchval(f"SELECT count(*) FROM {self.table}")  # noqa: S608


@pytest.fixture
def namespace() -> str:
    return f"test_{uuid4().hex[:8]}"


@pytest.fixture
async def accounts(namespace: str) -> AsyncIterator[Accounts]:
    async with asyncpg.create_pool(servers.postgres().dsn, min_size=0, max_size=5) as pool:
        await pool.execute(f"CREATE TABLE {namespace}_effects (what text)")
        yield Accounts(pool, f"{namespace}_effects")


@pytest.fixture
async def make(namespace: str) -> AsyncIterator[Make]:
    """Make storages on one set of tables, and close them."""
    made: list[PostgresStorage] = []

    def make(**options: object) -> PostgresStorage:
        made.append(PostgresStorage(servers.postgres().dsn, **{"namespace": namespace, **options}))
        return made[-1]

    yield make
    for storage in made:
        await storage.close()


@pytest.fixture
async def s(make: Make) -> AsyncIterator[AsyncScheduler]:
    async with AsyncScheduler(storage=make(), lock_ttl=10, storage_poll_interval=0.5) as s:
        yield s


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    """Ask until it holds."""
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - it is a question to the server
            await asyncio.sleep(0.01)


async def once(s: AsyncScheduler, body: Callable[[], Awaitable[None]], **options: object) -> JobResult:
    """Run it as a job, and return how it ended."""
    await s.add_one_shot_job("pay", "Pay", body, 0.01, **options)
    return await s.wait_for_job("pay", timeout=20)


# ── with the transaction ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_effect_and_outcome_are_committed_together(s: AsyncScheduler, accounts: Accounts, make: Make) -> None:
    """Before the engine has said a word to the storage: no crash comes between the two."""
    seen = []

    async def pay() -> None:
        async with accounts.pool.acquire() as connection, connection.transaction():
            await accounts.pay_in(connection)
            await current_run().settle_in(connection)
            seen.append((await make().get_job("pay")).run_count)
        seen.append((await make().get_job("pay")).run_count)

    assert (await once(s, pay)).status is JobStatus.COMPLETED
    assert seen == [0, 1]
    assert await accounts.count() == 1


async def test_a_run_that_has_settled_itself_is_counted_and_told_once(s: AsyncScheduler, accounts: Accounts) -> None:
    """The engine settles after it all the same; that is a repetition, which changes nothing."""
    events: list[Event] = []
    told: list[object] = []

    async def pay() -> None:
        async with accounts.pool.acquire() as connection, connection.transaction():
            await accounts.pay_in(connection)
            await current_run().settle_in(connection)

    s.subscribe(events.append, RunFinished)
    await s.add_interval_job(
        "pay", "Pay", pay, 0.2, max_runs=3, on_success=lambda _: told.append("success"), on_result=told.append
    )
    results = [await s.wait_for_job("pay", timeout=20) for _ in range(3)]
    await s.stop()
    info, rows = await s.get_job("pay"), await s.list_runs("pay")
    assert (info.run_count, info.error_count, info.next_run) == (3, 0, None)
    assert sorted(row.fire_time for row in rows if row.status is RunStatus.COMPLETED) == [r.fire_time for r in results]
    assert [event.result for event in events if isinstance(event, RunFinished)] == results
    assert told == [told for result in results for told in ("success", result)]
    assert {row.finished for row in rows} == {result.finished for result in results}
    assert await accounts.count() == 3


async def test_what_the_run_has_overlapped_is_told_once(s: AsyncScheduler, accounts: Accounts) -> None:
    """Up to the moment at which the body settles."""

    async def pay() -> None:
        await asyncio.sleep(0.35)
        async with accounts.pool.acquire() as connection, connection.transaction():
            await current_run().settle_in(connection)

    await s.add_interval_job("pay", "Pay", pay, 0.1, max_runs=1)
    await s.wait_for_job("pay", timeout=20)
    rows = {row.status: row for row in await s.list_runs("pay")}
    assert sorted(rows) == [RunStatus.COMPLETED, RunStatus.SKIPPED]
    skipped = rows[RunStatus.SKIPPED].missed
    assert skipped is not None
    assert skipped.count >= 3


@pytest.mark.parametrize("options", [{}, {"overlap": "allow"}, {"recovery": "skip"}])
async def test_any_kind_of_run_can_settle_itself(
    s: AsyncScheduler, accounts: Accounts, options: dict[str, object]
) -> None:
    """Scheduled or asked for by hand, with or without a lease of its own."""

    async def pay() -> None:
        async with accounts.pool.acquire() as connection, connection.transaction():
            await accounts.pay_in(connection)
            await current_run().settle_in(connection)

    assert (await once(s, pay, **options)).status is JobStatus.COMPLETED
    run_id = await s.trigger_job("pay")
    assert (await s.wait_for_job("pay", run_id=run_id, timeout=20)).status is JobStatus.COMPLETED
    assert ((await s.get_job("pay")).run_count, await accounts.count()) == (2, 2)


async def test_saying_it_twice_in_a_transaction_is_saying_it_once(s: AsyncScheduler, accounts: Accounts) -> None:
    """The first time counts."""
    results: list[JobResult] = []

    async def pay() -> None:
        async with accounts.pool.acquire() as connection, connection.transaction():
            await current_run().settle_in(connection)
            await current_run().settle_in(connection)

    await once(s, pay, on_result=results.append)
    await until(lambda: asyncio.sleep(0, results))
    (row,) = await s.list_runs("pay")
    assert [(result.status, result.finished) for result in results] == [(JobStatus.COMPLETED, row.finished)]
    assert (await s.get_job("pay")).run_count == 1


async def test_a_body_that_goes_on_after_the_commit_holds_up_nobody(
    s: AsyncScheduler, accounts: Accounts, make: Make
) -> None:
    """Another instance runs the next fire time meanwhile; the first run is told of all the same, as it was written."""
    events: list[Event] = []
    ran: list[str] = []

    async def pay() -> None:
        ran.append(current_run().instance_id)
        async with accounts.pool.acquire() as connection, connection.transaction():
            await current_run().settle_in(connection)
        if current_run().instance_id == s.instance_id:
            await until(lambda: has_run_twice(watch))

    watch = make()
    s.subscribe(events.append, RunFinished, LeaseLost)
    await s.add_interval_job("pay", "Pay", pay, 0.3, max_runs=2)
    await until(lambda: asyncio.sleep(0, ran))
    async with AsyncScheduler(storage=make(), lock_ttl=10, storage_poll_interval=0.1) as other:
        await other.add_interval_job("pay", "Pay", pay, 0.3, max_runs=2)
        await until(lambda: asyncio.sleep(0, events))
    assert ran == [s.instance_id, other.instance_id]
    assert [type(event) for event in events] == [RunFinished]


async def has_run_twice(storage: PostgresStorage) -> bool:
    return (await storage.get_job("pay")).run_count == 2


# ── or not at all ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_body_that_raises_before_the_commit_fails_as_ever(s: AsyncScheduler, accounts: Accounts) -> None:
    """What it wrote is undone, and so is the outcome."""

    async def pay() -> None:
        async with accounts.pool.acquire() as connection, connection.transaction():
            await accounts.pay_in(connection)
            await current_run().settle_in(connection)
            raise ValueError("no")

    result, info = await once(s, pay), await s.get_job("pay")
    assert (result.status, repr(result.error)) == (JobStatus.FAILED, "ValueError('no')")
    assert (info.run_count, info.error_count, info.last_error) == (1, 1, "ValueError: no")
    assert await accounts.count() == 0


async def test_a_body_that_raises_before_the_commit_is_tried_again(s: AsyncScheduler, accounts: Accounts) -> None:
    tries: list[int] = []

    async def pay() -> None:
        async with accounts.pool.acquire() as connection, connection.transaction():
            await accounts.pay_in(connection)
            await current_run().settle_in(connection)
            tries.append(1)
            if len(tries) < 3:
                raise ConnectionError

    result, info = await once(s, pay, max_retries=2), await s.get_job("pay")
    assert (result.status, result.retry_count, info.run_count, info.error_count) == (JobStatus.COMPLETED, 2, 1, 0)
    assert [row.retry_count for row in await s.list_runs("pay")] == [2]
    assert await accounts.count() == 1


async def test_a_body_may_begin_another_transaction_after_one_that_it_undid(
    s: AsyncScheduler, accounts: Accounts
) -> None:
    async def pay() -> None:
        async with accounts.pool.acquire() as connection:
            undone = connection.transaction()
            await undone.start()
            await accounts.pay_in(connection)
            await current_run().settle_in(connection)
            await undone.rollback()
            async with connection.transaction():
                await accounts.pay_in(connection)
                await current_run().settle_in(connection)

    assert (await once(s, pay)).status is JobStatus.COMPLETED
    assert ((await s.get_job("pay")).run_count, await accounts.count()) == (1, 1)


# ── where the commit and the body's end disagree ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("options", [{}, {"max_retries": 2}, {"timeout": 2}])
async def test_what_is_committed_counts_whatever_the_body_does_then(
    s: AsyncScheduler, accounts: Accounts, options: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    """It is neither tried again, nor is it a failure: or the effect would be there twice."""

    async def pay() -> None:
        async with accounts.pool.acquire() as connection, connection.transaction():
            await accounts.pay_in(connection)
            await current_run().settle_in(connection)
        if "timeout" in options:
            await asyncio.sleep(3600)
        raise ValueError("too late")

    result = await once(s, pay, **options)
    await until(lambda: asyncio.sleep(0, "failed after its outcome was committed" in caplog.text))
    info = await s.get_job("pay")
    assert (result.status, result.error, info.status) == (JobStatus.COMPLETED, None, JobStatus.COMPLETED)
    assert (info.run_count, info.error_count, await accounts.count()) == (1, 0, 1)


async def test_a_body_that_undoes_its_transaction_and_returns_has_completed_its_run(
    s: AsyncScheduler, accounts: Accounts
) -> None:
    """As any body that returns: what it did, it must know."""

    async def pay() -> None:
        async with accounts.pool.acquire() as connection:
            undone = connection.transaction()
            await undone.start()
            await accounts.pay_in(connection)
            await current_run().settle_in(connection)
            await undone.rollback()

    assert (await once(s, pay, max_retries=2)).status is JobStatus.COMPLETED
    assert ((await s.get_job("pay")).run_count, await accounts.count()) == (1, 0)


async def test_a_commit_that_is_under_way_when_the_body_fails_is_waited_for(
    s: AsyncScheduler, accounts: Accounts
) -> None:
    """Its answer may have been lost with the connection: whether to try again is not known before it is decided."""
    pids: list[int] = []

    async def commit_later(connection: asyncpg.Connection, transaction: asyncpg.transaction.Transaction) -> None:
        await until(lambda: someone_waits_for(accounts, pids[0]))
        await transaction.commit()
        await accounts.pool.release(connection)

    async def pay() -> None:
        connection = await accounts.pool.acquire()
        transaction = connection.transaction()
        await transaction.start()
        await accounts.pay_in(connection)
        await current_run().settle_in(connection)
        pids.append(connection.get_server_pid())
        tasks.append(asyncio.create_task(commit_later(connection, transaction)))
        raise ConnectionError

    tasks: list[asyncio.Task[None]] = []
    result = await once(s, pay, max_retries=3)
    assert (result.status, await accounts.count(), len(tasks)) == (JobStatus.COMPLETED, 1, 1)
    await tasks[0]


async def someone_waits_for(accounts: Accounts, pid: int) -> bool:
    return await accounts.pool.fetchval("SELECT bool_or($1 = ANY (pg_blocking_pids(pid))) FROM pg_stat_activity", pid)


class Mute(PostgresStorage):
    """A storage that says nothing of leases, so many times."""

    silent_for = 0

    async def renew(self, leases: Sequence[Lease], ttl: timedelta) -> RenewAnswer:
        if self.silent_for:
            self.silent_for -= 1
            raise StorageError("not now")
        return await super().renew(leases, ttl)


async def test_whether_it_is_committed_is_asked_until_there_is_an_answer(namespace: str, accounts: Accounts) -> None:
    """A try more on a guess could have the effect twice."""
    storage = Mute(servers.postgres().dsn, namespace=namespace)
    results: list[JobResult] = []

    async def pay() -> None:
        async with accounts.pool.acquire() as connection, connection.transaction():
            await accounts.pay_in(connection)
            await current_run().settle_in(connection)
        storage.silent_for = 3
        raise ConnectionError

    async with AsyncScheduler(storage=storage, storage_poll_interval=0.5) as s:
        await s.add_one_shot_job("pay", "Pay", pay, 0.01, max_retries=3, on_result=results.append)
        await until(lambda: asyncio.sleep(0, results))
    assert [result.status for result in results] == [JobStatus.COMPLETED]
    assert (storage.silent_for, await accounts.count()) == (0, 1)
    await storage.close()


@pytest.mark.parametrize("is_committed", [True, False])
async def test_a_stop_that_cannot_wait_for_the_answer_leaves_it_to_the_storage(
    namespace: str, accounts: Accounts, is_committed: bool
) -> None:
    """The run is given back; that does nothing to one that is settled."""
    storage = Mute(servers.postgres().dsn, namespace=namespace)

    async def pay() -> None:
        async with accounts.pool.acquire() as connection, connection.transaction():
            await accounts.pay_in(connection)
            await current_run().settle_in(connection)
            storage.silent_for = 10_000
            if not is_committed:
                raise ConnectionError
        raise ConnectionError

    s = AsyncScheduler(storage=storage, storage_poll_interval=0.5)
    await s.start()
    await s.add_one_shot_job("pay", "Pay", pay, 0.01, max_retries=3)
    await until(lambda: asyncio.sleep(0, 0 < storage.silent_for < 10_000))
    await s.stop(timeout=0)
    record = await storage.get_job("pay")
    assert (record.owner, record.run_count, record.next_run is None) == (None, is_committed, is_committed)
    assert await accounts.count() == is_committed
    await storage.close()


async def test_a_body_that_is_cut_off_before_the_commit_is_not_waited_for(namespace: str, accounts: Accounts) -> None:
    """Where the storage does not answer either: its run is given back, and none is left behind."""
    storage = Mute(servers.postgres().dsn, namespace=namespace)
    stopped: list[Event] = []

    async def pay() -> None:
        async with accounts.pool.acquire() as connection, connection.transaction():
            await current_run().settle_in(connection)
            storage.silent_for = 10_000
            await asyncio.Event().wait()

    s = AsyncScheduler(storage=storage, storage_poll_interval=0.5)
    s.subscribe(stopped.append, SchedulerStopped)
    await s.start()
    await s.add_one_shot_job("pay", "Pay", pay, 0.01)
    await until(lambda: asyncio.sleep(0, storage.silent_for))
    await s.stop(timeout=0)
    await until(lambda: asyncio.sleep(0, stopped))
    assert [event.leaked for event in stopped if isinstance(event, SchedulerStopped)] == [()]
    assert (await storage.get_job("pay")).owner is None
    await storage.close()


async def killed(when: str, accounts: Accounts, namespace: str, recovery: str) -> None:
    """Let a process run the job, and die."""
    script = Path(__file__).with_name("settles_and_dies.py")
    command = [sys.executable, str(script), servers.postgres().dsn, namespace, accounts.table, when, recovery]
    ended = await asyncio.to_thread(subprocess.run, command, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL


@pytest.mark.parametrize("recovery", ["rerun", "skip"])
async def test_a_process_that_is_killed_after_the_commit_has_done_its_run(
    make: Make, accounts: Accounts, namespace: str, recovery: str
) -> None:
    """The engine never came to settle it; nobody runs it again."""
    await killed("after", accounts, namespace, recovery)

    async def pay() -> None:
        await accounts.pool.execute(f"INSERT INTO {accounts.table} VALUES ('again')")  # noqa: S608

    async with AsyncScheduler(storage=make(), lock_ttl=0.5, storage_poll_interval=0.1) as s:
        await s.add_one_shot_job("pay", "Pay", pay, 0.01, recovery=recovery)
        await s.add_one_shot_job("later", "", asyncio.Event().set, 1)
        await s.wait_for_job("later", timeout=20)
        info, rows = await s.get_job("pay"), await s.list_runs("pay")
    assert (info.status, info.run_count, info.next_run) == (JobStatus.COMPLETED, 1, None)
    assert [(row.status, row.attempt) for row in rows] == [(RunStatus.COMPLETED, 1)]
    assert await accounts.count() == 1


async def test_a_process_that_is_killed_before_the_commit_has_done_nothing(
    make: Make, accounts: Accounts, namespace: str
) -> None:
    """Its transaction ends with its connection: the run is somebody else's, as attempt 2."""
    await killed("before", accounts, namespace, "rerun")
    assert ((await make().get_job("pay")).run_count, await accounts.count()) == (0, 0)

    async def pay() -> None:
        async with accounts.pool.acquire() as connection, connection.transaction():
            await accounts.pay_in(connection)
            await current_run().settle_in(connection)

    async with AsyncScheduler(storage=make(), lock_ttl=0.5, storage_poll_interval=0.1) as s:
        await s.add_one_shot_job("pay", "Pay", pay, 0.01)
        await s.wait_for_job("pay", timeout=20)
        rows = await s.list_runs("pay")
    assert sorted((row.attempt, row.status) for row in rows) == [(1, RunStatus.ABANDONED), (2, RunStatus.COMPLETED)]
    assert await accounts.count() == 1


# ── leases ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_who_has_lost_the_lease_is_told_and_its_transaction_undone(
    s: AsyncScheduler, accounts: Accounts, make: Make, namespace: str
) -> None:
    """The other instance's word counts from now on; the run here is neither counted nor tried again."""
    lost: list[Event] = []
    errors: list[LeaseLostError] = []
    tries: list[int] = []

    async def pay() -> None:
        tries.append(1)
        await take_over(accounts, make(), namespace)
        try:
            async with accounts.pool.acquire() as connection, connection.transaction():
                await accounts.pay_in(connection)
                await current_run().settle_in(connection)
        except LeaseLostError as error:
            errors.append(error)
            raise

    s.subscribe(lost.append, LeaseLost)
    await s.add_one_shot_job("pay", "Pay", pay, 0.01, max_retries=3)
    await until(lambda: asyncio.sleep(0, bool(lost)))
    record = await make().get_job("pay")
    assert (record.owner, record.run_count, len(tries)) == ("other/1", 0, 1)
    assert [(error.job_id, error.token < record.token) for error in errors] == [("pay", True)]
    assert await accounts.count() == 0


async def take_over(accounts: Accounts, other: PostgresStorage, namespace: str) -> Lease:
    """Let the lease of the job run out, and another instance take the run."""
    await accounts.pool.execute(f"UPDATE {namespace}_jobs SET lock_until = 0")  # noqa: S608
    record = await other.get_job("pay")
    assert record.claimed is not None
    request = ClaimRequest("pay", record.next_run, record.claimed, record.revision)
    (verdict,) = (await other.claim([request], "other/1", MINUTE)).verdicts
    assert isinstance(verdict, Granted)
    return verdict.lease


async def test_a_transaction_that_stays_open_holds_up_no_other_jobs_lease(make: Make, accounts: Accounts) -> None:
    """Its job is locked in the storage, so its lease is not asked to be renewed along with the others."""
    is_open, is_over = asyncio.Event(), asyncio.Event()
    begun: list[str] = []

    async def pay() -> None:
        begun.append("pay")
        async with accounts.pool.acquire() as connection, connection.transaction():
            await current_run().settle_in(connection)
            is_open.set()
            await is_over.wait()

    async def long() -> None:
        begun.append("long")
        await is_open.wait()
        lease = (await make().get_job("long")).lease_until
        assert lease is not None
        await until(lambda: has_been_renewed(make(), lease))
        is_over.set()

    async with AsyncScheduler(storage=make(), lock_ttl=3, storage_poll_interval=0.5) as s:
        await s.add_one_shot_job("pay", "Pay", pay, 0.01)
        await s.add_one_shot_job("long", "Long", long, 0.01)
        results = [await s.wait_for_job(job_id, timeout=20) for job_id in ("long", "pay")]
    assert [result.error for result in results] == [None, None]
    assert sorted(begun) == ["long", "pay"]


async def test_who_pauses_the_job_waits_for_the_end_of_the_transaction(
    s: AsyncScheduler, accounts: Accounts, make: Make
) -> None:
    """Until then its row is locked."""
    pids: list[int] = []
    may_end = asyncio.Event()

    async def pay() -> None:
        async with accounts.pool.acquire() as connection, connection.transaction():
            await current_run().settle_in(connection)
            pids.append(connection.get_server_pid())
            await may_end.wait()

    await s.add_one_shot_job("pay", "Pay", pay, 0.01)
    await until(lambda: asyncio.sleep(0, pids))
    pausing = asyncio.create_task(make().set_paused("pay"))
    await until(lambda: someone_waits_for(accounts, pids[0]))
    assert not pausing.done()
    may_end.set()
    record = await pausing
    assert (record.paused, record.run_count) == (True, 1)


async def test_a_body_whose_transaction_outlasts_its_lease_is_cancelled(make: Make, accounts: Accounts) -> None:
    """The lease is not renewed meanwhile; what it did is undone, and done by whoever takes over."""
    tries: list[int] = []
    lost: list[Event] = []

    async def pay() -> None:
        tries.append(current_run().attempt)
        async with accounts.pool.acquire() as connection, connection.transaction():
            await accounts.pay_in(connection)
            await current_run().settle_in(connection)
            if len(tries) == 1:
                await asyncio.Event().wait()

    async with AsyncScheduler(storage=make(), lock_ttl=0.6, storage_poll_interval=0.1) as s:
        s.subscribe(lost.append, LeaseLost)
        await s.add_one_shot_job("pay", "Pay", pay, 0.01)
        await until(accounts.count)
        await until(lambda: asyncio.sleep(0, lost))
    assert (tries, await accounts.count()) == ([1, 2], 1)


async def has_been_renewed(storage: PostgresStorage, before: datetime) -> bool:
    lease = (await storage.get_job("long")).lease_until
    return lease is not None and lease > before


# ── what cannot be ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_connection_outside_of_a_transaction_is_refused(s: AsyncScheduler, accounts: Accounts) -> None:
    """Its outcome would be there at once, without the effects to come."""

    async def pay() -> None:
        async with accounts.pool.acquire() as connection:
            await current_run().settle_in(connection)

    result = await once(s, pay)
    assert isinstance(result.error, InvalidOptionError)
    assert "must be in a transaction that you have begun" in str(result.error)


async def test_a_connection_that_does_not_see_the_storages_tables_is_an_error(
    s: AsyncScheduler, accounts: Accounts
) -> None:
    """They are looked for by its search path."""

    async def pay() -> None:
        async with accounts.pool.acquire() as connection, connection.transaction():
            await connection.execute("SET LOCAL search_path = pg_catalog")
            await current_run().settle_in(connection)

    result = await once(s, pay)
    assert isinstance(result.error, StorageError)
    assert "does not exist" in str(result.error)


async def test_what_is_no_connection_is_refused(s: AsyncScheduler) -> None:
    async def pay() -> None:
        await current_run().settle_in("postgresql://...")

    result = await once(s, pay)
    assert isinstance(result.error, InvalidOptionError)
    assert "must be a connection of asyncpg" in str(result.error)


async def test_a_storage_that_cannot_do_it_says_so() -> None:
    """Rather than let the job believe it."""

    async def pay() -> None:
        await current_run().settle_in(object())

    assert not isinstance(InMemoryStorage(), SettlesInTransaction)
    async with AsyncScheduler(storage=InMemoryStorage()) as s:
        result = await once(s, pay)
    assert isinstance(result.error, InvalidOptionError)
    assert "'InMemoryStorage': cannot settle in a transaction of yours" in str(result.error)


async def test_a_run_that_is_over_cannot_settle_itself_any_more(s: AsyncScheduler, accounts: Accounts) -> None:
    """A task that it left behind knows its run all the same."""
    runs = []

    async def pay() -> None:
        runs.append(current_run())

    await once(s, pay)
    async with accounts.pool.acquire() as connection, connection.transaction():
        with pytest.raises(LeaseLostError):
            await runs[0].settle_in(connection)


async def test_a_snapshot_from_before_a_renewal_is_an_error_of_the_storages(make: Make, accounts: Accounts) -> None:
    """In a transaction at a higher level than usual; it is to be begun again, as with any such conflict."""
    storage = make()
    record = (await storage.register(job("pay", datetime.now(UTC)))).record
    assert record.next_run is not None
    request = ClaimRequest("pay", record.next_run, record.next_run, record.revision)
    (granted,) = (await storage.claim([request], "a/1", MINUTE)).verdicts
    assert isinstance(granted, Granted)
    outcome = Outcome(granted.lease, run_of(granted, record.next_run), None)
    async with accounts.pool.acquire() as connection:
        transaction = connection.transaction(isolation="repeatable_read")
        await transaction.start()
        await connection.fetch("SELECT 1")
        await storage.renew([granted.lease], MINUTE)
        with pytest.raises(StorageError, match="could not serialize"):
            await storage.settle_in(connection, outcome)
        await transaction.rollback()
        async with connection.transaction(isolation="repeatable_read"):
            assert (await storage.settle_in(connection, outcome)).verdict is SettleVerdict.DONE
    assert (await storage.settle([outcome])).settled[0].verdict is SettleVerdict.REPEATED
