"""
Several schedulers on one storage: each fire time runs once, and nobody undoes what another has done.

The storage is in memory here, so that both live in one process; with the others it is the same across processes.
"""

from datetime import UTC, datetime, timedelta

import pytest

from chrono_async import (
    AsyncScheduler,
    CronSchedule,
    InMemoryStorage,
    IntervalSchedule,
    JobRecord,
    JobStatus,
    OneShotSchedule,
    WindowedSchedule,
)
from chrono_async.events import JobUnknown
from chrono_async.testing import Recorder, YieldingStorage

SECOND = timedelta(seconds=1)

HOUR = timedelta(hours=1)


async def work():
    """A job."""


@pytest.fixture
def storage(sim):
    return YieldingStorage(InMemoryStorage(clock=sim.clock))


@pytest.mark.sim(seeds=range(3))
async def test_each_fire_time_runs_once(sim, storage):
    recorder, begin = Recorder(sim.clock), sim.now
    async with (
        AsyncScheduler(storage=storage, clock=sim.clock, instance_id="a") as a,
        AsyncScheduler(storage=storage, clock=sim.clock, instance_id="b") as b,
    ):
        for s in (a, b):
            await s.add_interval_job("beat", "", recorder.job, 10)
        await sim.advance(605)
    assert recorder.fire_times() == [begin + n * 10 * SECOND for n in range(1, 61)]


async def test_what_one_has_begun_the_other_takes_over_when_it_stops(sim, storage):
    recorder = Recorder(sim.clock)
    a = AsyncScheduler(storage=storage, clock=sim.clock, instance_id="a")
    async with AsyncScheduler(storage=storage, clock=sim.clock, instance_id="b") as b:
        await a.start()
        await a.add_one_shot_job("slow", "", recorder.job, 1, args=(20,))
        await sim.advance(5)
        await b.add_one_shot_job("slow", "", recorder.job, 1, args=(20,))
        who_runs_it = [(await b.get_job("slow")).instance_id]
        await a.stop(timeout=0)
        await sim.advance(10)
        who_runs_it.append((await b.get_job("slow")).instance_id)
        await sim.advance(50)
        who_runs_it.append((await b.get_job("slow")).instance_id)
    assert who_runs_it == ["a", "b", None]
    first, second = recorder.runs
    assert (first.instance_id, first.was_cancelled) == ("a", True)
    assert (second.instance_id, second.was_cancelled) == ("b", False)
    assert first.fire_time == second.fire_time


async def test_a_job_that_is_joined_keeps_its_next_run(sim, storage):
    """A deployment moves no fire time."""
    async with AsyncScheduler(storage=storage, clock=sim.clock) as a:
        first = await a.add_interval_job("beat", "", work, 60)
        await sim.advance(90)
        before = await a.get_job("beat")
    async with AsyncScheduler(storage=storage, clock=sim.clock) as b:
        assert await b.add_interval_job("beat", "", work, 60) == before
    assert before.next_run == first.next_run + 60 * SECOND
    assert before.run_count == 1


async def test_an_unchanged_declaration_changes_nothing(sim, storage):
    """Neither the pause that a user has asked for, nor the counters, nor a delay that runs."""
    async with AsyncScheduler(storage=storage, clock=sim.clock) as a:
        await a.add_cron_job("report", "", work, "@hourly")
        await a.add_one_shot_job("init", "", work, 600)
        await a.pause_job("report")
        await sim.advance(60)
        before = await a.list_jobs()
    async with AsyncScheduler(storage=storage, clock=sim.clock) as b:
        await b.add_cron_job("report", "", work, "@hourly")
        await b.add_one_shot_job("init", "", work, 600)
        assert await b.list_jobs() == before


