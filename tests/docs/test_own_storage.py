"""The storages that the guide and the examples show keep the contract."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from chrono_async import Clock, Storage
from chrono_async.testing.contract import StorageContract, StorageFactory
from examples.own_storage import OwnStorage

from .pages import ROOT, blocks_of

GUIDE = ROOT / "docs" / "how-to" / "write-a-storage.md"

guide: dict[str, Any] = {"__name__": __name__}
for block in blocks_of(GUIDE):
    if "class Shelf" in block.text or "class TestShelf" in block.text:
        exec(compile("\n" * block.line + block.text, GUIDE, "exec"), guide)  # noqa: S102 - the page as it stands
TestShelf = guide["TestShelf"]
"""The guide's small storage under the guide's own test of it."""


@pytest.mark.long
class TestOwnStorage(StorageContract):
    leases_by_boot_clock = False
    model_examples = 8

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
