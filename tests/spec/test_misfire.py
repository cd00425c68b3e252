"""
Misfires: what becomes of fire times that passed while nobody looked.
"""

from datetime import timedelta

import pytest

from chrono_async import AsyncScheduler, InvalidOptionError, Misfire, RunStatus
from chrono_async.events import FireTimesMissed
from chrono_async.testing import Recorder

SECOND = timedelta(seconds=1)


async def after_downtime(sim, seconds, **options):
    """Add a job that is due every ten seconds, look away, come back for a moment; return its recorder and history."""
    recorder = Recorder(sim.clock)
    s = AsyncScheduler(clock=sim.clock)
    await s.add_interval_job("beat", "", recorder.job, 10, **options)
    await sim.advance(seconds)
    async with s:
        await sim.advance(0.5)
        return recorder, [run for run in await s.list_runs("beat") if run.missed is not None]


async def test_unless_told_otherwise_one_run_stands_for_all(sim):
    """At the latest of the missed fire times; the others are folded into it."""
    begin = sim.now
    recorder, missed = await after_downtime(sim, 55)
    assert recorder.fire_times() == [begin + 50 * SECOND]
    assert [(run.status, run.missed.count) for run in missed] == [(RunStatus.COMPLETED, 4)]


async def test_skip_runs_none_of_them_and_says_which(sim):
    begin = sim.now
    recorder, (missed,) = await after_downtime(sim, 55, misfire="skip", misfire_grace=2)
    assert recorder.runs == []
    assert (missed.status, missed.missed.count) == (RunStatus.MISSED, 5)
    assert (missed.missed.first, missed.missed.last) == (begin + 10 * SECOND, begin + 50 * SECOND)


async def test_what_is_late_within_the_grace_is_not_missed(sim):
    begin = sim.now
    recorder, (missed,) = await after_downtime(sim, 55, misfire=Misfire.SKIP, misfire_grace=7)
    assert recorder.fire_times() == [begin + 50 * SECOND]
    assert missed.missed.count == 4


async def test_with_skip_the_grace_is_the_poll_interval_unless_it_is_said(sim):
    begin = sim.now
    recorder, (missed,) = await after_downtime(sim, 55, misfire="skip")
    assert recorder.fire_times() == [begin + n * SECOND for n in (30, 40, 50)]
    assert missed.missed.count == 2


async def test_fire_all_runs_each_in_order(sim):
    begin = sim.now
    recorder, missed = await after_downtime(sim, 55, misfire="fire_all")
    assert recorder.fire_times() == [begin + n * SECOND for n in (10, 20, 30, 40, 50)]
    assert missed == []
    assert recorder.most_at_once() == 1


async def test_of_a_very_long_backlog_only_the_latest_run(sim):
    begin = sim.now
    recorder, (missed,) = await after_downtime(sim, 1005, misfire="fire_all", max_catchup=3)
    assert recorder.fire_times() == [begin + n * SECOND for n in (980, 990, 1000)]
    assert missed.missed.count == 97


@pytest.mark.parametrize("policy", Misfire)
async def test_afterwards_the_grid_goes_on(sim, policy):
    begin, recorder = sim.now, Recorder(sim.clock)
    s = AsyncScheduler(clock=sim.clock)
    await s.add_interval_job("beat", "", recorder.job, 10, misfire=policy)
    await sim.advance(1005)
    async with s:
        await sim.advance(20)
        assert (await s.get_job("beat")).next_run == begin + 1030 * SECOND
    assert recorder.fire_times()[-2:] == [begin + 1010 * SECOND, begin + 1020 * SECOND]
    assert recorder.doubles() == []


@pytest.mark.parametrize(("misfire", "count"), [("fire_once", 4), ("skip", 5)])
async def test_it_is_told(sim, misfire, count):
    told = []
    s = AsyncScheduler(clock=sim.clock)
    await s.add_interval_job("beat", "", sim.sleep, 10, args=(0,), misfire=misfire, misfire_grace=1)
    s.subscribe(told.append, FireTimesMissed)
    await sim.advance(55)
    async with s:
        await sim.advance(1)
    assert [(event.job_id, event.missed.count) for event in told] == [("beat", count)]


async def test_a_one_shot_whose_time_has_passed_runs_late(sim):
    recorder = Recorder(sim.clock)
    s = AsyncScheduler(clock=sim.clock)
    due = (await s.add_one_shot_job("once", "", recorder.job, 10)).next_run
    await sim.advance(3600)
    async with s:
        await sim.advance(1)
    assert recorder.fire_times() == [due]


async def test_with_skip_it_is_lost_and_done(sim):
    recorder = Recorder(sim.clock)
    s = AsyncScheduler(clock=sim.clock)
    await s.add_one_shot_job("once", "", recorder.job, 10, misfire="skip")
    await sim.advance(3600)
    async with s:
        await sim.advance(1)
        assert (await s.get_job("once")).next_run is None
    assert recorder.runs == []


async def test_an_occurrence_that_was_begun_is_no_misfire(sim):
    """It keeps its fire time through every further attempt, whatever the policy says."""
    recorder = Recorder(sim.clock)
    s = AsyncScheduler(clock=sim.clock)
    await s.add_interval_job("slow", "", recorder.job, 10, args=(5,), misfire="skip", misfire_grace=0)
    await s.start()
    await sim.advance(12)
    await s.stop(timeout=0)
    await sim.advance(3600)
    async with s:
        await sim.advance(1)
    first, second = recorder.runs
    assert first.fire_time == second.fire_time


async def test_a_run_that_waited_for_a_free_place_is_not_missed(sim):
    recorder = Recorder(sim.clock)
    async with AsyncScheduler(clock=sim.clock, max_concurrent_runs=1) as s:
        for job_id in ("first", "second"):
            await s.add_one_shot_job(job_id, "", recorder.job, 10, args=(60,), misfire="skip", misfire_grace=1)
        await sim.advance(200)
    assert sorted(run.job_id for run in recorder.runs) == ["first", "second"]


async def test_a_policy_that_does_not_exist_is_refused(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        with pytest.raises(InvalidOptionError, match=r"misfire='sometimes'.*'fire_once', 'skip' or 'fire_all'"):
            await s.add_interval_job("beat", "", print, 10, misfire="sometimes")