async def test_a_changed_declaration_replaces_the_schedule(sim, storage):
    async with AsyncScheduler(storage=storage, clock=sim.clock) as a:
        await a.add_interval_job("beat", "", work, 60)
        await sim.advance(90)
        await a.pause_job("beat")
    async with AsyncScheduler(storage=storage, clock=sim.clock) as b:
        info = await b.add_interval_job("beat", "", work, 20)
    assert info.next_run == sim.now + 20 * SECOND
    assert (info.run_count, info.paused) == (1, True)


async def test_name_and_options_follow_the_latest_declaration(sim, storage):
    async with AsyncScheduler(storage=storage, clock=sim.clock) as a:
        before = await a.add_interval_job("beat", "old", work, 60, tags=["old"])
    async with AsyncScheduler(storage=storage, clock=sim.clock) as b:
        info = await b.add_interval_job("beat", "new", work, 60, tags=["new"])
    assert (info.name, info.tags, info.next_run) == ("new", ("new",), before.next_run)


async def test_another_zone_of_the_scheduler_is_another_schedule_of_jobs_that_name_none(sim, storage):
    """Where a deployment moves, its 8 o'clock moves too."""
    hours = []
    for timezone in ("UTC", "Asia/Tokyo", "Asia/Tokyo"):
        async with AsyncScheduler(storage=storage, clock=sim.clock, timezone=timezone) as s:
            info = await s.add_cron_job("report", "", work, "0 8 * * *")
        hours.append(info.next_run.hour)
    assert hours == [8, 23, 23]


@pytest.mark.parametrize("every", ["* * * * *", 60])
async def test_another_window_alone_is_none_and_that_is_told(sim, storage, caplog, every):
    """Several processes may count it from their own start: none of them shall undo what another has begun."""
    start, schedule = sim.now + HOUR, CronSchedule(every) if isinstance(every, str) else IntervalSchedule(every)
    told = []
    for window in ({"start_at": start}, {"start_at": start}, {"start_at": start + HOUR}, {"end_at": start}, {}):
        caplog.clear()
        async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
            info = await s.add_job("report", "", work, schedule, **window)
        assert info.next_run == start
        told.append(len(caplog.records))
    assert told == [0, 0, 1, 1, 0]
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        info = await s.reschedule_job("report", WindowedSchedule(CronSchedule("* * * * *"), end_at=sim.now - HOUR))
    assert info.next_run is None


async def test_while_two_versions_run_a_run_goes_by_the_options_of_the_code_that_runs_it(sim, storage):
    """What is done with a function is said where the function is."""
    old, new = (AsyncScheduler(storage=storage, clock=sim.clock) for _ in range(2))
    for s, timeout in ((old, 5), (new, 15)):
        await s.add_interval_job("slow", "", sim.sleep, 3600, args=(10,), timeout=timeout)
    statuses = []
    for s in (old, new):
        async with s:
            result = await s.wait_for_job("slow", run_id=await s.trigger_job("slow"))
        statuses.append(result.status)
    assert statuses == [JobStatus.FAILED, JobStatus.COMPLETED]


async def test_how_many_runs_there_are_is_what_was_declared_last(sim, storage):
    recorder = Recorder(sim.clock)
    async with (
        AsyncScheduler(storage=storage, clock=sim.clock) as old,
        AsyncScheduler(storage=storage, clock=sim.clock) as new,
    ):
        await old.add_interval_job("beat", "", recorder.job, 60)
        await new.add_interval_job("beat", "", recorder.job, 60, max_runs=2)
        await sim.advance(600)
    assert len(recorder.runs) == 2


async def test_a_job_that_has_had_its_runs_has_more_when_it_is_rescheduled_and_not_when_they_are_declared(sim, storage):
    """As a finished one-shot, it stays finished: a deployment alone begins nothing anew."""
    recorder = Recorder(sim.clock)
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        await s.add_interval_job("beat", "", recorder.job, 60, max_runs=2)
        await sim.advance(600)
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        await s.add_interval_job("beat", "", recorder.job, 60, max_runs=5)
        await sim.advance(600)
        assert len(recorder.runs) == 2
        await s.reschedule_job("beat", IntervalSchedule(60))
        await sim.advance(600)
        assert len(recorder.runs) == 5


