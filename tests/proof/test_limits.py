"""How much at once, how often, who at all: and that waiting costs nothing."""

from datetime import timedelta

import pytest

from chrono_async import CronSchedule, IntervalSchedule
from chrono_async.errors import StorageError
from chrono_async.events import FireTimesMissed
from chrono_async.models import JobStatus
from chrono_async.policies import jitter_offset
from chrono_async.storage import InMemoryStorage
from chrono_async.testing import Fault, FaultyStorage
from tests.proof.kit import DAY, HOUR, KINDS, MINUTE, POLL, SECOND, START, TTL, World, grid

every_storage = pytest.mark.parametrize("kind", KINDS)
DUE = START + HOUR


# ── how much at once ─────────────────────────────────────────────────────────────────────────────────────────────────


@every_storage
@pytest.mark.parametrize("misfire", ["fire_once", "skip"])
async def test_no_more_run_at_once_than_may_and_none_starves(sim, kind, misfire):
    """Those that wait for a place are not missed, however long they wait; each gets its turn."""
    async with World(sim, kind=kind) as world:
        scheduler = await world.start(max_concurrent_runs=3)
        told = scheduler.events(FireTimesMissed)
        for n in range(30):
            await scheduler.add_interval_job(f"job {n}", "", world.recorder.job, HOUR, args=(40,), misfire=misfire)
        await sim.until(DUE + 10 * 40 * SECOND + SECOND)
        told.close()
        assert [event async for event in told] == []
    assert world.recorder.most_at_once() == 3
    assert sorted(run.job_id for run in world.recorder.runs) == sorted(f"job {n}" for n in range(30))
    assert {run.fire_time for run in world.recorder.runs} == {DUE}
    assert max(run.lateness for run in world.recorder.runs) < (9 * 40 + 0.5) * SECOND


@every_storage
async def test_a_busy_job_does_not_starve_those_that_come_seldom(sim, kind):
    """One place, and a job that would like it for ever."""
    async with World(sim, kind=kind) as world:
        scheduler = await world.start(max_concurrent_runs=1)
        for name in ("greedy", "greedy too"):
            await scheduler.add_interval_job(name, "", world.recorder.job, 5, args=(7,), overlap="queue")
        await scheduler.add_interval_job("seldom", "", world.recorder.job, MINUTE)
        await sim.until(START + 10 * MINUTE + 30 * SECOND)
    assert world.recorder.most_at_once() == 1
    assert len(world.recorder.of("seldom")) == 10
    assert all(run.lateness < MINUTE for run in world.recorder.of("seldom"))


async def test_instances_with_few_places_share_a_heap_of_work(sim):
    """What one cannot start now another may."""
    async with World(sim) as world:
        for name in ("one", "two", "three"):
            scheduler = await world.start(name, max_concurrent_runs=2)
            for n in range(18):
                await scheduler.add_interval_job(f"job {n}", "", world.recorder.job, HOUR, args=(30,))
        await sim.until(DUE + 3 * 30 * SECOND + 2 * POLL)
    assert len(world.recorder.runs) == 18
    assert not world.recorder.doubles()
    assert world.recorder.most_at_once() == 6


# ── who at all ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Leader:
    def __init__(self, leads, *, is_async=False):
        self.leads, self._is_async = leads, is_async

    def is_leader(self):
        return self._later() if self._is_async else self.leads

    async def _later(self):
        if self.leads is None:
            raise OSError("no quorum")
        return self.leads


@every_storage
@pytest.mark.parametrize("is_async", [False, True])
async def test_who_does_not_lead_claims_nothing(sim, kind, is_async):
    """And takes over within a second or two when it does."""
    async with World(sim, kind=kind) as world:
        leaders = {name: Leader(name == "one", is_async=is_async) for name in ("one", "two")}
        for name, leader in leaders.items():
            scheduler = await world.start(name, leader=leader)
            await scheduler.add_interval_job("a", "A", world.recorder.job, MINUTE)
        await sim.until(START + 5 * MINUTE + SECOND)
        assert {run.instance_id for run in world.recorder.runs} == {"one"}
        leaders["one"].leads = None if is_async else False
        await sim.advance(2 * MINUTE)
        assert len(world.recorder.runs) == 5
        assert len(world.claims) == 5
        leaders["two"].leads = True
        await sim.advance(3 * SECOND)
        assert world.recorder.runs[-1].instance_id == "two"
    assert not world.recorder.doubles()


# ── jitter ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@every_storage
async def test_jitter_is_the_same_everywhere_and_never_in_the_identity(sim, kind):
    """Fire times stay nominal; the start is late by what job and fire time say, whoever runs it."""
    async with World(sim, kind=kind) as world:
        for name in ("one", "two"):
            scheduler = await world.start(name)
            for n in range(5):
                await scheduler.add_cron_job(f"job {n}", "", world.recorder.job, "*/10 * * * *", jitter=5 * MINUTE)
        await sim.until(START + 50 * MINUTE)
        assert world.record("job 1").next_run == START + 50 * MINUTE
    for run in world.recorder.runs:
        late = run.lateness - jitter_offset(run.job_id, run.fire_time, 5 * MINUTE)
        assert timedelta(0) <= late < 10 * SECOND / 1000
    assert {run.fire_time for run in world.recorder.runs} == set(grid(START + 10 * MINUTE, 10 * MINUTE, 4))
    assert len(world.recorder.runs) == 4 * 5
    assert len({run.start for run in world.recorder.runs}) > 15


