"""Hints: who is told that something has changed."""

import asyncio
from datetime import timedelta

from chrono_async import InMemoryStorage, JobRecord
from chrono_async.testing import VirtualClock


async def test_a_lone_listener_is_not_told_of_its_own_changes(sim):
    """Each hint makes it load its whole horizon, which it knows; a second listener does not know it."""
    storage = InMemoryStorage(clock=sim.clock)
    lone = asyncio.ensure_future(anext(storage.changes()))
    await sim.settle()
    await storage.register(JobRecord("a"))
    await sim.settle()
    assert not lone.done()
    other = asyncio.ensure_future(anext(storage.changes()))
    await sim.settle()
    await storage.register(JobRecord("b"))
    await sim.settle()
    assert lone.done()
    assert other.done()


async def test_a_lone_listener_hears_of_what_others_write_past_it(sim):
    """Whoever calls `save_job` is no scheduler."""
    storage = InMemoryStorage(clock=sim.clock)
    lone = asyncio.ensure_future(anext(storage.changes()))
    await sim.settle()
    await storage.save_job(JobRecord("a"))
    await sim.settle()
    assert lone.done()


async def test_a_clock_that_is_set_says_so_until_nobody_listens(sim):
    """So that a scheduler may sleep for longer than a second."""
    told: list[timedelta] = []
    clock: VirtualClock = sim.clock
    end = clock.on_set(lambda: told.append(timedelta(0)))
    clock.step(timedelta(hours=1))
    end()
    clock.step(timedelta(hours=1))
    assert len(told) == 1