async def test_a_finished_one_shot_does_not_run_again(sim, storage):
    """Its process starts again, and declares what it always declares."""
    recorder = Recorder(sim.clock)
    for _ in range(3):
        async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
            await s.add_one_shot_job("init", "", recorder.job, 5)
            await sim.advance(60)
    assert len(recorder.runs) == 1


async def test_unless_it_is_declared_with_a_new_time_that_lies_ahead(sim, storage):
    recorder = Recorder(sim.clock)
    times = [datetime(2026, 1, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 2, tzinfo=UTC)]
    for at in [times[0], *times, times[0]]:
        async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
            await s.add_one_shot_job("eve", "", recorder.job, at=at)
            await sim.until(max(at, sim.now))
    assert recorder.fire_times() == times


async def test_what_one_does_to_a_job_the_other_knows_at_once(sim, storage):
    recorder = Recorder(sim.clock)
    async with (
        AsyncScheduler(storage=storage, clock=sim.clock, storage_poll_interval=3600) as a,
        AsyncScheduler(storage=storage, clock=sim.clock, storage_poll_interval=3600) as b,
    ):
        await a.add_interval_job("beat", "", recorder.job, 10)
        await b.pause_job("beat")
        await sim.advance(60)
        assert recorder.runs == []
        await b.resume_job("beat")
        await sim.advance(10)
        assert len(recorder.runs) == 1
        await b.reschedule_job("beat", OneShotSchedule(at=sim.now + 5 * SECOND))
        await sim.advance(60)
        assert len(recorder.runs) == 2
        await b.remove_job("beat")
        assert await a.list_jobs() == []


async def test_a_job_that_nobody_here_knows_is_left_alone_and_told_once(sim, storage, caplog):
    """Perhaps it is the next version's; perhaps it was the last one's."""
    told = []
    await AsyncScheduler(storage=storage, clock=sim.clock).add_interval_job("theirs", "", work, 10)
    before = await storage.get_job("theirs")
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        s.subscribe(told.append, JobUnknown)
        await sim.advance(600)
        assert s.health().unknown_jobs == ("theirs",)
        assert s.health().ok
    assert [event.job_id for event in told] == ["theirs"]
    assert caplog.text.count("'theirs'") == 1
    assert await storage.get_job("theirs") == before


async def test_a_job_that_somebody_else_runs_in_time_is_told_to_nobody(sim, storage, caplog):
    """However often it comes due; and a job that is overdue at the start may yet be added."""
    recorder = Recorder(sim.clock)
    await AsyncScheduler(storage=storage, clock=sim.clock).add_interval_job("late", "", work, 10)
    await sim.advance(600)
    async with (
        AsyncScheduler(storage=storage, clock=sim.clock) as a,
        AsyncScheduler(storage=storage, clock=sim.clock, storage_poll_interval=5) as b,
    ):
        await a.add_interval_job("theirs", "", recorder.job, 7, args=(6,))
        await a.add_interval_job("seen twice before it is due", "", recorder.job, 60)
        await sim.advance(3)
        await b.add_interval_job("late", "", recorder.job, 10)
        await sim.advance(600)
        assert b.health().unknown_jobs == ()
    assert "function for it" not in caplog.text
    assert len([run for run in recorder.runs if run.job_id == "theirs"]) > 80


