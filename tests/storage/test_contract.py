"""Every storage that comes with the library keeps the one contract, and so does one with only the eight methods."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from chrono_async.clock import Clock, SystemClock
from chrono_async.storage import FileStorage, InMemoryStorage, PostgresStorage, RedisStorage, SQLiteStorage
from chrono_async.testing.contract import StorageContract
from tests import servers

from .eight_methods import EightMethodStorage


class TestInMemoryStorage(StorageContract):
    @pytest.fixture
    def storage(self, clock: Clock) -> InMemoryStorage:
        return InMemoryStorage(clock=clock)


class TestEightMethodStorage(StorageContract):
    @pytest.fixture
    def storage(self, clock: Clock) -> EightMethodStorage:
        return EightMethodStorage(clock)


class TestFileStorage(StorageContract):
    @pytest.fixture(params=[".yaml", ".json", ".xml"])
    async def storage(self, clock: Clock, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[FileStorage]:
        storage = FileStorage(tmp_path / f"jobs{request.param}", clock=clock)
        yield storage
        await storage.close()


class TestFileStorageOnTheMachinesClock(StorageContract):
    """What an author of a storage whose clock cannot be moved does: real leases, of a fraction of a second."""

    @pytest.fixture
    def clock(self) -> Clock:
        return SystemClock()

    @pytest.fixture
    async def storage(self, clock: Clock, tmp_path: Path) -> AsyncIterator[FileStorage]:
        storage = FileStorage(tmp_path / "jobs.json")
        yield storage
        await storage.close()


class TestSQLiteStorage(StorageContract):
    @pytest.fixture
    async def storage(self, clock: Clock, tmp_path: Path) -> AsyncIterator[SQLiteStorage]:
        storage = SQLiteStorage(tmp_path / "jobs.db", clock=clock)
        yield storage
        await storage.close()


class TestSQLiteStorageOnTheMachinesClock(StorageContract):
    """Real leases, that end by the host's boot clock."""

    @pytest.fixture
    def clock(self) -> Clock:
        return SystemClock()

    @pytest.fixture
    async def storage(self, clock: Clock, tmp_path: Path) -> AsyncIterator[SQLiteStorage]:
        storage = SQLiteStorage(tmp_path / "jobs.db")
        yield storage
        await storage.close()


class TestPostgresStorage(StorageContract):
    leases_by_boot_clock = False

    @pytest.fixture
    def clock(self) -> Clock:
        return SystemClock()

    @pytest.fixture
    async def storage(self) -> AsyncIterator[PostgresStorage]:
        storage = PostgresStorage(servers.postgres().dsn, namespace=f"test_{uuid4().hex[:8]}")
        yield storage
        await storage.close()


class TestRedisStorage(StorageContract):
    leases_by_boot_clock = False

    @pytest.fixture
    def clock(self) -> Clock:
        return SystemClock()

    @pytest.fixture
    async def storage(self) -> AsyncIterator[RedisStorage]:
        storage = RedisStorage(servers.redis().url, namespace=uuid4().hex)
        yield storage
        await storage.close()
