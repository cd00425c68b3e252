"""Every storage that comes with the library keeps the one contract, and so does one with only the eight methods."""

import os
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import pytest

from chrono_async.clock import Clock, SystemClock
from chrono_async.storage import FileStorage, InMemoryStorage, PostgresStorage, RedisStorage, SQLiteStorage, Storage
from chrono_async.storage._redis import link
from chrono_async.testing._contract_clocks import SetClocks
from chrono_async.testing._contract_model import AsMemory
from chrono_async.testing._contract_steps import Steps
from chrono_async.testing.contract import StorageContract, StorageFactory
from tests import servers
from tests.chaos.clock import SetClock, need_compiler

from .eight_methods import EightMethodStorage
from .told_clocks import PostgresOnAToldClock, RedisOnAToldClock

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "0"))
"""To compare with memory for longer, elsewhere, as in `MODEL_EXAMPLES=5000 pytest --timeout 0 -k answers_as_memory`."""
HISTORY = 5
"""Few enough to be reached when storages are compared with memory."""


class TestInMemoryStorage(StorageContract):
    model_examples = 2  # it is the model itself

    @pytest.fixture
    def storage(self, clock: Clock) -> InMemoryStorage:
        return InMemoryStorage(clock=clock)


class TestEightMethodStorage(StorageContract):
    @pytest.fixture
    def storage(self, clock: Clock) -> EightMethodStorage:
        return EightMethodStorage(clock)

    @pytest.fixture
    def another(self, storage: EightMethodStorage, clock: Clock) -> EightMethodStorage:
        other = EightMethodStorage(clock)
        other.jobs, other.locks = storage.jobs, storage.locks
        return other


