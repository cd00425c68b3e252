"""The way to the storage: how long it rests after a failure."""

import asyncio
from datetime import timedelta

import pytest

from chrono_async.engine.storage_door import StorageDoor
from chrono_async.engine.storage_time import StorageTime
from chrono_async.errors import StorageError
from chrono_async.events import EventBus
from chrono_async.testing import VirtualClock


async def _refuse():
    await asyncio.sleep(0.01)
    raise StorageError("down")


async def test_many_failures_at_once_are_no_long_outage(sim):
    """Found in a campaign: ten calls failed within a second, and what was to be settled waited for half a minute."""
    door = StorageDoor(None, StorageTime(VirtualClock()), EventBus(), timedelta(seconds=10))
    await asyncio.gather(*(door.ask(_refuse()) for _ in range(20)), return_exceptions=True)
    assert door.failures == 20
    assert door.pause() <= 0.5


async def test_the_pauses_of_a_long_outage_grow_to_half_a_minute(sim):
    """One who asks in vain for hours must not do so every second; and no two ask together."""
    door = StorageDoor(None, StorageTime(VirtualClock()), EventBus(), timedelta(seconds=10))
    pauses = []
    for _ in range(30):
        with pytest.raises(StorageError):
            await door.ask(_refuse())
        pauses.append(door.pause())
        await asyncio.sleep(pauses[-1])
    assert pauses[0] <= 0.2
    assert all(15 <= pause <= 30 for pause in pauses[-5:])
    assert len(set(pauses)) == len(pauses)
