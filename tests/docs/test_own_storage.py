"""The storage that the examples show keeps the contract."""

import runpy
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chrono_async import Clock, Storage
from chrono_async.testing import StorageContract

from .pages import ROOT

OwnStorage = runpy.run_path(str(ROOT / "examples" / "own_storage.py"))["OwnStorage"]


class TestOwnStorage(StorageContract):
    leases_by_boot_clock = False

    @pytest.fixture
    async def storage(self, clock: Clock, tmp_path: Path) -> AsyncIterator[Storage]:
        storage: Storage = OwnStorage(tmp_path / "jobs.db", clock)
        yield storage
        await storage.close()
