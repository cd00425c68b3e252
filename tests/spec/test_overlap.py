"""
Overlaps: what becomes of a fire time that comes while an earlier run of its job is still going.
"""

from datetime import timedelta

import pytest

from chrono_async import AsyncScheduler, Overlap, RunStatus
from chrono_async.events import FireTimesSkipped
from chrono_async.testing import Recorder


async def runs_of_a_slow_job(sim, overlap, *, lasting, until, every=10):
    """Return the (start, end) of its runs in seconds, and the rows of its history, oldest first."""
    recorder, begin = Recorder(sim.clock), sim.now
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("slow", "", recorder.job, every, args=(lasting,), overlap=overlap)
        await sim.advance(until)
        await s.remove_job("slow") if overlap == "cancel_running" else await s.pause_job("slow")

    def seconds(moment):
        return (moment - begin).total_seconds()

    return [(seconds(run.fire_time), seconds(run.start), seconds(run.end), run.was_cancelled) for run in recorder.runs]


async def test_unless_told_otherwise_it_is_passed_over(sim):
    runs = await runs_of_a_slow_job(sim, Overlap.SKIP, lasting=25, until=70)
    assert runs == [(10, 10, 35, False), (40, 40, 65, False), (70, 70, 95, False)]


async def test_and_that_is_reported(sim):
    told = []
    async with AsyncScheduler(clock=sim.clock) as s:
        s.subscribe(told.append, FireTimesSkipped)
        begin = sim.now
        await s.add_interval_job("slow", "", sim.sleep, 10, args=(25,))
        await sim.advance(40)
        rows = await s.list_runs("slow")
    (event,) = told[:1]
    assert (event.skipped.count, event.skipped.first) == (2, begin + timedelta(seconds=20))
    assert [row.missed for row in rows if row.status is RunStatus.SKIPPED] == [event.skipped]


async def test_queue_runs_the_latest_right_after(sim):
    runs = await runs_of_a_slow_job(sim, Overlap.QUEUE, lasting=25, until=55)
    assert runs == [(10, 10, 35, False), (30, 35, 60, False)]


async def test_a_queued_one_keeps_its_fire_time_however_long_it_waits(sim):
    """It was seen in time, so it is no misfire."""
    recorder = Recorder(sim.clock)
    async with AsyncScheduler(clock=sim.clock) as s:
        options = {"overlap": "queue", "misfire": "skip", "misfire_grace": 0}
        await s.add_interval_job("slow", "", recorder.job, 100, args=(199,), **options)
        await sim.advance(350)
    assert [run.lateness for run in recorder.runs] == [timedelta(0), timedelta(seconds=99)]


async def test_cancel_running_makes_room_for_the_new_one(sim):
    runs = await runs_of_a_slow_job(sim, Overlap.CANCEL_RUNNING, lasting=25, until=35)
    assert runs == [(10, 10, 20, True), (20, 20, 30, True), (30, 30, 35, True)]


async def test_allow_runs_both_at_once(sim):
    runs = await runs_of_a_slow_job(sim, Overlap.ALLOW, lasting=25, until=30)
    assert runs == [(10, 10, 35, False), (20, 20, 45, False), (30, 30, 55, False)]


@pytest.mark.parametrize("overlap", [Overlap.SKIP, Overlap.QUEUE, Overlap.CANCEL_RUNNING])
async def test_with_all_others_a_job_never_runs_twice_at_once(sim, overlap):
    recorder = Recorder(sim.clock)
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("slow", "", recorder.job, 10, args=(25,), overlap=overlap)
        await sim.advance(200)
        await s.trigger_job("slow")
        await sim.advance(200)
        await s.stop(timeout=0)
    assert recorder.most_at_once() == 1
    assert len(recorder.runs) > 5


async def test_a_job_that_is_done_in_time_overlaps_nothing(sim):
    for overlap in Overlap:
        recorder = Recorder(sim.clock)
        async with AsyncScheduler(clock=sim.clock) as s:
            await s.add_interval_job("quick", "", recorder.job, 10, args=(9,), overlap=overlap)
            await sim.advance(100)
        assert len(recorder.runs) == 10
        assert not any(run.was_cancelled for run in recorder.runs)


async def test_what_does_not_exist_is_refused(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        with pytest.raises(ValueError, match="overlap='sometimes'"):
            await s.add_interval_job("beat", "", print, 10, overlap="sometimes")
