"""What no storage can be made of is refused when it is made, by name, and without repeating a password."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from chrono_async.errors import InvalidOptionError, StorageError
from chrono_async.storage import (
    FileStorage,
    InMemoryStorage,
    PostgresStorage,
    RedisStorage,
    SQLiteStorage,
    open_storage,
)
from chrono_async.storage._doors import without_password

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