# ── how often ────────────────────────────────────────────────────────────────────────────────────────────────────────


@every_storage
@pytest.mark.parametrize("options", [{}, {"recovery": "skip"}, {"overlap": "allow"}])
async def test_max_runs_counts_across_instances_and_restarts(sim, kind, options):
    """Manual runs do not count, and a new declaration does not begin again."""
    async with World(sim, kind=kind) as world:
        for name in ("one", "two"):
            scheduler = await world.start(name)
            await scheduler.add_interval_job("a", "A", world.recorder.job, MINUTE, max_runs=5, **options)
        await sim.until(START + 2 * MINUTE + SECOND)
        await scheduler.trigger_job("a")
        await sim.until(START + 3 * MINUTE + SECOND)
        await world.schedulers["one"].stop()
        await world.schedulers["two"].stop()
        await sim.advance(90)
        scheduler = await world.start("three")
        await scheduler.add_interval_job("a", "A", world.recorder.job, MINUTE, max_runs=5, **options)
        await sim.advance(HOUR)
        info = await scheduler.get_job("a")
    assert (info.run_count, info.next_run) == (6, None)
    assert world.record("a").scheduled_runs == 5
    assert not world.recorder.doubles()


@every_storage
async def test_a_finished_one_shot_does_not_run_again(sim, kind):
    """Declared again with the same delay it is the same job, which has run."""
    async with World(sim, kind=kind) as world:
        for name in ("one", "two", "three"):
            scheduler = await world.start(name)
            await scheduler.add_one_shot_job("a", "A", world.recorder.job, MINUTE)
            await sim.advance(2 * MINUTE)
    assert world.recorder.fire_times() == [START + MINUTE]
    assert world.record("a").next_run is None


# ── that waiting costs nothing ───────────────────────────────────────────────────────────────────────────────────────


@every_storage
async def test_an_idle_hour_costs_a_poll_every_poll_interval(sim, kind):
    """And a heartbeat with it; nothing else."""
    async with World(sim, kind=kind) as world:
        scheduler = await world.start(storage_poll_interval=30)
        await scheduler.add_interval_job("a", "A", world.recorder.job, DAY)
        await sim.advance(MINUTE)
        before = sum(world.calls.values())
        await sim.advance(HOUR)
        assert sum(world.calls.values()) - before <= 2 * 1.12 * 3600 / 30


@every_storage
async def test_the_calls_of_a_busy_hour_are_counted_by_its_runs(sim, kind):
    """
    A claim and a settle a run, a renewal every third of a lease, a poll every poll interval.

    On the portable path there is besides a look at a lock whose end cannot be seen, every five seconds.
    """
    async with World(sim, kind=kind, yields=0) as world:
        for name in ("one", "two"):
            scheduler = await world.start(name, storage_poll_interval=30)
            await scheduler.add_interval_job("a", "A", world.recorder.job, MINUTE, args=(90,), overlap="queue")
        await sim.advance(HOUR)
        calls = sum(world.calls.values())
    runs, polls, renewals = len(world.recorder.runs), 2 * 1.12 * 3600 / 30, 3600 / (TTL.total_seconds() / 3)
    looks = 0 if kind == "memory" else 3600 / 5
    assert world.calls["claim"] <= 3 * runs + looks
    assert calls <= 6 * runs + looks + 2 * polls + 1.2 * renewals + 20


class CountsWhatIsDue(InMemoryStorage):
    """Counts the jobs that polls have brought."""

    brought = 0

    async def due(self, *args, **kwargs):
        page = await super().due(*args, **kwargs)
        self.brought += len(page.due)
        return page


async def test_a_long_list_is_not_loaded_again_for_every_job_that_another_adds(sim):
    """Each is worth a hint; an instance that followed all of them would load the list as often as it has entries."""
    storage, jobs = CountsWhatIsDue(clock=sim.clock), 600
    async with World(sim, base=storage, is_witnessed=False) as world:
        await world.start("listens")
        adds = await world.start("adds")
        for n in range(jobs):
            await adds.add_one_shot_job(f"job {n}", "", world.recorder.job, 15)
            await sim.advance(0.01)
    assert storage.brought < 100 * jobs


