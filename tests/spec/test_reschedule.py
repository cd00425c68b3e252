"""
Rescheduling: another schedule for a job that is there, from now on and everywhere.
"""

from datetime import UTC, datetime, timedelta

import pytest

from chrono_async import (
    AsyncScheduler,
    CronSchedule,
    InMemoryStorage,
    IntervalSchedule,
    JobNotFoundError,
    OneShotSchedule,
    ScheduleError,
)
from chrono_async.testing import Recorder


async def work():
    """A job."""


async def test_the_new_schedule_counts_from_now(sim):
    recorder = Recorder(sim.clock)
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("beat", "", recorder.job, 3600)
        await sim.advance(100)
        begin = sim.now
        info = await s.reschedule_job("beat", IntervalSchedule(10))
        assert info.next_run == begin + timedelta(seconds=10)
        assert info.schedule == IntervalSchedule(10, start=begin)
        await sim.advance(30)
    assert recorder.fire_times() == [begin + timedelta(seconds=n) for n in (10, 20, 30)]


async def test_counters_name_and_pause_stay(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("beat", "Heartbeat", work, 10)
        await sim.advance(20)
        await s.pause_job("beat")
        info = await s.reschedule_job("beat", CronSchedule("@daily"))
        assert (info.name, info.run_count, info.paused) == ("Heartbeat", 2, True)
        assert info.next_run == datetime(2026, 1, 2, tzinfo=UTC)


async def test_while_the_job_runs_the_run_ends_as_it_would(sim):
    recorder = Recorder(sim.clock)
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("slow", "", recorder.job, 100, args=(30,))
        await sim.advance(110)
        due = (await s.reschedule_job("slow", IntervalSchedule(60))).next_run
        await sim.advance(120)
        assert (await s.get_job("slow")).run_count == 2
    assert recorder.runs[1].fire_time == due
    assert not any(run.was_cancelled for run in recorder.runs)


async def test_it_outlives_a_restart_that_declares_the_old_schedule(sim):
    """What a user has said at runtime is not undone by the next deployment of the same code."""
    storage = InMemoryStorage(clock=sim.clock)
    for every in (10, 3600):
        async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
            info = await s.add_interval_job("beat", "", work, 10)
            assert info.schedule.interval == timedelta(seconds=every)
            await s.reschedule_job("beat", IntervalSchedule(3600))
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        info = await s.add_interval_job("beat", "", work, 20)
        assert info.schedule.interval == timedelta(seconds=20)


async def test_a_finished_one_shot_can_be_given_another_time(sim):
    recorder = Recorder(sim.clock)
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("once", "", recorder.job, 1)
        await sim.advance(10)
        again = sim.now + timedelta(hours=1)
        await s.reschedule_job("once", OneShotSchedule(at=again))
        await sim.advance(7200)
    assert recorder.fire_times()[1:] == [again]


async def test_it_works_for_jobs_whose_function_lives_elsewhere(sim):
    storage, recorder = InMemoryStorage(clock=sim.clock), Recorder(sim.clock)
    async with AsyncScheduler(storage=storage, clock=sim.clock) as worker:
        await worker.add_interval_job("beat", "", recorder.job, 3600)
        await AsyncScheduler(storage=storage, clock=sim.clock).reschedule_job("beat", IntervalSchedule(10))
        await sim.advance(60)
        assert (await worker.get_job("beat")).schedule.interval == timedelta(seconds=10)
    assert len(recorder.runs) == 6


@pytest.mark.parametrize("schedule", ["* * * * *", None, CronSchedule])
async def test_what_is_no_schedule_is_refused_and_changes_nothing(sim, schedule):
    async with AsyncScheduler(clock=sim.clock) as s:
        before = await s.add_interval_job("beat", "", work, 10)
        with pytest.raises(ScheduleError, match="is no schedule"):
            await s.reschedule_job("beat", schedule)
        assert await s.get_job("beat") == before


async def test_who_is_not_there_cannot_be_rescheduled(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        with pytest.raises(JobNotFoundError):
            await s.reschedule_job("nobody", IntervalSchedule(10))
