"""What no storage can be made of, or asked for, is refused at once, by name, and without repeating a password."""

import asyncio
import traceback
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from chrono_async.claims import ClaimRequest, Granted, Outcome, PointerMove, Release
from chrono_async.errors import InvalidOptionError, StorageCorruptError, StorageError
from chrono_async.models import JobRecord, JobStatus, RunRecord, RunStatus
from chrono_async.policies import Missed
from chrono_async.storage import (
    FileStorage,
    InMemoryStorage,
    LeasingStorage,
    PortableStorage,
    PostgresStorage,
    RedisStorage,
    SQLiteStorage,
    open_storage,
)
from chrono_async.storage._doors import without_password
from chrono_async.testing.contract import SteppedClock

from .eight_methods import EightMethodStorage

BOUNDED: list[Callable[..., Any]] = [
    InMemoryStorage,
    partial(FileStorage, "jobs.yaml"),
    partial(SQLiteStorage, "jobs.db"),
    partial(PostgresStorage, "postgresql://host/db"),
    partial(RedisStorage, "redis://host"),
]


def named(value: object) -> str:
    """Return an id that is the same in each process that collects the tests."""
    if callable(value):
        return getattr(getattr(value, "func", value), "__name__", "")
    return type(value).__name__ if isinstance(value, redis.Redis) else ascii(value)


@pytest.mark.parametrize("bad", [2.5, "x", True, -1, None], ids=named)
@pytest.mark.parametrize("option", ["history", "total_history"])
@pytest.mark.parametrize("make", BOUNDED, ids=named)
def test_a_bound_of_the_history_is_a_whole_number(make: Callable[..., Any], option: str, bad: object) -> None:
    """Or each write would fail of it later, and no run could be settled."""
    with pytest.raises(InvalidOptionError, match=f"{option}="):
        make(**{option: bad})


@pytest.mark.parametrize("bad", [0, -1, "x", True, float("nan")], ids=named)
@pytest.mark.parametrize("make", BOUNDED, ids=named)
def test_its_age_is_a_length_of_time(make: Callable[..., Any], bad: object) -> None:
    """Or each heartbeat would fail of it later."""
    with pytest.raises(InvalidOptionError, match="history_age="):
        make(history_age=bad)


@pytest.mark.parametrize("make", BOUNDED[2:], ids=named)
@pytest.mark.parametrize("bad", [5, b"chrono", None], ids=named)
def test_a_namespace_is_a_text(make: Callable[..., Any], bad: object) -> None:
    with pytest.raises(InvalidOptionError, match="namespace="):
        make(namespace=bad)


@pytest.mark.parametrize("bad", ["jobs\0.db", 5, None, b"jobs.db"], ids=named)
def test_a_path_can_be_one(bad: Any) -> None:
    with pytest.raises(InvalidOptionError, match="path="):
        SQLiteStorage(bad)


@pytest.mark.parametrize(
    "bad",
    [
        "postgresql://h:abc/db",
        "postgresql://me:secret@h:abc/db",
        "postgresql://127.0.0.1:99999/x",
        "postgresql://[::1]:0/x",
        "postgresql://h:1,g:x/db",
        "postgresql://[::1/db",
        "postgresql+asyncpg://me:secret@h/db",
        "host=h password=secret",
    ],
)
def test_a_dsn_can_lead_somewhere(bad: str) -> None:
    with pytest.raises(InvalidOptionError, match="dsn_or_pool=") as caught:
        PostgresStorage(bad)
    assert "secret" not in repr(caught.value) + repr(caught.value.value)


@pytest.mark.parametrize(
    "good",
    [
        "postgres://",
        "postgresql:///db",
        "postgresql://h:5432,[::1]:5433,g/db",
        "postgresql://u:p:w@/db?host=/tmp&port=1",
    ],
)
def test_a_dsn_may_lead_to_several_servers_or_a_socket(good: str) -> None:
    assert PostgresStorage(good)


@pytest.mark.parametrize(
    ("option", "bad"), [("max_connections", "x"), ("min_connections", 0.5), ("statement_cache_size", "x")]
)
def test_connections_are_counted(option: str, bad: Any) -> None:
    with pytest.raises(InvalidOptionError, match=option):
        PostgresStorage("postgresql://h/db", **{option: bad})


