"""What runs when: the grid of an interval, jobs longer than their interval, and what was missed."""

from collections import Counter
from datetime import timedelta

import pytest

from chrono_async import IntervalSchedule, Overlap
from chrono_async.events import FireTimesMissed, FireTimesSkipped
from chrono_async.policies import COUNT_LIMIT, Missed
from tests.proof.kit import DAY, HOUR, KINDS, MINUTE, SECOND, START, World, at, grid


@pytest.mark.parametrize(("kind", "hours"), [(KINDS[0], 24), (KINDS[1], 3)])
async def test_a_day_of_a_minute_job_is_1440_runs_on_the_grid(sim, kind, hours):
    """Not one more, not one less, none early, none late."""
    async with World(sim, kind=kind, yields=0) as world:
        scheduler = await world.start(storage_poll_interval=5 * MINUTE)
        await scheduler.add_interval_job("a", "A", world.recorder.job, MINUTE, args=(20,))
        await sim.until(START + hours * HOUR + 30 * SECOND)
    assert world.recorder.fire_times() == grid(START + MINUTE, MINUTE, 60 * hours)
    assert all(timedelta(0) <= run.lateness < timedelta(milliseconds=1) for run in world.recorder.runs)
    assert world.record("a").run_count == 60 * hours


# A job of 24 s every 10 s, from the start to second 100: which fire times run, and which are passed over.
TOO_LONG = {
    Overlap.SKIP: (at(10, 40, 70, 100), at(20, 30, 50, 60, 80, 90)),
    Overlap.QUEUE: (at(10, 30, 50, 80), at(20, 40, 60, 70, 90)),
    Overlap.CANCEL_RUNNING: (at(*range(10, 101, 10)), []),
    Overlap.ALLOW: (at(*range(10, 101, 10)), []),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("overlap", Overlap)
async def test_a_job_longer_than_its_interval_obeys_its_overlap_policy(sim, kind, overlap):
    """The exact fire times, and the passed over ones told, once each."""
    async with World(sim, kind=kind, yields=0) as world:
        scheduler = await world.start()
        skipped = scheduler.events(FireTimesSkipped)
        await scheduler.add_interval_job("a", "A", world.recorder.job, 10, args=(24,), overlap=overlap)
        await sim.until(START + 101 * SECOND)
        ran, passed_over = TOO_LONG[overlap]
        assert world.recorder.fire_times() == ran
        await scheduler.pause_job("a")
        await sim.advance(MINUTE)
        skipped.close()
        told = [event.skipped async for event in skipped]
    assert [moment for missed in told for moment in _all_of(missed) if moment <= START + 90 * SECOND] == passed_over
    assert world.recorder.most_at_once() == (3 if overlap is Overlap.ALLOW else 1)
    assert all(run.was_cancelled for run in world.recorder.runs[:-1]) == (overlap is Overlap.CANCEL_RUNNING)


def _all_of(missed):
    return grid(missed.first, 10 * SECOND, missed.count)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("overlap", [Overlap.SKIP, Overlap.QUEUE, Overlap.CANCEL_RUNNING])
async def test_overlap_is_judged_the_same_when_the_claim_has_moved_the_pointer(sim, kind, overlap):
    """With recovery "skip" the pointer is ahead during the run; the policy means the same fire times."""
    async with World(sim, kind=kind, yields=0) as world:
        scheduler = await world.start()
        await scheduler.add_interval_job(
            "a", "A", world.recorder.job, 10, args=(24,), overlap=overlap, recovery="skip", max_runs=4
        )
        await sim.until(START + 101 * SECOND)
    assert world.recorder.fire_times() == TOO_LONG[overlap][0][:4]


@pytest.mark.parametrize(("ttl", "poll"), [(300, 30), (5, 30), (60, 10)])
async def test_only_a_fire_time_cancels_a_running_job(sim, ttl, poll):
    """Neither the end of its lease does, nor does a fire time beyond the horizon get lost."""
    async with World(sim) as world:
        scheduler = await world.start(lock_ttl=ttl, storage_poll_interval=poll)
        await scheduler.add_interval_job("a", "A", world.recorder.job, HOUR, args=(5000,), overlap="cancel_running")
        await sim.until(START + 4 * HOUR + MINUTE)
    assert world.recorder.fire_times() == grid(START + HOUR, HOUR, 4)
    assert [run.end for run in world.recorder.runs][:-1] == grid(START + 2 * HOUR, HOUR, 3)


async def test_a_manual_request_does_not_cancel_a_running_job(sim):
    """It has a fire time of its own, which waits for the run to end."""
    async with World(sim) as world:
        scheduler = await world.start(lock_ttl=5)
        await scheduler.add_interval_job("a", "A", world.recorder.job, HOUR, args=(600,), overlap="cancel_running")
        await sim.until(START + HOUR + MINUTE)
        await scheduler.trigger_job("a")
        await sim.advance(20 * MINUTE)
    assert [run.was_cancelled for run in world.recorder.runs] == [False, False]


@pytest.fixture
def asked(monkeypatch):
    """What intervals are asked, counted."""
    counter = Counter()

    def counted(name):
        method = getattr(IntervalSchedule, name)

        def ask(schedule, moment):
            counter[name] += 1
            return method(schedule, moment)

        monkeypatch.setattr(IntervalSchedule, name, ask)

    counted("next")
    counted("previous")
    return counter


WEEK = 7 * DAY
MISSED = Missed(COUNT_LIMIT, START + SECOND, START + WEEK - SECOND)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"misfire": "fire_once"}, ([0, 1, 2], (START + SECOND, START + WEEK - SECOND))),
        ({"misfire": "skip", "misfire_grace": 3}, ([-3, -2, -1, 0, 1, 2], (START + SECOND, START + WEEK - 4 * SECOND))),
        ({"misfire": "fire_all", "max_catchup": 4}, ([-3, -2, -1, 0, 1], (START + SECOND, START + WEEK - 4 * SECOND))),
    ],
)
async def test_a_week_of_downtime_of_a_second_job_takes_constant_work(sim, asked, kind, options, expected):
    """604,800 fire times were missed; the schedule is asked a dozen times, not once for each."""
    schedule, (first_runs, missed) = IntervalSchedule(1, start=START), expected
    async with World(sim, kind=kind, yields=0) as world:
        first = await world.start()
        await first.add_job("a", "A", world.recorder.job, schedule, **options)
        await first.stop()
        await sim.until(START + WEEK)
        asked.clear()
        second = await world.start("two")
        told = second.events(FireTimesMissed)
        await second.add_job("a", "A", world.recorder.job, schedule, **options)
        await sim.until(START + WEEK + 2 * SECOND + SECOND / 2)
        told.close()
        events = [event.missed async for event in told]
    assert world.recorder.fire_times()[: len(first_runs)] == [START + WEEK + n * SECOND for n in first_runs]
    assert [(event.first, event.last) for event in events] == [missed]
    assert 0 < sum(asked.values()) < 60


