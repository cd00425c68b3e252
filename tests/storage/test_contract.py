"""Every storage that comes with the library keeps the one contract, and so does one with only the eight methods."""

import pytest

from chrono_async.clock import Clock
from chrono_async.storage import InMemoryStorage
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