@pytest.mark.parametrize(
    ("dsn", "cause"), [("postgresql://h,,g/db", IndexError), ("postgresql:///?port=x", ValueError)]
)
async def test_what_the_driver_alone_can_tell_of_a_dsn_is_an_error_of_the_storage(
    dsn: str, cause: type[Exception]
) -> None:
    """With the driver's as its cause."""
    storage = PostgresStorage(dsn, timeout=2)
    with pytest.raises(StorageError, match=f"postgres: {cause.__name__}") as caught:
        await storage.list_jobs()
    assert isinstance(caught.value.__cause__, cause)
    await storage.close()


@pytest.mark.parametrize(
    "bad",
    [
        "redis://me:secret@h?foo=bar",
        "redis://me:secret@h/notanumber",
        "redis://me:secret@h/1/2",
        "redis://h:abc",
        "redis://h:99999",
        "redis://:secret/x@h",
        "redis://h?socket_timeout=x",
        "rediss://me:secret@h?ssl_cert_reqs=whatever",
        5,
        None,
        redis.Redis(),
    ],
    ids=named,
)
def test_a_redis_is_a_url_that_can_lead_somewhere_or_a_client_that_can_be_awaited(bad: Any) -> None:
    """A database that is no number would be number 0, and an option that nobody knows would fail each call."""
    with pytest.raises(InvalidOptionError, match="url_or_client=") as caught:
        RedisStorage(bad)
    assert "secret" not in repr(caught.value) + repr(caught.value.value)


@pytest.mark.parametrize(
    "good",
    ["redis://", "redis://h/", "redis://h/5", "unix:///tmp/x.sock?db=1", "redis://u:p%2Fw@h:1/2?socket_timeout=3"],
)
def test_a_redis_may_be_anywhere(good: str) -> None:
    assert RedisStorage(good)


@pytest.mark.parametrize("bad", [None, b"sqlite:x", 5])
def test_a_url_is_a_text(bad: Any) -> None:
    with pytest.raises(InvalidOptionError, match="url="):
        open_storage(bad)


def test_a_path_is_no_url() -> None:
    """It does not say what for: the error says what to write."""
    with pytest.raises(InvalidOptionError, match=r"'sqlite:x\.db'"):
        open_storage(Path("x.db"))  # type: ignore[arg-type]


@pytest.mark.parametrize("url", ["mysql://u:secretpw@h/db", "mongodb://h/db?user=u&password=secretpw"])
def test_an_unsupported_url_is_shown_without_its_password(url: str) -> None:
    """Errors are logged, and read by many."""
    with pytest.raises(InvalidOptionError, match="unsupported") as caught:
        open_storage(url)
    assert "secretpw" not in repr(caught.value) + repr(caught.value.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:p/w@x@host/db", "postgresql://me:***@host/db"),
        ("redis://:secret@host/0", "redis://:***@host/0"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("postgresql://host/db?user=me&password=p%20w&x=y", "postgresql://host/db?user=me&password=***&x=y"),
        ("rediss://host/0?ssl_password=secret", "rediss://host/0?ssl_password=***"),
        ("postgresql://me:se\ncret@host/db?sslpassword=my key", "postgresql://me:***@host/db?sslpassword=***"),
        ("host=h password=secret user=me", "host=h password=***"),
        ("sqlite:a.db", "sqlite:a.db"),
    ],
)
def test_a_password_is_not_shown(url: str, shown: str) -> None:
    assert without_password(url) == shown


LOCAL: dict[str, Callable[[Path], LeasingStorage]] = {
    "memory": lambda _: InMemoryStorage(),
    "file": lambda folder: FileStorage(folder / "jobs.json"),
    "sqlite": lambda folder: SQLiteStorage(folder / "jobs.db"),
    "eight methods": lambda _: PortableStorage(EightMethodStorage(SteppedClock())),
}


@pytest.fixture(params=LOCAL)
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LeasingStorage]:
    made = LOCAL[request.param](tmp_path)
    yield made
    await made.close()


