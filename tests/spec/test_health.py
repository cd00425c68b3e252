"""
Health: how an instance is doing, without asking anybody.
"""

import asyncio
from datetime import timedelta

import pytest

from chrono_async import AsyncScheduler, InMemoryStorage, StorageError
from chrono_async.events import JobUnknown, StorageFailing, StorageRecovered
from chrono_async.testing import Fault, FaultyStorage


async def work():
    """A job."""


async def test_a_running_scheduler_is_well(sim):
    async with AsyncScheduler(clock=sim.clock, instance_id="worker-1") as s:
        await sim.settle()
        health = s.health()
        assert (health.ok, health.is_running, health.instance_id) == (True, True, "worker-1")
        assert (health.storage_failures, health.storage_error) == (0, "")
        assert health.last_answer == sim.now


async def test_one_that_does_not_run_is_not(sim):
    s = AsyncScheduler(clock=sim.clock)
    assert not s.health().ok
    async with s:
        assert s.health().ok
    assert not s.health().is_running


async def test_one_that_drains_is_not_well_any_more(sim):
    """So that a load balancer sends it nothing."""
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("slow", "", sim.sleep, 1, args=(60,))
        await sim.advance(2)
        stopping = asyncio.create_task(s.stop())
        await sim.settle()
        assert not s.health().ok
        await stopping


