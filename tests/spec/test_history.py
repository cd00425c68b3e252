"""
The history: what has become of a job's fire times, the newest first.
"""

from datetime import timedelta

import pytest

from chrono_async import AsyncScheduler, InMemoryStorage, InvalidOptionError, RunStatus
from chrono_async.testing import Fault, FaultyStorage, Recorder


async def work():
    """A job."""


async def fails():
    raise ValueError("oh")


async def test_each_run_is_a_row(sim):
    async with AsyncScheduler(clock=sim.clock, instance_id="worker-1") as s:
        due = (await s.add_interval_job("slow", "", sim.sleep, 10, args=(2,))).next_run
        await sim.advance(35)
        newest, *_, oldest = runs = await s.list_runs("slow")
        assert [run.fire_time for run in runs] == [due + timedelta(seconds=n) for n in (20, 10, 0)]
    assert (oldest.job_id, oldest.status, oldest.instance_id) == ("slow", RunStatus.COMPLETED, "worker-1")
    assert (oldest.started, oldest.finished) == (due, due + timedelta(seconds=2))
    assert (oldest.attempt, oldest.retry_count, oldest.manual, oldest.error) == (1, 0, False, "")
    assert newest.token > oldest.token


async def test_a_failure_is_kept_as_text(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("bad", "", fails, 1, max_retries=2)
        await s.wait_for_job("bad")
        (run,) = await s.list_runs("bad")
    assert (run.status, run.error, run.retry_count) == (RunStatus.FAILED, "ValueError: oh", 2)


async def test_without_a_job_all_are_listed_and_only_so_many(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        for job_id in ("a", "b"):
            await s.add_interval_job(job_id, "", work, 10)
        await sim.advance(35)
        assert len(await s.list_runs()) == 6
        assert {run.job_id for run in await s.list_runs(limit=2)} == {"a", "b"}
        assert {run.job_id for run in await s.list_runs("a")} == {"a"}
        assert len(await s.list_runs("a", limit=2)) == 2
        assert await s.list_runs("nobody") == []


@pytest.mark.parametrize("wrong", [None, "10", 2.5, True, -1])
@pytest.mark.parametrize("option", ["limit", "offset"])
async def test_a_page_that_cannot_be_is_its_askers_mistake_and_not_the_storages(sim, option, wrong):
    """What comes in by a query string must not make a health check fail."""
    async with AsyncScheduler(clock=sim.clock) as s:
        with pytest.raises(InvalidOptionError, match=rf"{option}={wrong!r}: must be a whole number of 0 or more"):
            await s.list_runs(**{option: wrong})
        assert s.health().ok


async def test_a_page_may_be_asked_for_that_is_larger_than_any_storage(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("once", "", work, 1)
        await s.wait_for_job("once")
        assert len(await s.list_runs(limit=2**70)) == 1
        assert await s.list_runs(limit=2**70, offset=2**70) == []


async def test_it_is_kept_to_a_bound(sim):
    storage = InMemoryStorage(clock=sim.clock, history=5)
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        await s.add_interval_job("beat", "", work, 1)
        await sim.advance(100)
        runs = await s.list_runs("beat")
        assert (await s.get_job("beat")).run_count == 100
    assert len(runs) == 5
    assert runs[0].fire_time == sim.now


async def test_one_shot_jobs_by_the_thousand_leave_no_more_than_the_bound_either(sim):
    """Each of them has a short history, and there is a new one every second."""
    storage = InMemoryStorage(clock=sim.clock, total_history=50)
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        for number in range(200):
            await s.add_one_shot_job(str(number), "", work, 1)
        await sim.advance(2)
        assert len(await s.list_runs(limit=1000)) == 50


async def test_a_run_whose_instance_was_cut_off_is_shown_as_abandoned(sim):
    """
    Its lease runs out, the occurrence is due again, and the next claim of it is attempt 2.

    By then the first run has ended: an owner that cannot renew cancels it before the lease can pass to somebody else.
    """
    shared, recorder = InMemoryStorage(clock=sim.clock), Recorder(sim.clock)
    way = FaultyStorage(shared)
    async with (
        AsyncScheduler(storage=way, clock=sim.clock, instance_id="a", lock_ttl=60) as a,
        AsyncScheduler(storage=shared, clock=sim.clock, instance_id="b", lock_ttl=60) as b,
    ):
        due = (await a.add_one_shot_job("slow", "", recorder.job, 1, args=(300,))).next_run
        await sim.advance(2)
        way.fail(Fault.REFUSED)
        await b.add_one_shot_job("slow", "", recorder.job, 1, args=(300,))
        await sim.advance(600)
        completed, abandoned = await b.list_runs("slow")
        way.heal()
    assert (abandoned.status, abandoned.instance_id, abandoned.attempt) == (RunStatus.ABANDONED, "a", 1)
    assert (completed.status, completed.instance_id, completed.attempt) == (RunStatus.COMPLETED, "b", 2)
    assert completed.run_id == abandoned.run_id
    assert [run.was_cancelled for run in recorder.runs] == [True, False]
    assert recorder.most_at_once() == 1
    assert due + timedelta(seconds=60) <= completed.started <= due + timedelta(seconds=95)
