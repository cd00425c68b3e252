"""
Removing jobs.
"""

import asyncio
from datetime import timedelta

import pytest

from chrono_async import AsyncScheduler, InMemoryStorage, JobAlreadyExistsError, JobNotFoundError, StorageError
from chrono_async.events import JobAdded, JobEvent, JobRemoved, RunStarted
from chrono_async.testing import Fault, FaultyStorage, Recorder


async def work():
    """A job."""


async def test_a_removed_job_is_gone(sim):
    recorder = Recorder(sim.clock)
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("beat", "", recorder.job, 10)
        await sim.advance(10)
        await s.remove_job("beat")
        await sim.advance(60)
        assert len(recorder.runs) == 1
        assert await s.list_jobs() == []
        with pytest.raises(JobNotFoundError):
            await s.get_job("beat")


async def test_its_run_is_cancelled_and_does_not_bring_it_back(sim):
    recorder = Recorder(sim.clock)
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("slow", "", recorder.job, 10, args=(100,))
        await sim.advance(20)
        await s.remove_job("slow")
        await sim.advance(200)
        assert await s.list_jobs() == []
    assert [(run.was_cancelled, run.end - run.start) for run in recorder.runs] == [(True, timedelta(seconds=10))]


async def test_the_end_of_its_run_is_told_as_its_removal_alone(sim):
    """There is no job any more whose run could have a result."""
    told, called = [], []
    async with AsyncScheduler(clock=sim.clock) as s:
        s.subscribe(lambda event: told.append(type(event)), JobEvent)
        callbacks = {"on_error": lambda *told: called.append(told), "on_result": called.append}
        await s.add_one_shot_job("slow", "", sim.sleep, 1, args=(100,), **callbacks)
        await sim.advance(5)
        await s.remove_job("slow")
        await sim.advance(200)
    assert (told, called) == ([JobAdded, RunStarted, JobRemoved], [])


async def test_a_job_may_remove_itself(sim):
    ran = []
    async with AsyncScheduler(clock=sim.clock) as s:

        async def last():
            ran.append("begun")
            await s.remove_job("last")
            await sim.sleep(0)
            ran.append("never reached")

        await s.add_interval_job("last", "", last, 10)
        await sim.advance(60)
        assert await s.list_jobs() == []
    assert ran == ["begun"]


async def test_the_id_is_free_again_and_begins_anew(sim):
    recorder = Recorder(sim.clock)
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("beat", "", recorder.job, 10)
        await sim.advance(20)
        await s.remove_job("beat")
        info = await s.add_interval_job("beat", "", recorder.job, 30)
        assert (info.run_count, info.next_run) == (0, sim.now + timedelta(seconds=30))
        await sim.advance(30)
    assert len(recorder.runs) == 3


async def test_so_it_is_when_another_instance_has_removed_the_job(sim):
    """Of several workers behind one address, one is asked to remove a job and another to add it again."""
    storage, recorder = InMemoryStorage(clock=sim.clock), Recorder(sim.clock)
    async with (
        AsyncScheduler(storage=storage, clock=sim.clock) as a,
        AsyncScheduler(storage=storage, clock=sim.clock) as b,
    ):
        await a.add_interval_job("beat", "", work, 10)
        await b.remove_job("beat")
        added = await a.add_interval_job("beat", "", recorder.job, 20)
        assert await b.get_job("beat") == added
        with pytest.raises(JobAlreadyExistsError):
            await a.add_interval_job("beat", "", work, 10)
        await sim.advance(60)
    assert [run.fire_time for run in recorder.runs] == [added.next_run + timedelta(seconds=n) for n in (0, 20, 40)]


async def test_while_the_storage_does_not_say_so_the_id_is_taken(sim):
    """Whoever adds a job twice hears of that, and not of the storage's troubles."""
    storage = FaultyStorage(InMemoryStorage(clock=sim.clock), {("get_job", 0): Fault.REFUSED})
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        await s.add_interval_job("beat", "", work, 10)
        with pytest.raises(JobAlreadyExistsError):
            await s.add_interval_job("beat", "", work, 10)


async def test_a_removal_that_fails_changes_nothing(sim):
    """The job is there still, and this instance still knows its function."""
    recorder = Recorder(sim.clock)
    storage = FaultyStorage(InMemoryStorage(clock=sim.clock), {("delete_job", 0): Fault.REFUSED})
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        await s.add_interval_job("beat", "", recorder.job, 10)
        with pytest.raises(StorageError):
            await s.remove_job("beat")
        await sim.advance(30)
        assert len(recorder.runs) == 3
        await s.remove_job("beat")
        assert await s.list_jobs() == []


async def test_elsewhere_its_run_is_cancelled_too(sim):
    """At the next renewal of its lease, a third of the ttl away at most."""
    storage, recorder = InMemoryStorage(clock=sim.clock), Recorder(sim.clock)
    async with AsyncScheduler(storage=storage, clock=sim.clock, lock_ttl=60) as worker:
        await worker.add_one_shot_job("slow", "", recorder.job, 1, args=(3600,))
        await sim.advance(5)
        await AsyncScheduler(storage=storage, clock=sim.clock).remove_job("slow")
        await sim.advance(25)
        assert recorder.runs[0].was_cancelled


async def test_who_waits_for_it_hears_of_it(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("beat", "", work, 10)
        waiting = asyncio.create_task(s.wait_for_job("beat"))
        await sim.advance(3)
        removed = sim.now
        await s.remove_job("beat")
        with pytest.raises(JobNotFoundError):
            await waiting
        assert sim.now == removed


async def test_who_is_not_there_cannot_be_removed(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        with pytest.raises(JobNotFoundError):
            await s.remove_job("nobody")
        await s.add_interval_job("beat", "", work, 10)
        await s.remove_job("beat")
        with pytest.raises(JobNotFoundError):
            await s.remove_job("beat")