async def test_it_counts_jobs_plans_and_runs(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("soon", "", sim.sleep, 10, args=(5,))
        await s.add_cron_job("rare", "", work, "@yearly")
        health = s.health()
        assert (health.jobs, health.planned, health.running, health.unsettled) == (2, 1, 0, 0)
        assert health.next_deadline == sim.now + timedelta(seconds=10)
        await sim.advance(12)
        assert s.health().running == 1


async def test_a_storage_that_fails_is_seen_and_told_and_does_not_end_the_loop(sim):
    told, storage = [], FaultyStorage(InMemoryStorage(clock=sim.clock))
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        s.subscribe(told.append, StorageFailing, StorageRecovered)
        await s.add_interval_job("beat", "", work, 10)
        await sim.advance(55)
        storage.fail(Fault.REFUSED)
        await sim.advance(300)
        health = s.health()
        assert health.is_running
        assert not health.ok
        assert health.storage_failures > 3
        assert "refused" in health.storage_error
        storage.heal()
        await sim.advance(60)
        assert s.health().ok
        before = (await s.get_job("beat")).run_count
        await sim.advance(60)
        assert (await s.get_job("beat")).run_count == before + 6
    assert [type(event) for event in told] == [StorageFailing, StorageRecovered]
    assert isinstance(told[0].error, StorageError)


async def test_a_storage_that_can_only_be_read_is_failing_all_the_while(sim):
    """As a standby, or on a full disk: an answer to the next poll is no reason to hammer it, nor to call it well."""
    told, storage = [], FaultyStorage(InMemoryStorage(clock=sim.clock))
    async with AsyncScheduler(storage=storage, clock=sim.clock, storage_poll_interval=1) as s:
        s.subscribe(told.append, StorageFailing, StorageRecovered)
        await s.add_interval_job("beat", "", work, 10)
        storage.fail(Fault.REFUSED, "claim", "renew", "settle", "heartbeat")
        await sim.advance(300)
        assert not s.health().ok
        assert storage.calls["claim"] < 30
        storage.heal()
        await sim.advance(60)
        assert s.health().ok
        assert (await s.get_job("beat")).run_count >= 3
    assert [type(event) for event in told] == [StorageFailing, StorageRecovered]


async def test_so_is_one_that_never_answers(sim):
    """Nobody waits for it longer than `storage_timeout`."""
    storage = FaultyStorage(InMemoryStorage(clock=sim.clock))
    async with AsyncScheduler(storage=storage, clock=sim.clock, storage_timeout=3) as s:
        await s.add_interval_job("beat", "", work, 10)
        storage.fail(Fault.HANGS)
        begin = sim.now
        with pytest.raises(StorageError, match="did not answer within 3 s"):
            await s.get_job("beat")
        assert sim.now == begin + timedelta(seconds=3)
        storage.heal()
        await sim.advance(60)
        assert (await s.get_job("beat")).run_count == 6


async def test_a_result_is_kept_until_it_can_be_written(sim):
    storage = FaultyStorage(InMemoryStorage(clock=sim.clock))
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        await s.add_one_shot_job("it", "", sim.sleep, 1, args=(5,))
        await sim.advance(2)
        storage.fail(Fault.REFUSED)
        await sim.advance(60)
        assert s.health().unsettled == 1
        storage.heal()
        await sim.advance(60)
        assert s.health().unsettled == 0
        assert (await s.get_job("it")).run_count == 1


@pytest.mark.sim(seeds=range(8))
async def test_a_stop_writes_what_could_not_be_written_before(sim):
    """It does not sleep through its time because the storage had long been down."""
    storage = FaultyStorage(InMemoryStorage(clock=sim.clock))
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        await s.add_one_shot_job("it", "", sim.sleep, 1, args=(0.1,))
        await sim.advance(1)
        storage.fail(Fault.REFUSED)
        await sim.advance(200)
        storage.heal()
        await s.stop()
        assert (await s.get_job("it")).run_count == 1


async def test_a_callback_that_does_not_return_is_named_when_it_is_cut_off(sim, caplog):
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("it", "", sim.sleep, 1, args=(0.1,), on_success=lambda _: sim.sleep(3600))
        await sim.advance(2)
    assert "1 callbacks would not end" in caplog.text
    assert "could not be written" not in caplog.text


async def test_a_result_that_is_being_written_is_not_written_yet(sim):
    """Who waits for all to be settled must not go while the storage has yet to answer."""
    storage = FaultyStorage(InMemoryStorage(clock=sim.clock))
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        await s.add_one_shot_job("it", "", sim.sleep, 1, args=(5,))
        await sim.advance(2)
        storage.fail(Fault.HANGS)
        await sim.advance(5)
        assert (s.health().running, s.health().unsettled) == (0, 1)
        storage.heal()
        await sim.advance(60)
        assert s.health().unsettled == 0


async def test_a_job_that_is_being_added_is_not_unknown(sim):
    """A storage shows it before the answer to its registration has arrived."""

    class SlowToAnswer(InMemoryStorage):
        async def register(self, record):
            registered = await super().register(record)
            await sim.sleep(5)
            return registered

    async with AsyncScheduler(storage=SlowToAnswer(clock=sim.clock), clock=sim.clock, storage_poll_interval=1) as s:
        with s.events(JobUnknown) as unknown:
            await s.add_one_shot_job("it", "", work, 2)
            unknown.close()
            assert [event async for event in unknown] == []
        await sim.advance(1)
        assert (await s.get_job("it")).run_count == 1


async def test_a_stop_is_bounded_also_when_the_storage_is_down(sim):
    storage = FaultyStorage(InMemoryStorage(clock=sim.clock))
    s = AsyncScheduler(storage=storage, clock=sim.clock)
    await s.start()
    await s.add_one_shot_job("it", "", sim.sleep, 1, args=(5,))
    await sim.advance(2)
    storage.fail(Fault.HANGS)
    begin = sim.now
    await s.stop(timeout=10)
    assert sim.now - begin < timedelta(seconds=60)


async def test_a_verb_that_the_storage_fails_says_so(sim):
    storage = FaultyStorage(InMemoryStorage(clock=sim.clock))
    storage.fail(Fault.REFUSED)
    with pytest.raises(StorageError, match="refused"):
        await AsyncScheduler(storage=storage, clock=sim.clock).add_interval_job("beat", "", work, 10)


async def test_what_the_storage_can_promise_is_said_in_words(sim):
    assert "claimed by one instance and settled once" in AsyncScheduler(clock=sim.clock).guarantees


async def test_instances_are_known_to_each_other(sim):
    storage = InMemoryStorage(clock=sim.clock)
    begin = sim.now
    async with (
        AsyncScheduler(storage=storage, clock=sim.clock, instance_id="a") as a,
        AsyncScheduler(storage=storage, clock=sim.clock, instance_id="b") as b,
    ):
        await b.add_interval_job("beat", "", work, 10)
        await sim.advance(60)
        instances = {instance.instance_id: instance for instance in await a.list_instances()}
    assert set(instances) == {"a", "b"}
    assert instances["b"].jobs == {"beat"}
    assert instances["b"].started == begin
    assert instances["b"].seen > begin


async def test_one_that_has_stopped_is_listed_for_ten_minutes(sim):
    """When it was last seen says that it is gone."""
    storage = InMemoryStorage(clock=sim.clock)
    desk = AsyncScheduler(storage=storage, clock=sim.clock)
    async with AsyncScheduler(storage=storage, clock=sim.clock, instance_id="worker"):
        await sim.advance(1)
    (gone,) = await desk.list_instances()
    assert gone.instance_id == "worker"
    await sim.until(gone.seen + timedelta(minutes=10))
    assert await desk.list_instances() == [gone]
    await sim.advance(1)
    assert await desk.list_instances() == []
