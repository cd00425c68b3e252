"""
A storage that fails: each method, in each way, at each of its first calls.

What is proved each time: the loop lives, what comes due later runs, and the invariants hold, to most of which the world
sees: tokens unique and growing, at most one applied settle for each fire time, the run count exact.
"""

import asyncio

import pytest

from chrono_async import IntervalSchedule, JobNotFoundError, JobRecord
from chrono_async.errors import StorageError
from chrono_async.events import FireTimesMissed
from chrono_async.storage import as_leasing
from chrono_async.testing import Fault, FaultyStorage, Simulation
from tests.proof.kit import KINDS, MINUTE, SECOND, START, World, at, grid
from tests.storage.eight_methods import EightMethodStorage

FIRST_CALLS = range(3)
EVERY = 20 * SECOND
VERBS = (
    "register", "due", "claim", "renew", "settle", "release", "advance", "set_paused", "resume", "reschedule",
    "trigger", "get_job", "delete_job", "list_runs", "heartbeat",
)  # fmt: skip
THE_EIGHT = ("save_job", "get_job", "delete_job", "get_due_jobs", "acquire_lock", "release_lock")


async def _insist(verb, *args, **kwargs):
    """Do as a user does whose call has failed: call again."""
    for _ in range(20):
        try:
            return await verb(*args, **kwargs)
        except JobNotFoundError:
            if verb.__name__ == "remove_job":
                return None  # the answer was lost
        except (StorageError, AttributeError, TypeError):  # the last two, where the storage's answer made no sense
            await asyncio.sleep(0.5)
    raise AssertionError(f"{verb} never succeeds")


async def _live_a_full_life(sim, world):
    """Call every verb there is, with jobs that are short, long, late, retried, triggered, removed, and given back."""
    scheduler = world.new(storage_timeout=2, lock_ttl=6, storage_poll_interval=5)
    job, results, grid_of_20 = world.recorder.job, [], IntervalSchedule(EVERY, start=START)
    world.removed.add("removed")
    await _insist(world.inside, "one", scheduler.start)
    await _insist(scheduler.add_job, "short", "", job, grid_of_20, on_result=results.append)
    await _insist(scheduler.add_job, "long", "", job, grid_of_20, args=(23,), misfire="skip", misfire_grace=0)
    await _insist(scheduler.add_interval_job, "removed", "", job, 7)
    await sim.until(START + 15 * SECOND)
    await _insist(scheduler.pause_job, "short")
    await _insist(scheduler.resume_job, "short")
    await _insist(scheduler.trigger_job, "short")
    await _insist(scheduler.remove_job, "removed")
    await _insist(scheduler.list_runs)
    await sim.until(START + 45 * SECOND)
    await _insist(scheduler.reschedule_job, "long", IntervalSchedule(EVERY, start=START))
    await sim.until(START + 78 * SECOND)
    assert START + 60 * SECOND in world.recorder.fire_times("short")
    await scheduler.stop(timeout=1)
    await sim.until(START + 95 * SECOND)  # a fire time is missed
    await _insist(world.inside, "one", scheduler.start)
    await sim.until(START + 6 * EVERY + 25 * SECOND)
    assert scheduler.health().ok
    await scheduler.stop()


def _has_lived_through(world, faulty, fault):
    late = grid(START + 6 * EVERY, EVERY, 2)
    assert set(late) <= set(world.recorder.fire_times("short"))
    assert world.recorder.fire_times("long")[-1] >= START + 5 * EVERY
    assert all(run.lateness < 6 * SECOND for run in world.recorder.of("short")[-2:])
    world.observe()
    assert not [record for record in world.records() if record.owner is not None]
    return bool(faulty.struck)


def _fail_in_each_way(kind, method, fault, **where):
    struck = []
    for number in FIRST_CALLS:
        faulties = []

        def faulty(storage, number=number, faulties=faulties):
            faulties.append(FaultyStorage(storage, {(method, number): fault}, delay=1.5))
            return faulties[0]

        with Simulation(seed=number) as sim:
            world = World(sim, kind=kind, next_run_may_go_back=True, **{where["at"]: faulty})
            sim.run(_lived(sim, world))
            struck.append(_has_lived_through(world, faulties[0], fault))
    return struck


async def _lived(sim, world):
    async with world:
        await _live_a_full_life(sim, world)


async def test_a_write_that_is_given_up_does_not_wait_for_its_lock_to_be_given_back(sim):
    """A storage that hangs would hang that too, and whoever had given up would wait for ever, a drain included."""
    storage = FaultyStorage(EightMethodStorage(sim.clock))
    portable = as_leasing(storage, clock=sim.clock)
    await portable.register(JobRecord("a"))
    storage.fail(Fault.HANGS, "get_job", "release_lock")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(10):
            await portable.set_paused("a")
    assert sim.loop.time() < 15


# What came due from minute 10 to minute 60 of an outage that ended in minute 65: what of it runs then, by policy.
MISSED_MEANWHILE = {
    "fire_once": (at(60 * 60), 5),
    "skip": ([], 6),
    "fire_all": (at(*range(600, 3601, 600)), 0),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("misfire", MISSED_MEANWHILE)
async def test_what_came_due_in_a_long_outage_is_handled_by_the_misfire_policy(sim, kind, misfire):
    """As after any time in which nobody looked, though the instance was there all the while."""
    faulty = []
    async with World(sim, kind=kind, wrap=lambda storage: faulty.append(FaultyStorage(storage)) or faulty[-1]) as world:
        scheduler = await world.start()
        told = scheduler.events(FireTimesMissed)
        await scheduler.add_interval_job(
            "a", "A", world.recorder.job, 10 * MINUTE, args=(1,), misfire=misfire, misfire_grace=MINUTE
        )
        await sim.until(START + 9 * MINUTE)
        faulty[0].fail(Fault.REFUSED)
        await sim.until(START + 65 * MINUTE)
        assert not world.recorder.runs
        faulty[0].heal()
        await sim.until(START + 71 * MINUTE)
        told.close()
        missed = sum([event.missed.count async for event in told])
    ran, passed_over = MISSED_MEANWHILE[misfire]
    assert world.recorder.fire_times() == [*ran, START + 70 * MINUTE]
    assert missed == passed_over


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("method", VERBS)
def test_a_verb_that_fails_stops_nothing(method, fault):
    """Of a storage with the leasing verbs."""
    assert any(_fail_in_each_way("memory", method, fault, at="wrap"))


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("method", THE_EIGHT)
def test_one_of_the_eight_methods_that_fails_stops_nothing(method, fault):
    """Of a storage that has only these, and gets its verbs from the portable path."""
    assert any(_fail_in_each_way("eight methods", method, fault, at="wrap_eight"))
