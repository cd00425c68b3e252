"""Every storage that comes with the library keeps the one contract, and so does one with only the eight methods."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chrono_async.clock import Clock, SystemClock
from chrono_async.storage import FileStorage, InMemoryStorage, SQLiteStorage
from chrono_async.testing.contract import StorageContract

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