@pytest.mark.parametrize("ahead", [-2, 0, 2])
async def test_a_job_that_nobody_takes_is_told_of_by_whatever_clock(sim, ahead):
    """Not at once, since it may be added yet, and not much later; nor because a clock was set."""
    server = sim.clock.skewed(timedelta(hours=ahead))
    storage = InMemoryStorage(clock=server)
    await AsyncScheduler(storage=storage, clock=server).add_interval_job("theirs", "", work, 10)
    await sim.advance(600)
    async with (
        AsyncScheduler(storage=storage, clock=sim.clock) as a,
        AsyncScheduler(storage=storage, clock=sim.clock) as b,
    ):
        told = []
        a.subscribe(told.append, JobUnknown)
        await b.add_interval_job("b's", "", work, 20)
        await sim.advance(20)
        assert a.health().unknown_jobs == ()
        await sim.advance(60)
        assert a.health().unknown_jobs == ("theirs",)
        for hours in (1, -3):
            server.step(timedelta(hours=hours))
            await sim.advance(200)
            assert a.health().unknown_jobs == (("theirs",) if hours > 0 else ())
        await sim.advance(3 * 3600)
        assert a.health().unknown_jobs == ("theirs",)
        assert [event.job_id for event in told] == ["theirs"]


async def test_a_job_that_the_storage_has_lost_is_told_of_when_it_would_run(sim, caplog):
    """As by a Redis that was emptied: nothing was removed by anybody, and nothing is due any more."""
    storage = InMemoryStorage(clock=sim.clock)
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        await s.add_interval_job("beat", "", work, 10)
        storage._table.records.clear()
        await sim.advance(60)
    assert [record.getMessage() for record in caplog.records] == [
        "job 'beat' is in the storage no more: it was removed, or lost"
    ]


@pytest.mark.parametrize("who", ["here", "elsewhere"])
async def test_a_job_that_is_removed_is_unknown_no_more(sim, storage, who):
    """Nor does it take up room for ever in what each poll leaves out."""
    other = AsyncScheduler(storage=storage, clock=sim.clock)
    await other.add_interval_job("theirs", "", work, 10)
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        await sim.advance(120)
        assert s.health().unknown_jobs == ("theirs",)
        await (s if who == "here" else other).remove_job("theirs")
        assert s.health().unknown_jobs == (() if who == "here" else ("theirs",))
        await sim.advance(31)
        assert s.health().unknown_jobs == ()


async def test_nor_is_one_that_somebody_takes_until_it_is_left_due_again(sim, storage):
    """Then it is told again: once for each time for which it was due and nobody came."""
    told = []
    other = AsyncScheduler(storage=storage, clock=sim.clock)
    await other.add_interval_job("theirs", "", work, 10)
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        s.subscribe(told.append, JobUnknown)
        for times in (1, 2):
            await sim.advance(300)
            assert s.health().unknown_jobs == ("theirs",)
            assert len(told) == times
            async with other:
                await sim.advance(100)
                assert s.health().unknown_jobs == ()


async def test_nor_one_that_is_paused(sim, storage):
    other = AsyncScheduler(storage=storage, clock=sim.clock)
    await other.add_interval_job("theirs", "", work, 10)
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        await sim.advance(120)
        await s.pause_job("theirs")
        await sim.advance(31)
        assert s.health().unknown_jobs == ()


async def test_it_is_known_as_soon_as_its_function_is_here(sim, storage):
    recorder = Recorder(sim.clock)
    await AsyncScheduler(storage=storage, clock=sim.clock).add_interval_job("ours", "", work, 10)
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        await sim.advance(60)
        await s.add_interval_job("ours", "", recorder.job, 10)
        await sim.advance(20)
        assert s.health().unknown_jobs == ()
    assert len(recorder.runs) >= 2


async def test_a_record_that_another_program_wrote_is_taken_up(sim, storage):
    """With nothing but the seed's nine fields: it keeps its next run when the job is declared."""
    due = sim.now + 42 * SECOND
    await storage.save_job(JobRecord(id="beat", name="Heartbeat", next_run=due, run_count=7))
    recorder = Recorder(sim.clock)
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        info = await s.add_interval_job("beat", "Heartbeat", recorder.job, 3600)
        assert (info.next_run, info.run_count) == (due, 7)
        await sim.advance(60)
    assert recorder.fire_times() == [due]
