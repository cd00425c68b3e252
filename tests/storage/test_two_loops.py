"""A storage that is used on two event loops at once, as from two threads, works or says so; in turns it works."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from chrono_async.errors import StorageError
from chrono_async.models import JobRecord
from chrono_async.storage import (
    FileStorage,
    InMemoryStorage,
    LeasingStorage,
    PostgresStorage,
    RedisStorage,
    SQLiteStorage,
)
from tests import servers

On = Callable[[Any], Any]


@contextmanager
def another_loop() -> Iterator[On]:
    """A loop that runs in a thread of its own; what is handed out awaits there, and returns what came of it."""
    loop: Future[asyncio.AbstractEventLoop] = Future()

    async def run() -> None:
        loop.set_result(asyncio.get_running_loop())
        await ended.wait()

    ended = asyncio.Event()
    thread = threading.Thread(target=asyncio.run, args=(run(),), kwargs={"debug": True})
    thread.start()
    try:
        yield lambda awaitable: asyncio.run_coroutine_threadsafe(awaitable, loop.result()).result(20)
    finally:
        loop.result().call_soon_threadsafe(ended.set)
        thread.join()


@pytest.fixture(params=["memory", "file", "postgres", "redis"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LeasingStorage]:
    namespace = f"test_{uuid4().hex[:8]}"
    made: LeasingStorage
    match request.param:
        case "memory":
            made = InMemoryStorage()
        case "file":
            made = FileStorage(tmp_path / "jobs.yaml")
        case "postgres":
            made = PostgresStorage(servers.postgres().dsn, namespace=namespace)
        case _:
            made = RedisStorage(servers.redis().url, namespace=namespace)
    yield made
    if isinstance(made, PostgresStorage | RedisStorage):
        asyncio.run(erased(made))


async def erased(storage: PostgresStorage | RedisStorage) -> None:
    await storage.erase()
    await storage.close()


async def ids_in(storage: LeasingStorage) -> list[str]:
    return sorted(record.id for record in await storage.list_jobs())


def test_a_second_loop_is_refused_while_the_first_one_runs(storage: LeasingStorage) -> None:
    """And the first goes on; when it has ended, or has closed the storage, it is the other's turn."""
    with another_loop() as there:
        there(storage.save_job(JobRecord("a")))
        for _ in range(2):
            with pytest.raises(StorageError, match="another event loop"):
                asyncio.run(storage.save_job(JobRecord("b")))
            there(storage.save_job(JobRecord("c")))
        assert there(ids_in(storage)) == ["a", "c"]
        there(storage.close())
        asyncio.run(closing(storage, storage.save_job(JobRecord("d"))))
        there(storage.save_job(JobRecord("e")))
        there(storage.close())
    assert asyncio.run(closing(storage, ids_in(storage))) == ["a", "c", "d", "e"]


async def closing(storage: LeasingStorage, call: Any) -> Any:
    answer = await call
    await storage.close()
    return answer


def test_closing_on_a_second_loop_is_refused_too(storage: LeasingStorage) -> None:
    """It could not take leave of a server, and would leave its connections open; nobody's hints end."""
    with another_loop() as there:
        there(storage.save_job(JobRecord("a")))
        listener = there(begun(all_hints(storage)))
        with pytest.raises(StorageError, match="another event loop"):
            asyncio.run(storage.close())
        assert there(ids_in(storage)) == ["a"]
        assert not listener.done()
        there(storage.close())
        there(ended(listener))


def test_sqlite_serves_two_loops_at_once(tmp_path: Path) -> None:
    """Its thread writes for both, and hints reach listeners on either."""
    storage = SQLiteStorage(tmp_path / "jobs.db")
    with another_loop() as one, another_loop() as two:
        listeners = [(on, on(begun(anext(storage.changes())))) for on in (one, two)]
        one(storage.register(JobRecord("a")))
        for on, listener in listeners:
            on(ended(listener))
        two(storage.save_job(JobRecord("b")))
        assert one(ids_in(storage)) == ["a", "b"]
        one(storage.close())


async def begun(awaitable: Awaitable[None]) -> asyncio.Future[None]:
    task = asyncio.ensure_future(awaitable)
    await asyncio.sleep(0)
    return task


async def all_hints(storage: LeasingStorage) -> None:
    async for _ in storage.changes():
        pass


async def ended(task: asyncio.Future[None]) -> None:
    async with asyncio.timeout(10):
        await task