@pytest.mark.parametrize("make", [FileStorage, SQLiteStorage])
async def test_each_call_hears_of_what_cannot_be_read_by_an_error_of_its_own(
    make: Callable[[Path], LeasingStorage], tmp_path: Path
) -> None:
    """One that all of them raise would gather the tracebacks of all, and what one caller notes on it."""
    path = tmp_path / "jobs.json"
    path.write_text("no state at all, nor a database")
    storage = make(path)
    errors = await asyncio.gather(*(storage.get_job(str(n)) for n in range(5)), return_exceptions=True)
    await storage.close()
    corrupt = [error for error in errors if isinstance(error, StorageCorruptError)]
    assert len(set(corrupt)) == 5
    ((_, cause),) = {(str(error), error.__cause__) for error in corrupt}
    assert cause is not None
    assert len({len(traceback.extract_tb(error.__traceback__)) for error in corrupt}) == 1


NOW = datetime(2020, 1, 1, tzinfo=UTC)
NAIVE = NOW.replace(tzinfo=None)


async def wishes(storage: LeasingStorage) -> list[ClaimRequest]:
    """Return what can be claimed of two jobs."""
    for job_id in "ab":
        await storage.save_job(JobRecord(id=job_id, next_run=NOW))
    return [ClaimRequest(job_id, NOW, NOW, 0) for job_id in "ab"]


async def claimed(storage: LeasingStorage) -> list[Granted]:
    answer = await storage.claim(await wishes(storage), "me/1", timedelta(seconds=60))
    return [verdict for verdict in answer.verdicts if isinstance(verdict, Granted)]


@pytest.mark.parametrize("field", ["next_run", "fire_time", "moves_to"])
async def test_a_batch_of_claims_with_a_naive_moment_grants_none(storage: LeasingStorage, field: str) -> None:
    """Found on the way, it would leave the jobs before it claimed by somebody who was never told."""
    first, second = await wishes(storage)
    with pytest.raises(InvalidOptionError, match=rf"{field}=.* has no time zone"):
        await storage.claim([first, second._replace(**{field: NAIVE})], "me/1", timedelta(seconds=60))
    assert (await storage.get_job("a")).status is JobStatus.PENDING


@pytest.mark.parametrize("field", ["finished", "skipped", "move"])
async def test_a_batch_of_outcomes_with_a_naive_moment_writes_none(storage: LeasingStorage, field: str) -> None:
    """And none is taken for local time."""
    leases = [granted.lease for granted in await claimed(storage)]
    rows = [RunRecord(lease.job_id, NOW, RunStatus.COMPLETED, token=lease.token) for lease in leases]
    first, second = (Outcome(lease, row, PointerMove(NOW, 0, None)) for lease, row in zip(leases, rows, strict=True))
    bad = {
        "finished": second._replace(run=second.run._replace(finished=NAIVE)),
        "skipped": second._replace(skipped=second.run._replace(missed=Missed(1, NAIVE, NAIVE))),
        "move": second._replace(move=PointerMove(NOW, 0, NAIVE)),
    }
    with pytest.raises(InvalidOptionError, match="has no time zone"):
        await storage.settle([first, bad[field]])
    assert (await storage.get_job("a")).run_count == 0


async def test_a_batch_of_releases_with_a_naive_moment_gives_none_back(storage: LeasingStorage) -> None:
    first, second = (Release(granted.lease) for granted in await claimed(storage))
    with pytest.raises(InvalidOptionError, match=r"not_before=.* has no time zone"):
        await storage.release([first, second._replace(not_before=NAIVE)])
    assert (await storage.get_job("a")).status is JobStatus.RUNNING


async def test_a_pointer_is_not_moved_to_a_naive_moment(storage: LeasingStorage) -> None:
    """The index of what is due could not be read any more."""
    await storage.save_job(JobRecord(id="a", next_run=NOW))
    skipped = RunRecord("a", NOW, RunStatus.SKIPPED)
    with pytest.raises(InvalidOptionError, match=r"next_run=.* has no time zone"):
        await storage.advance("a", skipped, revision=0, next_run=NAIVE)
    assert (await storage.get_job("a")).next_run == NOW
