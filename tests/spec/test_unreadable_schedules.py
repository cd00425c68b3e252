"""
A stored schedule that this process cannot read: in a zone unknown here, of a newer version's kind, or someone's own.

The job is left to those who can read it, and nobody runs it by another schedule than the stored one.
"""

from datetime import UTC, datetime, timedelta

import pytest

from chrono_async import AsyncScheduler, InMemoryStorage, IntervalSchedule, JobRecord, ScheduleError
from chrono_async.storage import Definition
from chrono_async.testing import Recorder

SECOND = timedelta(seconds=1)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
UNREADABLE = [
    '{"kind":"cron","expr":"* * * * *","timezone":"Mars/Olympus"}',
    '{"kind":"lunar","phase":"full"}',
    '{"kind":"custom","type":"elsewhere:FullMoon"}',
]


class Every:
    """A schedule of one's own; what it says of itself is the same in every process."""

    def __init__(self, seconds):
        self.seconds = seconds

    def __repr__(self):
        return f"Every({self.seconds})"

    def next(self, after):
        return BEGIN + ((after - BEGIN) // (self.seconds * SECOND) + 1) * self.seconds * SECOND


@pytest.fixture
def storage(sim):
    return InMemoryStorage(clock=sim.clock)


async def rescheduled(storage, job_id, bound, next_run):
    """Reschedule a job as another process does that can read what this one cannot."""
    record = await storage.get_job(job_id)
    definition = Definition(record.schedule.declared, bound)
    record = await storage.reschedule(job_id, definition, revision=record.revision, next_run=next_run)
    assert record is not None


@pytest.mark.parametrize("bound", UNREADABLE)
async def test_the_job_is_listed_without_it_and_so_are_the_others(sim, storage, bound, caplog):
    await storage.register(JobRecord("odd", schedule=Definition("{}", bound), next_run=sim.now + 60 * SECOND))
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        await s.add_interval_job("sound", "", print, 60)
        assert {job.id: job.schedule is None for job in await s.list_jobs()} == {"odd": True, "sound": False}
        for info in (await s.get_job("odd"), await s.pause_job("odd")):
            assert info.schedule is None
        assert info.paused
        await s.list_jobs()
    assert caplog.text.count("the schedule of job 'odd' cannot be read here") == ("custom" not in bound)


@pytest.mark.parametrize("bound", UNREADABLE)
async def test_who_cannot_read_what_a_job_is_rescheduled_to_leaves_it_to_others(sim, storage, bound, caplog):
    """By the old schedule it would run at the wrong times, and undo what somebody has said."""
    recorder = Recorder(sim.clock)
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        await s.add_interval_job("odd", "", recorder.job, 60)
        await s.add_interval_job("sound", "", recorder.job, 60)
        await rescheduled(storage, "odd", bound, BEGIN + 90 * SECOND)
        await s.trigger_job("sound")
        await sim.until(BEGIN + 605 * SECOND)
        info = await s.get_job("odd")
        assert (info.schedule, info.next_run, info.run_count) == (None, BEGIN + 90 * SECOND, 0)
        assert s.health().ok
    assert recorder.fire_times("odd") == []
    assert len(recorder.of("sound")) == 11
    assert caplog.text.count("the schedule of job 'odd' cannot be read here") == 1


@pytest.mark.parametrize("bound", UNREADABLE)
async def test_nor_does_it_run_when_it_is_added_again(sim, storage, bound, caplog):
    """What a user has said at runtime outlives the restart of a process that cannot read it."""
    recorder = Recorder(sim.clock)
    await AsyncScheduler(storage=storage, clock=sim.clock).add_interval_job("odd", "", print, 60)
    await rescheduled(storage, "odd", bound, BEGIN + 90 * SECOND)
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        assert (await s.add_interval_job("odd", "", recorder.job, 60)).schedule is None
        await sim.advance(600)
        assert (await s.get_job("odd")).next_run == BEGIN + 90 * SECOND
    assert recorder.runs == []
    assert caplog.text.count("the schedule of job 'odd' cannot be read here") == 1


@pytest.mark.parametrize("revision", [0, 7])
async def test_nor_if_another_program_has_stored_it(sim, storage, revision):
    """One that counts revisions or does not."""
    recorder = Recorder(sim.clock)
    declared = IntervalSchedule(60).model_dump_json(exclude_none=True)
    schedule = Definition(declared, UNREADABLE[0])
    await storage.save_job(JobRecord("odd", schedule=schedule, revision=revision, next_run=BEGIN + 90 * SECOND))
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        await s.add_interval_job("odd", "", recorder.job, 60)
        await sim.advance(600)
    assert recorder.runs == []


@pytest.mark.parametrize("is_here", [True, False])
async def test_it_cannot_be_resumed_and_it_is_said_why(sim, storage, is_here):
    """Its next run cannot be counted from now, and nothing is written."""
    recorder = Recorder(sim.clock)
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        elsewhere = AsyncScheduler(storage=storage, clock=sim.clock)
        await (s if is_here else elsewhere).add_interval_job("odd", "", recorder.job, 60)
        await rescheduled(storage, "odd", UNREADABLE[0], BEGIN + 90 * SECOND)
        await s.pause_job("odd")
        before = await storage.get_job("odd")
        with pytest.raises(ScheduleError, match=r"job 'odd' cannot be resumed here.*Mars/Olympus"):
            await s.resume_job("odd")
        assert await storage.get_job("odd") == before


async def test_a_schedule_that_can_be_read_puts_it_right(sim, storage):
    """Whoever gives it, here or elsewhere."""
    here, there = Recorder(sim.clock), IntervalSchedule(20, start=BEGIN)
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        await s.add_interval_job("odd", "", here.job, 60)
        await rescheduled(storage, "odd", UNREADABLE[0], BEGIN + 90 * SECOND)
        await sim.until(BEGIN + 300 * SECOND)
        await s.reschedule_job("odd", IntervalSchedule(30, start=BEGIN))
        await sim.until(BEGIN + 365 * SECOND)
        await rescheduled(storage, "odd", UNREADABLE[1], BEGIN + 390 * SECOND)
        await sim.until(BEGIN + 500 * SECOND)
        await AsyncScheduler(storage=storage, clock=sim.clock).reschedule_job("odd", there)
        await sim.until(BEGIN + 545 * SECOND)
    assert here.fire_times() == [BEGIN + n * SECOND for n in (330, 360, 520, 540)]


async def test_of_someones_own_schedules_only_those_who_have_it_run_the_job(sim, storage):
    """The storage keeps its name; so one that is given elsewhere cannot be asked here."""
    here, there = Recorder(sim.clock), Recorder(sim.clock)
    async with (
        AsyncScheduler(storage=storage, clock=sim.clock) as a,
        AsyncScheduler(storage=storage, clock=sim.clock) as b,
    ):
        await a.add_interval_job("moon", "", here.job, 60)
        await b.add_interval_job("moon", "", there.job, 60)
        await a.reschedule_job("moon", Every(25))
        await sim.until(BEGIN + 605 * SECOND)
        assert (await b.get_job("moon")).schedule is None
    assert here.fire_times() == [BEGIN + n * 25 * SECOND for n in range(1, 25)]
    assert there.runs == []


async def test_one_that_all_have_is_the_same_for_all(sim, storage):
    """Although its job was removed meanwhile, and added anew."""
    here, there = Recorder(sim.clock), Recorder(sim.clock)
    async with (
        AsyncScheduler(storage=storage, clock=sim.clock) as a,
        AsyncScheduler(storage=storage, clock=sim.clock) as b,
    ):
        for scheduler, recorder in ((a, here), (b, there)):
            await scheduler.add_job("moon", "", recorder.job, Every(25))
        await a.remove_job("moon")
        await a.add_job("moon", "", here.job, Every(25))
        await sim.until(BEGIN + 60 * SECOND)
        await a.stop()
        await sim.until(BEGIN + 205 * SECOND)
    assert sorted(here.fire_times() + there.fire_times()) == [BEGIN + n * 25 * SECOND for n in range(1, 9)]
    assert len(there.runs) >= 5


async def test_a_function_that_is_replaced_keeps_a_schedule_that_is_known_here(sim, storage):
    """As when a notebook's cell is run again."""
    recorder = Recorder(sim.clock)
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        await s.add_interval_job("moon", "", print, 60)
        schedule = Every(25)
        await s.reschedule_job("moon", schedule)
        assert (await s.add_interval_job("moon", "", recorder.job, 60, replace=True)).schedule is schedule
        await sim.until(BEGIN + 60 * SECOND)
    assert recorder.fire_times() == [BEGIN + n * 25 * SECOND for n in (1, 2)]
