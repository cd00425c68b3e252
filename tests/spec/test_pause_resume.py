"""
Pause and resume.
"""

import asyncio
from datetime import timedelta

import pytest

from chrono_async import (
    AsyncScheduler,
    InMemoryStorage,
    JobNotFoundError,
    JobStatus,
    OneShotSchedule,
    WindowedSchedule,
)
from chrono_async.testing import Recorder


async def work():
    """A job."""


class QuietStorage(InMemoryStorage):
    """Gives no hints that anything has changed: only the poll would find it."""

    async def changes(self):
        await asyncio.Event().wait()
        yield


async def test_a_paused_job_does_not_run(sim):
    recorder = Recorder(sim.clock)
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("beat", "", recorder.job, 10)
        info = await s.pause_job("beat")
        assert info.paused
        assert s.health().planned == 0
        await sim.advance(60)
        assert (await s.get_job("beat")).paused
    assert recorder.runs == []


async def test_a_run_that_is_going_ends_as_it_would(sim):
    recorder = Recorder(sim.clock)
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("slow", "", recorder.job, 10, args=(5,))
        await sim.advance(12)
        await s.pause_job("slow")
        await sim.advance(60)
        info = await s.get_job("slow")
    assert (info.paused, info.status, info.run_count) == (True, JobStatus.COMPLETED, 1)
    assert not recorder.runs[0].was_cancelled


async def test_when_it_is_resumed_the_next_run_counts_from_now(sim):
    """What it has slept through is not made up for."""
    recorder = Recorder(sim.clock)
    begin = sim.now
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("beat", "", recorder.job, 10)
        await s.pause_job("beat")
        await sim.advance(64)
        info = await s.resume_job("beat")
        assert (info.paused, info.next_run) == (False, begin + timedelta(seconds=70))
        await sim.advance(10)
    assert recorder.fire_times() == [begin + timedelta(seconds=70)]


async def test_a_one_shot_keeps_its_time(sim):
    recorder = Recorder(sim.clock)
    async with AsyncScheduler(clock=sim.clock) as s:
        due = (await s.add_one_shot_job("once", "", recorder.job, 100)).next_run
        await s.pause_job("once")
        await sim.advance(10)
        assert (await s.resume_job("once")).next_run == due
        await sim.until(due)
    assert recorder.fire_times() == [due]


async def test_a_one_shot_whose_time_has_passed_runs_at_once(sim):
    recorder = Recorder(sim.clock)
    async with AsyncScheduler(storage=QuietStorage(clock=sim.clock), clock=sim.clock) as s:
        due = (await s.add_one_shot_job("once", "", recorder.job, 10)).next_run
        await s.pause_job("once")
        await sim.advance(3600)
        await s.resume_job("once")
        await sim.settle()
        assert [(run.fire_time, run.start) for run in recorder.runs] == [(due, sim.now)]


async def test_in_however_many_windows_it_keeps_its_time(sim):
    """One is the schedule's own, the other the job's."""
    recorder, due = Recorder(sim.clock), sim.now + timedelta(seconds=100)
    schedule = WindowedSchedule(OneShotSchedule(at=due), end_at=due)
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_job("once", "", recorder.job, schedule, end_at=due)
        await s.pause_job("once")
        await sim.advance(3600)
        assert (await s.resume_job("once")).next_run == due
        await sim.settle()
    assert recorder.fire_times() == [due]


async def test_a_second_pause_and_a_second_resume_change_nothing(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("beat", "", work, 10)
        await sim.advance(5)
        before = await s.get_job("beat")
        assert await s.resume_job("beat") == before
        assert await s.pause_job("beat") == await s.pause_job("beat")


async def test_resuming_what_is_not_paused_takes_no_run_away(sim):
    recorder = Recorder(sim.clock)
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("slow", "", recorder.job, 10, args=(5,))
        await sim.advance(12)
        before = await s.get_job("slow")
        assert await s.resume_job("slow") == before


async def test_a_pause_during_a_run_outlives_it(sim):
    """The run writes down its own outcome, and nothing of the rest."""
    async with AsyncScheduler(clock=sim.clock) as s:

        async def pauses_itself():
            await s.pause_job("it")

        await s.add_interval_job("it", "", pauses_itself, 10)
        await sim.advance(60)
        info = await s.get_job("it")
    assert (info.paused, info.run_count) == (True, 1)


async def test_a_pause_outlives_the_scheduler(sim):
    recorder = Recorder(sim.clock)
    s = AsyncScheduler(clock=sim.clock)
    await s.add_interval_job("beat", "", recorder.job, 10)
    async with s:
        await s.pause_job("beat")
    async with s:
        await sim.advance(60)
    assert recorder.runs == []


async def test_it_works_for_jobs_whose_function_lives_elsewhere(sim):
    storage, recorder = InMemoryStorage(clock=sim.clock), Recorder(sim.clock)
    async with AsyncScheduler(storage=storage, clock=sim.clock) as worker:
        await worker.add_interval_job("beat", "", recorder.job, 10)
        console = AsyncScheduler(storage=storage, clock=sim.clock)
        await console.pause_job("beat")
        await sim.advance(60)
        assert recorder.runs == []
        await console.resume_job("beat")
        await sim.advance(60)
        assert len(recorder.runs) == 6


@pytest.mark.parametrize("verb", ["pause_job", "resume_job"])
async def test_who_is_not_there_is_not_found(sim, verb):
    async with AsyncScheduler(clock=sim.clock) as s:
        with pytest.raises(JobNotFoundError):
            await getattr(s, verb)("nobody")
