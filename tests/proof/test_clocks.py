"""The wall clock is set, or strange by law: nothing runs twice, nothing early, nothing is forgotten."""

import asyncio
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from chrono_async import InMemoryStorage, IntervalSchedule
from chrono_async.events import FireTimesMissed
from chrono_async.testing import Simulation, YieldingStorage
from tests.proof.kit import HOUR, KINDS, MINUTE, POLL, SECOND, START, World, grid


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("poll", [10 * SECOND, 10 * MINUTE])
async def test_a_clock_set_forward_is_noticed_within_a_second(sim, kind, poll):
    """What has come due by the new time runs then, once, however far away the next poll is."""
    async with World(sim, kind=kind) as world:
        scheduler = await world.start(storage_poll_interval=poll)
        await scheduler.add_interval_job("a", "A", world.recorder.job, HOUR)
        await sim.advance(1234.5)
        sim.clock.step(HOUR)
        stepped = sim.now
        await sim.advance(1.1)
        [run] = world.recorder.runs
        assert run.start - stepped <= 1.1 * SECOND
        await sim.advance(HOUR)
    assert world.recorder.fire_times() == grid(START + HOUR, HOUR, 2)
    assert all(run.lateness >= timedelta(0) for run in world.recorder.runs)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_clock_set_back_repeats_nothing(sim, kind):
    """The fire times of the hour that comes again have run; the next one waits for its own time."""
    async with World(sim, kind=kind) as world:
        scheduler = await world.start()
        await scheduler.add_interval_job("a", "A", world.recorder.job, 10 * MINUTE)
        await sim.until(START + 55 * MINUTE)
        sim.clock.step(-HOUR)
        await sim.until(START + 65 * MINUTE)
    assert world.recorder.fire_times() == grid(START + 10 * MINUTE, 10 * MINUTE, 6)
    assert all(timedelta(0) <= run.lateness < SECOND for run in world.recorder.runs)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_clock_set_to_and_fro_during_a_run_harms_neither_run_nor_lease(sim, kind):
    """Leases end by the clock that no step moves; the result counts."""
    async with World(sim, kind=kind) as world:
        scheduler = await world.start()
        await world.start("two")
        await scheduler.add_interval_job("a", "A", world.recorder.job, HOUR, args=(300,), misfire="fire_once")
        await sim.until(START + HOUR + MINUTE)
        sim.clock.step(-HOUR / 2)
        await sim.advance(MINUTE)
        sim.clock.step(HOUR / 2)
        await sim.advance(10 * MINUTE)
    assert world.recorder.fire_times() == [START + HOUR]
    assert not world.recorder.runs[0].was_cancelled
    assert world.record("a").run_count == 1


@pytest.mark.parametrize("ahead", [HOUR, 5 * SECOND, -5 * SECOND, -HOUR])
async def test_an_instance_with_a_wrong_clock_goes_by_the_storages(sim, ahead):
    """The storage's clock, carried in every answer, is the clock that plans."""
    async with World(sim) as world:
        scheduler = await world.start(clock=sim.clock.skewed(ahead))
        await scheduler.add_cron_job("a", "A", world.recorder.job, "*/5 * * * *")
        await sim.until(START + 31 * MINUTE)
    assert world.recorder.fire_times() == grid(START + 5 * MINUTE, 5 * MINUTE, 6)
    assert all(timedelta(0) <= run.lateness < SECOND for run in world.recorder.runs)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_storage_whose_clock_lags_is_asked_again(sim, kind):
    """By less than is noticed as a step: the claim comes early, is told so, and comes again in time."""
    async with World(sim, kind=kind) as world:
        scheduler = await world.start(storage_poll_interval=HOUR)
        await scheduler.add_interval_job("a", "A", world.recorder.job, 10 * MINUTE)
        await sim.until(START + 10 * MINUTE - SECOND)
        sim.clock.step(-0.4 * SECOND)
        await sim.advance(3)
    [run] = world.recorder.runs
    assert timedelta(0) <= run.lateness < SECOND / 10


class LateAnswers(YieldingStorage):
    """Does at once what it is asked, and says so late, while `is_late`."""

    is_late = False

    async def _call(self, name, call):
        answer = await super()._call(name, call)
        await asyncio.sleep(3 if self.is_late and name == "due" else 0)
        return answer


async def test_a_storages_clock_that_was_set_back_and_right_again_holds_nothing_up(sim):
    """Found by simulation: the run loop slept on by the time that it had been told meanwhile, for an hour."""
    server = sim.clock.skewed(timedelta(0))
    async with World(sim, base=InMemoryStorage(clock=server)) as world:
        scheduler = await world.start()
        await scheduler.add_interval_job("a", "A", world.recorder.job, MINUTE)
        await scheduler.add_interval_job("b", "B", world.recorder.job, HOUR)
        await sim.until(START + MINUTE + 56 * SECOND)  # what is due next lies ready
        server.step(-HOUR)
        await scheduler.trigger_job("b")
        await sim.advance(SECOND)
        server.step(HOUR)
        await sim.until(START + 5 * MINUTE + 30 * SECOND)
    assert world.recorder.fire_times("a") == grid(START + MINUTE, MINUTE, 5)


