"""What reaches whom: jobs, history and instances between two ways to one store, and by whose clock a job is due."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from chrono_async.claims import Early, Granted, Outcome
from chrono_async.clock import SystemClock
from chrono_async.models import InstanceInfo, RunRecord, RunStatus
from chrono_async.storage import (
    ClaimRequest,
    FileStorage,
    InMemoryStorage,
    LeasingStorage,
    PointerMove,
    PostgresStorage,
    RedisStorage,
    SQLiteStorage,
    as_leasing,
)
from chrono_async.testing._contract_steps import job
from chrono_async.testing.contract import SteppedClock
from tests import servers

from .eight_methods import EightMethodStorage

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
Pair = tuple[LeasingStorage, LeasingStorage]


def pair_of(kind: str, folder: Path) -> Pair:
    """Make two storages as two processes would, that are to lead to the same store."""
    name = f"test_{uuid4().hex[:8]}"
    match kind:
        case "memory":
            return InMemoryStorage(), InMemoryStorage()
        case "file":
            return FileStorage(folder / "jobs.json"), FileStorage(folder / "jobs.json")
        case "sqlite":
            return SQLiteStorage(folder / "jobs.db"), SQLiteStorage(folder / "jobs.db")
        case "postgres":
            dsn = servers.postgres().dsn
            return PostgresStorage(dsn, namespace=name), PostgresStorage(dsn, namespace=name)
        case "redis":
            url = servers.redis().url
            return RedisStorage(url, namespace=name), RedisStorage(url, namespace=name)
        case _:
            store = EightMethodStorage(SystemClock())
            return as_leasing(store), as_leasing(store)


@pytest.fixture
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Pair]:
    one, two = pair_of(request.param, tmp_path)
    yield one, two
    await one.close()
    await two.close()


def on(*kinds: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("pair", kinds, indirect=True)


async def run_once(storage: LeasingStorage) -> RunRecord:
    """Have a run of a job in the history, and an instance that is alive."""
    now = SystemClock().now()
    record = (await storage.register(job("a", now))).record
    (granted,) = (await storage.claim([ClaimRequest("a", now, now, record.revision)], "me/1", MINUTE)).verdicts
    assert isinstance(granted, Granted)
    row = RunRecord("a", now, RunStatus.COMPLETED, "me", token=granted.lease.token)
    await storage.settle([Outcome(granted.lease, row, PointerMove(now, record.revision, now + HOUR))])
    await storage.heartbeat(InstanceInfo("me", now, now, frozenset("a")))
    return row


@on("file", "sqlite", "postgres", "redis")
async def test_jobs_history_and_instances_are_seen_by_all_on_the_store(pair: Pair) -> None:
    """Whoever ran what, and wherever that was."""
    one, two = pair
    row = await run_once(one)
    assert [record.run_count for record in await two.list_jobs()] == [1]
    assert await two.list_runs("a") == await two.list_runs() == [row]
    assert [(seen.instance_id, seen.jobs) for seen in await two.list_instances()] == [("me", frozenset("a"))]


@on("eight methods")
async def test_through_eight_methods_others_see_jobs_but_neither_history_nor_instances(pair: Pair) -> None:
    """Which the eight methods have no place for."""
    one, two = pair
    row = await run_once(one)
    assert [record.run_count for record in await two.list_jobs()] == [1]
    assert await one.list_runs("a") == [row]
    assert await two.list_runs() == await two.list_instances() == []


@on("memory")
async def test_what_is_in_memory_is_in_one_storage_and_ends_with_it(pair: Pair) -> None:
    """Another one, in a process that starts anew for instance, begins with nothing."""
    one, two = pair
    await run_once(one)
    assert await two.list_jobs() == await two.list_runs() == await two.list_instances() == []


@pytest.mark.parametrize("kind", ["memory", "file", "sqlite", "eight methods"])
async def test_where_there_is_no_server_jobs_are_due_by_the_wall_clock(kind: str, tmp_path: Path) -> None:
    """Of the process in memory, of the host for files, and of each instance through eight methods."""
    clock = SteppedClock()
    storage: LeasingStorage = {
        "memory": lambda: InMemoryStorage(clock=clock),
        "file": lambda: FileStorage(tmp_path / "jobs.json", clock=clock),
        "sqlite": lambda: SQLiteStorage(tmp_path / "jobs.db", clock=clock),
        "eight methods": lambda: as_leasing(EightMethodStorage(clock), clock=clock),
    }[kind]()
    due_at = clock.now() + HOUR / 2
    record = (await storage.register(job("a", due_at))).record
    request = ClaimRequest("a", due_at, due_at, record.revision)
    assert (await storage.claim([request], "me/1", MINUTE)).verdicts == [Early(HOUR / 2)]
    clock.step(HOUR)
    now = clock.now()
    assert [due.job_id for due in (await storage.due(now, now)).due] == ["a"]
    assert isinstance((await storage.claim([request], "me/1", MINUTE)).verdicts[0], Granted)
    await storage.close()
