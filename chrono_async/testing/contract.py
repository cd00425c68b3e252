"""
What every storage must do, as tests that a storage's author can run.

    class TestMyStorage(StorageContract):
        @pytest.fixture
        async def storage(self, clock):
            storage = MyStorage(clock=clock)
            yield storage
            await storage.close()

A storage that is handed the contract's clock is tested without waiting. One whose time is a server's overrides the
fixture `clock` to return a `SystemClock`; its tests wait for leases of a fraction of a second to end. Where its
clock can be set, the fixture returns a `SettableClock`, whose `step` does so. The leasing verbs of a storage that has
only the eight methods are tested through `as_leasing`. pytest-asyncio must be in its auto mode.

Where several objects, or processes, can share a store, give the fixtures `another` and `elsewhere`, too: a second
storage on the store of the test, and what makes one in other processes. Then races between them are tested.
"""

import pytest

_PARTS = ("steps", "records", "claims", "outcomes", "users", "tokens", "lists", "races", "clocks", "model", "series")
pytest.register_assert_rewrite(*(f"{__package__}._contract_{part}" for part in _PARTS))

# ruff: noqa: E402 - pytest must know of the modules before they are loaded, so that a failure shows its values
from ._contract_claims import Claiming, ComingDue
from ._contract_clocks import SetClocks
from ._contract_lists import Batches, History, OddIds, Paging
from ._contract_model import AsMemory
from ._contract_outcomes import AtMostOnce, Settling
from ._contract_races import Hinting, Racing
from ._contract_records import EightMethods, Registering
from ._contract_steps import SettableClock, SteppedClock, StorageFactory
from ._contract_tokens import InFlight, StaleTokens, Tokens
from ._contract_users import GivingBack, Instances, UserVerbs


class StorageContract(
    EightMethods,
    Registering,
    ComingDue,
    Paging,
    Claiming,
    Tokens,
    StaleTokens,
    Settling,
    AtMostOnce,
    InFlight,
    GivingBack,
    UserVerbs,
    History,
    Batches,
    OddIds,
    Instances,
    Racing,
    Hinting,
    SetClocks,
    AsMemory,
):
    """The promises of both protocols. Subclass it, and give it a fixture `storage`, perhaps a fixture `clock`."""


__all__ = ["SettableClock", "SteppedClock", "StorageContract", "StorageFactory"]