@pytest.mark.parametrize("freed", [65, 85])
async def test_what_waits_since_the_clock_was_ahead_is_not_taken_for_late(sim, freed):
    """Found by simulation: it seemed an hour late, and was passed over; within its jitter without a word."""
    server = sim.clock.skewed(timedelta(0))
    async with World(sim, base=InMemoryStorage(clock=server)) as world:
        scheduler = await world.start(max_concurrent_runs=1)
        told = scheduler.events(FireTimesMissed)
        await scheduler.add_one_shot_job("long", "", world.recorder.job, 30, args=(freed - 30,))
        await scheduler.add_interval_job("a", "A", world.recorder.job, MINUTE, misfire="skip", jitter=30)
        await sim.until(START + 35 * SECOND)
        server.step(HOUR)
        await sim.advance(POLL)  # now it waits for the place
        server.step(-HOUR)
        await sim.until(START + 2 * MINUTE + 40 * SECOND)
        told.close()
        assert [event async for event in told] == []
    assert world.recorder.fire_times("a") == grid(START + MINUTE, MINUTE, 2)


async def test_a_time_that_was_told_late_does_not_keep_a_job_from_being_rescheduled(sim):
    """The storage refuses a next run in its past: then its time is asked for, and not the same said twenty times."""
    ways = []

    def late(storage):
        ways.append(LateAnswers(storage))
        return ways[0]

    async with World(sim, wrap=late, next_run_may_go_back=True) as world:
        scheduler = await world.start()
        await scheduler.add_interval_job("a", "A", world.recorder.job, HOUR)
        ways[0].is_late = True
        await sim.advance(14)
        ways[0].is_late = False
        job = await scheduler.reschedule_job("a", IntervalSchedule(SECOND))
        assert job.next_run > sim.now
        await sim.advance(10)
    assert len(world.recorder.runs) >= 8


@pytest.mark.parametrize("verb", ["resume", "reschedule"])
async def test_who_sets_a_job_counts_from_what_the_storages_clock_shows_by_now(sim, verb):
    """Even if it was set back a moment ago, and no poll has told of that yet: else a job would rest for an hour."""
    server = sim.clock.skewed(timedelta(0))
    async with World(sim, base=InMemoryStorage(clock=server), next_run_may_go_back=True) as world:
        scheduler = await world.start()
        await scheduler.add_interval_job("a", "A", world.recorder.job, MINUTE)
        await scheduler.pause_job("a")
        await sim.advance(2 * HOUR)
        server.step(-HOUR)
        if verb == "resume":
            await scheduler.resume_job("a")
        else:
            await scheduler.reschedule_job("a", IntervalSchedule(SECOND))
            await scheduler.resume_job("a")
        assert server.now() < world.record("a").next_run <= server.now() + MINUTE
        await sim.advance(2 * MINUTE)
    assert len(world.recorder.runs) >= 2


NEW_YORK, LORD_HOWE = "America/New_York", "Australia/Lord_Howe"


def utc(*fields):
    return datetime(*fields, tzinfo=UTC)


# zone, expression, when the night begins, what runs in it
NIGHTS = {
    "in the gap of spring it runs right after": (NEW_YORK, "30 2 * * *", utc(2026, 3, 8, 5), [utc(2026, 3, 8, 7, 0)]),
    "in the overlap of autumn it runs once, the first time": (
        NEW_YORK, "30 1 * * *", utc(2026, 11, 1, 4), [utc(2026, 11, 1, 5, 30)]
    ),
    "every half hour follows real time through the gap": (
        NEW_YORK, "*/30 * * * *", utc(2026, 3, 8, 6, 1), grid(utc(2026, 3, 8, 6, 30), 30 * MINUTE, 12)
    ),
    "every half hour follows real time through the overlap": (
        NEW_YORK, "*/30 * * * *", utc(2026, 11, 1, 4, 1), grid(utc(2026, 11, 1, 4, 30), 30 * MINUTE, 12)
    ),
    "a gap of half an hour": (LORD_HOWE, "15 2 * * *", utc(2026, 10, 3, 14), [utc(2026, 10, 3, 15, 30)]),
    "an overlap of half an hour": (LORD_HOWE, "45 1 * * *", utc(2026, 4, 4, 12), [utc(2026, 4, 4, 14, 45)]),
}  # fmt: skip


@pytest.mark.parametrize("night", NIGHTS)
def test_a_night_in_which_the_clocks_change(night):
    """Debian cron's rules, seen from the outside: nothing is lost in the gap, nothing runs twice in the overlap."""
    zone, expression, begin, expected = NIGHTS[night]

    async def live_through_it(sim):
        async with World(sim, yields=0) as world:
            scheduler = await world.start()
            await scheduler.add_cron_job("a", "A", world.recorder.job, expression, timezone=zone)
            await sim.until(begin + 6 * HOUR)
        return world.recorder.fire_times()

    with Simulation(start=begin) as sim:
        ran = sim.run(live_through_it(sim))
    assert ran == expected, [moment.astimezone(ZoneInfo(zone)).isoformat() for moment in ran]