@pytest.mark.parametrize("kind", KINDS)
async def test_after_a_skipped_backlog_the_job_goes_on_at_its_next_fire_time(sim, kind):
    """Nothing within the grace: the pointer is moved without a run, and the history says so."""
    async with World(sim, kind=kind, yields=0) as world:
        first = await world.start()
        await first.add_interval_job("a", "A", world.recorder.job, HOUR, misfire="skip", misfire_grace=60)
        await first.stop()
        await sim.until(START + 10 * HOUR + 5 * MINUTE)
        second = await world.start("two")
        await second.add_interval_job("a", "A", world.recorder.job, HOUR, misfire="skip", misfire_grace=60)
        await sim.until(START + 12 * HOUR + MINUTE)
        [row] = [row for row in await second.list_runs("a") if row.status == "missed"]
    assert world.recorder.fire_times() == grid(START + 11 * HOUR, HOUR, 2)
    assert row.missed == Missed(10, START + HOUR, START + 10 * HOUR)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_long_run_never_shifts_the_grid(sim, kind):
    """Nor does a stop, or a start a while later."""
    async with World(sim, kind=kind, yields=0) as world:
        scheduler = await world.start()
        await scheduler.add_interval_job("a", "A", world.recorder.job, 10, args=(13,))
        await sim.until(START + 95 * SECOND)
        await scheduler.stop()
        await sim.advance(47.3)
        await scheduler.start()
        await sim.advance(100)
    assert all((run.fire_time - START) % (10 * SECOND) == timedelta(0) for run in world.recorder.runs)
    assert len(world.recorder.runs) > 8
