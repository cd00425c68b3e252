"""
The leasing storage over etcd that the examples show keeps the contract, on a real etcd.

PyPI has none: `apt-get install etcd-server`, or one on PATH. Where there is none, nothing is collected here.
"""

import shutil
from collections.abc import AsyncIterator
from functools import partial
from uuid import uuid4

import pytest

from chrono_async import Clock, Storage
from chrono_async.testing.contract import StorageContract, StorageFactory
from examples.etcd_storage import EtcdStorage
from tests import servers

pytestmark = pytest.mark.long

IS_THERE = shutil.which("etcd") is not None


class TestEtcdStorage(StorageContract):
    __test__ = IS_THERE
    leases_by_boot_clock = False
    hints_reach = "nobody"
    model_examples = 5  # each call is a few requests

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
