"""The storage that the examples show keeps the contract."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from chrono_async import Clock, Storage
from chrono_async.testing.contract import StorageContract, StorageFactory
from examples.own_storage import OwnStorage


class TestOwnStorage(StorageContract):
    leases_by_boot_clock = False

    @pytest.fixture
    async def storage(self, clock: Clock, tmp_path: Path) -> AsyncIterator[Storage]:
        storage: Storage = OwnStorage(tmp_path / "jobs.db", clock)
        yield storage
        await storage.close()

    @pytest.fixture
    async def another(self, clock: Clock, tmp_path: Path) -> AsyncIterator[Storage]:
        storage: Storage = OwnStorage(tmp_path / "jobs.db", clock)
        yield storage
        await storage.close()

    @pytest.fixture
    def elsewhere(self, tmp_path: Path) -> StorageFactory:
        return partial(OwnStorage, tmp_path / "jobs.db")