class TestFileStorage(StorageContract):
    model_examples = EXAMPLES or 3  # each change writes the file anew

    @pytest.fixture(params=[".yaml", *(pytest.param(kind, marks=pytest.mark.long) for kind in (".json", ".xml"))])
    async def storage(self, clock: Clock, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[FileStorage]:
        storage = FileStorage(tmp_path / f"jobs{request.param}", clock=clock)
        yield storage
        await storage.close()

    @pytest.fixture
    async def another(self, storage: FileStorage, clock: Clock) -> AsyncIterator[FileStorage]:
        other = FileStorage(storage.path, clock=clock)
        yield other
        await other.close()


class TestSQLiteStorage(StorageContract):
    model_examples = EXAMPLES or 10
    model_history = HISTORY

    @pytest.fixture
    async def storage(self, clock: Clock, tmp_path: Path) -> AsyncIterator[SQLiteStorage]:
        storage = SQLiteStorage(tmp_path / "jobs.db", clock=clock, history=HISTORY)
        yield storage
        await storage.close()

    @pytest.fixture
    async def another(self, storage: SQLiteStorage, clock: Clock) -> AsyncIterator[SQLiteStorage]:
        other = SQLiteStorage(storage.path, clock=clock, history=HISTORY)
        yield other
        await other.close()


class FromElsewhere(Steps):
    """Two storages as they are made in other processes, too."""

    @pytest.fixture
    async def storage(self, elsewhere: StorageFactory) -> AsyncIterator[Storage]:
        storage = elsewhere()
        yield storage
        await storage.close()

    @pytest.fixture
    async def another(self, elsewhere: StorageFactory) -> AsyncIterator[Storage]:
        storage = elsewhere()
        yield storage
        await storage.close()


class OnItsOwnClock(FromElsewhere, StorageContract):
    """What an author of a storage whose clock cannot be moved does: real leases, of a fraction of a second."""

    model_examples = EXAMPLES  # a clock that goes on and can be set, below, shows more

    @pytest.fixture
    def clock(self) -> Clock:
        return SystemClock()


@pytest.mark.long
class TestFileStorageOnTheMachinesClock(OnItsOwnClock):
    @pytest.fixture
    def elsewhere(self, tmp_path: Path) -> StorageFactory:
        return partial(FileStorage, tmp_path / "jobs.json")


class TestSQLiteStorageOnTheMachinesClock(OnItsOwnClock):
    """Leases end by the host's boot clock."""

    @pytest.fixture
    def elsewhere(self, tmp_path: Path) -> StorageFactory:
        return partial(SQLiteStorage, tmp_path / "jobs.db")


class TestPostgresStorage(OnItsOwnClock):
    leases_by_boot_clock = False
    hints_reach = "all"

    @pytest.fixture
    def elsewhere(self) -> StorageFactory:
        return partial(PostgresStorage, servers.postgres().dsn, namespace=f"test_{uuid4().hex[:8]}")


class TestRedisStorage(OnItsOwnClock):
    leases_by_boot_clock = False
    hints_reach = "all"

    @pytest.fixture
    def elsewhere(self) -> StorageFactory:
        return partial(RedisStorage, servers.redis().url, namespace=uuid4().hex)


ToldServer = PostgresOnAToldClock | RedisOnAToldClock


class OnAToldClock(StorageContract):
    """On a server that reads a clock of ours, which stands still, where it would read its own."""

    leases_by_boot_clock = False
    shortens_leases = True
    hints_reach = "all"
    model_examples = EXAMPLES or 15
    model_history = HISTORY

    @pytest.fixture
    def clock(self, server: ToldServer) -> Clock:
        return server.clock

    @pytest.fixture
    async def storage(self, server: ToldServer) -> AsyncIterator[Storage]:
        storage = server.open(HISTORY)
        yield storage
        await storage.close()

    @pytest.fixture
    async def another(self, server: ToldServer) -> AsyncIterator[Storage]:
        storage = server.open(HISTORY)
        yield storage
        await storage.close()


@pytest.mark.long
class TestPostgresStorageOnAToldClock(OnAToldClock):
    @pytest.fixture
    def server(self) -> Iterator[ToldServer]:
        server = PostgresOnAToldClock(servers.postgres().dsn)
        yield server
        server.close()


@pytest.mark.long
class TestRedisStorageOnAToldClock(OnAToldClock):
    @pytest.fixture
    def server(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[ToldServer]:
        server = RedisOnAToldClock(servers.redis().url, partial(monkeypatch.setattr, link))
        yield server
        server.close()


Server = TypeVar("Server", servers.PostgresServer, servers.RedisServer)
Set = tuple[Server, SetClock]


def with_a_clock_to_set(server: Server) -> Iterator[Set[Server]]:
    """Start a server whose clock can be set, by a library that is loaded before all others."""
    clock = SetClock(server)
    server.start()
    yield server, clock
    server.remove()


@pytest.fixture(scope="module")
def postgres_to_set() -> Iterator[Set[servers.PostgresServer]]:
    need_compiler()
    yield from with_a_clock_to_set(servers.PostgresServer())


@pytest.fixture(scope="module")
def redis_to_set() -> Iterator[Set[servers.RedisServer]]:
    need_compiler()
    yield from with_a_clock_to_set(servers.RedisServer())


class OnASetClock(FromElsewhere, SetClocks, AsMemory):
    """The parts of the contract in which a clock is set, on a server whose own clock is: others make no use of it."""

    leases_by_boot_clock = False
    shortens_leases = True
    model_examples = EXAMPLES or 4


@pytest.mark.long
class TestPostgresStorageOnASetClock(OnASetClock):
    @pytest.fixture
    def clock(self, postgres_to_set: Set[servers.PostgresServer]) -> Iterator[Clock]:
        yield postgres_to_set[1]
        postgres_to_set[1].put_right()

    @pytest.fixture
    def elsewhere(self, postgres_to_set: Set[servers.PostgresServer]) -> StorageFactory:
        return partial(PostgresStorage, postgres_to_set[0].dsn, namespace=f"test_{uuid4().hex[:8]}")


@pytest.mark.long
class TestRedisStorageOnASetClock(OnASetClock):
    @pytest.fixture
    def clock(self, redis_to_set: Set[servers.RedisServer]) -> Iterator[Clock]:
        yield redis_to_set[1]
        redis_to_set[1].put_right()

    @pytest.fixture
    def elsewhere(self, redis_to_set: Set[servers.RedisServer]) -> StorageFactory:
        return partial(RedisStorage, redis_to_set[0].url, namespace=uuid4().hex)