@pytest.mark.parametrize("verb", ["heartbeat", "list_instances"])
async def test_who_cannot_see_the_others_nor_be_seen_polls_no_more_often_for_that(sim, verb):
    """It is only for the sake of order, and for those who look."""
    storage, jobs = CountsWhatIsDue(clock=sim.clock), 300
    ways = []
    async with World(sim, base=storage, wrap=lambda inner: ways.append(FaultyStorage(inner)) or ways[-1]) as world:
        scheduler = await world.start(storage_poll_interval=30)
        ways[0].fail(Fault.REFUSED, verb)
        for n in range(jobs):
            await scheduler.add_interval_job(f"job {n}", "", world.recorder.job, 20, start_at=START)
        await sim.advance(10)
        storage.brought = 0
        await sim.advance(MINUTE)
        assert storage.brought <= 4 * jobs


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.ODD_ERROR, Fault.CANCELS_ITSELF, Fault.HANGS])
async def test_an_hour_without_storage_is_spent_waiting(sim, fault):
    """Longer and longer, half a minute at most; and when it is over, all is made up for within seconds."""
    faulty = []
    async with World(sim, wrap=lambda storage: faulty.append(FaultyStorage(storage)) or faulty[-1]) as world:
        scheduler = await world.start()
        for n in range(5):
            await scheduler.add_interval_job(f"job {n}", "", world.recorder.job, 10 * MINUTE, args=(120,))
        await sim.until(START + 10 * MINUTE + SECOND)
        faulty[0].fail(fault)
        before = sum(faulty[0].calls.values())
        await sim.advance(HOUR)
        assert sum(faulty[0].calls.values()) - before < 1500
        faulty[0].heal()
        await sim.advance(45)
        assert scheduler.health().ok
        await sim.advance(20 * MINUTE)
    for n in range(5):
        assert world.recorder.fire_times(f"job {n}")[-1] == START + 90 * MINUTE


class OneIsBroken(InMemoryStorage):
    """A storage with a record that it can show, but not claim, settle or renew."""

    broken = "job 3"

    async def claim(self, requests, owner_id, ttl):
        self._check(request.job_id for request in requests)
        return await super().claim(requests, owner_id, ttl)

    def _check(self, job_ids):
        if self.broken in job_ids:
            raise StorageError(f"{self.broken}: cannot be read")


async def test_a_record_that_cannot_be_claimed_costs_that_record_only(sim):
    """Those that are due with it are claimed one by one."""
    async with World(sim, base=OneIsBroken(clock=sim.clock)) as world:
        scheduler = await world.start()
        for n in range(8):
            await scheduler.add_interval_job(f"job {n}", "", world.recorder.job, MINUTE, args=(1,))
        await sim.until(START + 4 * MINUTE + 30 * SECOND)
        for n in (0, 1, 2, 4, 5, 6, 7):
            assert world.recorder.fire_times(f"job {n}") == grid(START + MINUTE, MINUTE, 4)
    assert not world.recorder.of("job 3")


class Broken:
    """A schedule of a user's own, which works for so many questions."""

    def __init__(self, questions):
        self._left = questions

    def next(self, after):
        self._left -= 1
        if self._left < 0:
            raise ZeroDivisionError
        return IntervalSchedule(MINUTE, start=START).next(after)


@pytest.mark.parametrize("overlap", ["skip", "queue", "cancel_running", "allow"])
@pytest.mark.parametrize("questions", range(1, 10))
async def test_a_schedule_that_fails_costs_its_own_job_only(sim, overlap, questions):
    """At whichever question: the others, due at the same moment, never notice."""
    async with World(sim) as world:
        scheduler = await world.start()
        await scheduler.add_job("broken", "", world.recorder.job, Broken(questions), args=(1,), overlap=overlap)
        for n in range(3):
            await scheduler.add_interval_job(f"job {n}", "", world.recorder.job, MINUTE, args=(1,))
        await sim.until(START + 4 * MINUTE + 30 * SECOND)
        await scheduler.remove_job("broken")
        world.removed.add("broken")
    for n in range(3):
        assert world.recorder.fire_times(f"job {n}") == grid(START + MINUTE, MINUTE, 4)
        assert all(run.attempt == 1 and run.lateness < 2 * SECOND for run in world.recorder.of(f"job {n}"))
    assert not world.recorder.doubles()


@every_storage
async def test_a_verb_on_one_instance_is_heard_on_the_others(sim, kind):
    """At once where the storage hints, else at the next poll; functions live on both."""
    async with World(sim, kind=kind, next_run_may_go_back=True) as world:
        one, two = [await world.start(name) for name in ("one", "two")]
        await one.add_interval_job("a", "A", world.recorder.job, HOUR)
        await two.add_interval_job("a", "A", world.recorder.job, HOUR)
        await one.pause_job("a")
        await sim.until(DUE + MINUTE)
        assert not world.recorder.runs
        await two.resume_job("a")
        await one.reschedule_job("a", CronSchedule("*/5 * * * *"))
        await sim.advance(11 * MINUTE)
        assert world.recorder.fire_times() == grid(DUE + 5 * MINUTE, 5 * MINUTE, 2)
        await one.stop()
        await sim.advance(5 * MINUTE)
        assert world.recorder.fire_times()[-1] == DUE + 15 * MINUTE
        assert world.recorder.runs[-1].instance_id == "two"
    assert world.record("a").status is JobStatus.COMPLETED
