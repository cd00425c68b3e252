"""
The leasing storage over etcd that the examples show keeps the contract, on a real etcd.

PyPI has none: `apt-get install etcd-server`, or one on PATH. Where there is none, nothing is collected here.
"""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from uuid import uuid4

import pytest

from chrono_async import Clock, Storage
from chrono_async.testing.contract import SteppedClock, StorageContract, StorageFactory
from examples import etcd_storage
from examples.etcd_storage import EtcdStorage
from tests import servers
from tests.storage.asker import HISTORY
from tests.storage.test_model import Subject, check, closing, knows_it

pytestmark = pytest.mark.long

IS_THERE = shutil.which("etcd") is not None


class TestEtcdStorage(StorageContract):
    __test__ = IS_THERE
    leases_by_boot_clock = False
    hints_reach = "nobody"

    @pytest.fixture
    def elsewhere(self) -> StorageFactory:
        return partial(EtcdStorage, servers.etcd().url, namespace=uuid4().hex)

    @pytest.fixture
    async def storage(self, elsewhere: partial[EtcdStorage], clock: Clock) -> AsyncIterator[Storage]:
        storage = partial(elsewhere, clock=clock)()
        yield storage
        await storage.close()

    @pytest.fixture
    async def another(self, elsewhere: partial[EtcdStorage], clock: Clock) -> AsyncIterator[Storage]:
        storage = partial(elsewhere, clock=clock)()
        yield storage
        await storage.close()


if IS_THERE:

    def test_etcd_answers_as_memory_does(monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever of two has written it last."""

        @asynccontextmanager
        async def opens(clock: SteppedClock) -> AsyncIterator[Subject]:
            namespace = uuid4().hex
            made = (EtcdStorage(servers.etcd().url, namespace=namespace, clock=clock) for _ in range(2))
            async with closing(made) as storages:
                yield Subject(storages, knows_it)

        monkeypatch.setattr(etcd_storage, "HISTORY", HISTORY)
        check(opens, 15)
