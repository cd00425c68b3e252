"""
Waiting for the result of a job, wherever it runs.
"""

import asyncio
from datetime import timedelta

import pytest

from chrono_async import (
    AsyncScheduler,
    InMemoryStorage,
    InvalidOptionError,
    JobNotFoundError,
    JobStatus,
    RemoteRunError,
    RunNotFoundError,
)
from chrono_async.models import run_id
from chrono_async.testing import YieldingStorage


async def work():
    """A job."""


async def test_it_returns_the_result_of_the_next_run(sim):
    begin = sim.now
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("beat", "", sim.sleep, 10, args=(2,))
        for n in (10, 20):
            result = await s.wait_for_job("beat")
            assert result.fire_time == begin + timedelta(seconds=n)
            assert result.duration == timedelta(seconds=2)
    assert sim.now == begin + timedelta(seconds=22)


async def test_a_run_that_is_going_is_the_next_to_end(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        due = (await s.add_interval_job("slow", "", sim.sleep, 10, args=(5,))).next_run
        await sim.advance(12)
        assert (await s.wait_for_job("slow")).fire_time == due


async def test_any_number_may_wait(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("beat", "", work, 10)
        first, second = await asyncio.gather(s.wait_for_job("beat"), s.wait_for_job("beat"))
        assert first == second


async def test_a_job_that_has_run_its_course_gives_its_last_result_at_once(sim):
    async def fails():
        raise ValueError("oh")

    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("once", "", fails, 1)
        await sim.advance(3600)
        result = await s.wait_for_job("once")
        assert (result.status, str(result.error)) == (JobStatus.FAILED, "oh")
        assert sim.now - result.finished > timedelta(minutes=59)


async def test_patience_may_end(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("rare", "", work, 3600)
        begin = sim.now
        with pytest.raises(TimeoutError, match="no such result within"):
            await s.wait_for_job("rare", timeout=5)
        assert sim.now == begin + timedelta(seconds=5)


async def test_who_has_no_patience_at_all_is_told_what_there_is(sim):
    """By a storage that takes its time to answer, too."""
    storage = YieldingStorage(InMemoryStorage(clock=sim.clock))
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        await s.add_one_shot_job("once", "", work, 10)
        with pytest.raises(TimeoutError, match="no such result within 0 s"):
            await s.wait_for_job("once", timeout=0)
        await sim.advance(10)
        assert (await s.wait_for_job("once", timeout=0)).status is JobStatus.COMPLETED


@pytest.mark.parametrize("timeout", [-1, float("nan"), "soon"])
async def test_an_odd_patience_is_refused(sim, timeout):
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("once", "", work, 10)
        with pytest.raises(InvalidOptionError, match="timeout"):
            await s.wait_for_job("once", timeout=timeout)


async def test_who_stops_waiting_harms_nobody(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("beat", "", work, 10)
        impatient, patient = (asyncio.create_task(s.wait_for_job("beat")) for _ in range(2))
        await sim.settle()
        impatient.cancel()
        assert (await patient).status is JobStatus.COMPLETED


async def test_a_job_that_is_not_there_is_not_waited_for(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        with pytest.raises(JobNotFoundError):
            await s.wait_for_job("nobody")


async def test_a_run_elsewhere_is_found_in_the_history(sim):
    """Its exception lives in the other process; what is left of it is its text."""

    async def fails():
        raise ValueError("oh")

    storage = InMemoryStorage(clock=sim.clock)
    console = AsyncScheduler(storage=storage, clock=sim.clock, instance_id="console", storage_poll_interval=5)
    async with AsyncScheduler(storage=storage, clock=sim.clock, instance_id="worker") as worker:
        await worker.add_interval_job("fails", "", fails, 60)
        due = sim.now + timedelta(seconds=60)
        result = await console.wait_for_job("fails")
        assert (result.status, result.fire_time) == (JobStatus.FAILED, due)
        assert isinstance(result.error, RemoteRunError)
        assert str(result.error) == "ValueError: oh"
        assert sim.now <= due + timedelta(seconds=6)


async def test_a_named_run_elsewhere_is_found_however_busy_its_job_is(sim):
    """Its row may have left the history by the next poll."""
    storage = InMemoryStorage(clock=sim.clock)
    async with (
        AsyncScheduler(storage=storage, clock=sim.clock, instance_id="worker") as worker,
        AsyncScheduler(storage=storage, clock=sim.clock, instance_id="console") as console,
    ):
        await worker.add_interval_job("beat", "", work, 1)
        await sim.advance(5)
        run_id = await console.trigger_job("beat")
        result = await console.wait_for_job("beat", run_id=run_id, timeout=60)
        assert (result.run_id, result.status) == (run_id, JobStatus.COMPLETED)


@pytest.mark.parametrize("manual", [False, True])
async def test_a_run_that_is_over_and_forgotten_is_not_waited_for(sim, manual):
    storage = InMemoryStorage(clock=sim.clock, history=3)
    async with AsyncScheduler(storage=storage, clock=sim.clock) as worker:
        await worker.add_interval_job("beat", "", work, 1)
        run_id = await worker.trigger_job("beat") if manual else None
        result = await worker.wait_for_job("beat", run_id=run_id)
        await sim.advance(60)
        console = AsyncScheduler(storage=storage, clock=sim.clock, instance_id="console")
        with pytest.raises(RunNotFoundError) as raised:
            await console.wait_for_job("beat", run_id=result.run_id)
        assert (raised.value.job_id, raised.value.run_id) == ("beat", result.run_id)


@pytest.mark.parametrize("manual", [False, True])
async def test_a_named_run_that_is_to_come_or_is_going_is_waited_for(sim, manual):
    """Also one that is tried again in another process: it is over when it is settled."""
    storage = InMemoryStorage(clock=sim.clock)
    console = AsyncScheduler(storage=storage, clock=sim.clock, instance_id="console")
    async with AsyncScheduler(storage=storage, clock=sim.clock, instance_id="worker") as worker:
        job = await worker.add_interval_job("slow", "", sim.sleep, 10, args=(5,))
        at = None if manual else job.next_run
        named = run_id("slow", at, manual=False) if at else await console.trigger_job("slow")
        waiting = asyncio.create_task(console.wait_for_job("slow", run_id=named, timeout=60))
        assert (await waiting).run_id == named


@pytest.mark.parametrize(
    "named", ["", "slow", "slow@noon", "other@2026-01-01T00:00:00+00:00", "slow@2026-01-01T00:00:00"]
)
async def test_what_names_no_run_of_the_job_is_refused_at_once(sim, named):
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("slow", "", work, 10)
        with pytest.raises(RunNotFoundError):
            await s.wait_for_job("slow", run_id=named)


async def test_a_named_run_of_long_ago_is_found_too(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("beat", "", work, 10)
        result = await s.wait_for_job("beat")
        await sim.advance(1000)
        assert await s.wait_for_job("beat", run_id=result.run_id, timeout=1) == result


async def test_a_named_run_elsewhere_is_found_wherever_in_the_history(sim):
    """However many have ended since: who is told that the history has no such run believes it."""
    storage = InMemoryStorage(clock=sim.clock, history=2000)
    console = AsyncScheduler(storage=storage, clock=sim.clock, instance_id="console")
    async with AsyncScheduler(storage=storage, clock=sim.clock, instance_id="worker") as worker:
        due = (await worker.add_interval_job("beat", "", work, 1)).next_run
        for runs in (30, 1200):
            await sim.advance(runs)
            named = run_id("beat", due, manual=False)
            assert (await console.wait_for_job("beat", run_id=named)).fire_time == due


async def test_who_waits_for_a_named_run_is_not_content_with_another(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("slow", "", sim.sleep, 60, args=(5,))
        await sim.advance(62)
        run_id = await s.trigger_job("slow")
        result = await s.wait_for_job("slow", run_id=run_id)
        assert result.run_id == run_id
        assert (await s.get_job("slow")).run_count == 2
