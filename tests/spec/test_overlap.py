"""
Overlaps: what becomes of a fire time that comes while an earlier run of its job is still going.
"""

import asyncio
from datetime import timedelta

import pytest

from chrono_async import AsyncScheduler, InMemoryStorage, Overlap, Recovery, RunStatus, StorageError
from chrono_async.events import FireTimesSkipped, LeaseLost
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


async def cut_after(sim, changes, *, begins, is_elsewhere):
    """Return after how many seconds the run that `begins` then is cancelled, if it is; a user changes its job thus."""
    storage, recorder, begin = InMemoryStorage(clock=sim.clock), Recorder(sim.clock), sim.now
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        await s.add_interval_job("slow", "", recorder.job, 10, args=(55,), overlap="cancel_running")
        user = AsyncScheduler(storage=storage, clock=sim.clock) if is_elsewhere else s
        for at, verb in changes:
            await sim.until(begin + timedelta(seconds=at))
            await getattr(s if verb == "trigger_job" else user, verb)("slow")
        await sim.advance(60)
        await s.remove_job("slow")
    (run,) = [run for run in recorder.runs if run.start == begin + timedelta(seconds=begins)]
    return (run.end - run.start).total_seconds() if run.was_cancelled else None


@pytest.mark.parametrize("is_elsewhere", [False, True])
@pytest.mark.parametrize(
    ("changes", "begins"),
    [
        ([(2, "pause_job"), (5, "trigger_job")], 5),
        ([(5, "trigger_job"), (7, "pause_job")], 5),
        ([(12, "pause_job")], 10),
    ],
)
async def test_a_job_that_is_paused_has_no_fire_time_that_cancels_its_run(sim, changes, begins, is_elsewhere):
    """Neither a manual run nor a scheduled one, whoever has paused it, before the run or meanwhile."""
    assert await cut_after(sim, changes, begins=begins, is_elsewhere=is_elsewhere) is None


@pytest.mark.parametrize("is_elsewhere", [False, True])
@pytest.mark.parametrize("changes", [[(2, "pause_job"), (5, "trigger_job")], [(5, "trigger_job"), (7, "pause_job")]])
async def test_when_it_is_resumed_the_next_fire_time_cancels_the_run(sim, changes, is_elsewhere):
    """And none that came during the pause."""
    resumed = [*changes, (34, "resume_job")]
    assert await cut_after(sim, resumed, begins=5, is_elsewhere=is_elsewhere) == 35


class Reluctant(InMemoryStorage):
    """Takes its time to show a job, or refuses to."""

    takes, refuses = 0, False

    async def get_job(self, job_id):
        await asyncio.sleep(self.takes)
        if self.refuses:
            raise StorageError("not now")
        return await super().get_job(job_id)


async def test_while_the_storage_does_not_say_how_a_job_stands_its_run_goes_on(sim):
    """It could not be claimed anew either."""
    storage, recorder, begin = Reluctant(clock=sim.clock), Recorder(sim.clock), sim.now
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        await s.add_interval_job("slow", "", recorder.job, 10, args=(60,), overlap="cancel_running")
        await sim.advance(15)
        storage.refuses = True
        await sim.advance(8)  # no pause is longer than the storage has failed: 3 s by now
        assert [run.end for run in recorder.runs] == [None]
        storage.refuses = False
        await sim.advance(10)
        await s.remove_job("slow")
    first, second = recorder.runs[:2]
    assert first.was_cancelled
    assert first.end - begin < timedelta(seconds=30)
    assert second.fire_time - begin == timedelta(seconds=20)


async def test_a_run_that_ends_before_that_is_known_makes_room_by_itself(sim):
    storage, recorder, begin = Reluctant(clock=sim.clock), Recorder(sim.clock), sim.now
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        await s.add_interval_job("slow", "", recorder.job, 10, args=(11,), overlap="cancel_running")
        storage.takes = 2
        await sim.advance(25)
        await s.remove_job("slow")
    seconds = [((run.fire_time - begin).total_seconds(), (run.start - begin).total_seconds()) for run in recorder.runs]
    assert seconds == [(10, 10), (20, 22)]
    assert not recorder.runs[0].was_cancelled


async def test_the_run_of_a_job_that_was_removed_elsewhere_ends_as_that_becomes_known(sim):
    """And not as one that makes room."""
    storage, recorder, lost = InMemoryStorage(clock=sim.clock), Recorder(sim.clock), []
    async with AsyncScheduler(storage=storage, clock=sim.clock, lock_ttl=60) as s:
        s.subscribe(lost.append, LeaseLost)
        await s.add_interval_job("slow", "", recorder.job, 10, args=(60,), overlap="cancel_running")
        await sim.advance(15)
        await AsyncScheduler(storage=storage, clock=sim.clock).remove_job("slow")
        await sim.advance(60)
    assert [run.was_cancelled for run in recorder.runs] == [True]
    assert [event.job_id for event in lost] == ["slow"]


@pytest.mark.parametrize("recovery", Recovery)
async def test_nothing_cancels_the_last_run_of_all(sim, recovery):
    """Nor a manual one after that: no other is to take its place."""
    recorder, begin = Recorder(sim.clock), sim.now
    async with AsyncScheduler(clock=sim.clock) as s:
        options = {"overlap": "cancel_running", "recovery": recovery, "max_runs": 2}
        await s.add_interval_job("slow", "", recorder.job, 10, args=(25,), **options)
        await sim.advance(50)
        await s.trigger_job("slow")
        await sim.advance(50)
    runs = [((run.start - begin).total_seconds(), run.was_cancelled) for run in recorder.runs]
    assert runs == [(10, True), (20, False), (50, False)]


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
