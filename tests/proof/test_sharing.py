"""Several instances, one storage: each fire time runs once, somewhere."""

import asyncio
from datetime import timedelta

import pytest

from chrono_async.claims import ClaimAnswer, Granted
from chrono_async.errors import StorageError
from chrono_async.storage import InMemoryStorage
from chrono_async.storage._table import claiming
from chrono_async.storage._table.instants import microseconds_of
from tests.proof.kit import KINDS, MINUTE, SECOND, START, World, grid

pytestmark = pytest.mark.long

INSTANCES = [f"instance {n}" for n in range(5)]


async def _share_a_minute_job(world, *, names=INSTANCES, minutes=6):
    """Let all instances run the same job for some minutes."""
    for name in names:
        scheduler = await world.start(name)
        await scheduler.add_interval_job("shared", "Shared", world.recorder.job, MINUTE, args=(0.5,))
    await world.sim.until(START + minutes * MINUTE + timedelta(seconds=5))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.sim(seeds=range(20))
async def test_five_instances_run_each_fire_time_exactly_once(sim, kind):
    """Whoever comes first, whatever is interleaved: the claim decides."""
    async with World(sim, kind=kind) as world:
        await _share_a_minute_job(world)
    assert world.recorder.fire_times() == grid(START + MINUTE, MINUTE, 6)
    assert world.record("shared").run_count == 6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.sim(seeds=range(5))
async def test_who_comes_when_all_is_over_runs_nothing(sim, kind):
    """A slow instance claims what it has read as due, and a fast one has run and settled meanwhile."""
    async with World(sim, kind=kind) as world:
        for n, name in enumerate(INSTANCES):
            world.yields = 1 + 15 * n
            scheduler = await world.start(name)
            await scheduler.add_interval_job("shared", "Shared", world.recorder.job, MINUTE)
        await sim.until(START + 6 * MINUTE + timedelta(seconds=5))
    assert world.recorder.fire_times() == grid(START + MINUTE, MINUTE, 6)


async def _live_and_be_checked(world):
    async with world:
        await _share_a_minute_job(world)


class GrantsEverything(InMemoryStorage):
    """A storage without the claim's check: whoever asks is granted."""

    async def claim(self, requests, owner_id, ttl):
        at = self._moment()
        terms = claiming.Terms(owner_id, at.now, at.now + ttl, microseconds_of(at.now))
        records = self._table.records
        return ClaimAnswer(at.now, [claiming.grant(records[request.job_id], request, terms) for request in requests])


@pytest.mark.sim(seeds=range(5))
async def test_without_the_claims_check_the_proof_above_fails(sim):
    """Or it would prove nothing: with a storage that never lets others go first, it did not."""
    world = World(sim, base=GrantsEverything(clock=sim.clock))
    with pytest.raises(AssertionError):  # the witness sees it too
        await _live_and_be_checked(world)
    assert world.recorder.doubles()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.sim(seeds=range(3))
async def test_many_jobs_of_many_instances_run_once_each(sim, kind):
    """Batches of claims that overlap, half of them in the hands of others, are told apart one by one."""
    async with World(sim, kind=kind) as world:
        for name in INSTANCES[:3]:
            scheduler = await world.start(name)
            for n in range(12):
                await scheduler.add_interval_job(f"job {n}", "", world.recorder.job, MINUTE, args=(n % 3,))
        await sim.until(START + 3 * MINUTE + timedelta(seconds=5))
    assert len(world.recorder.runs) == 12 * 3
    assert not world.recorder.doubles()


class FarAway(InMemoryStorage):
    """A storage that takes its time to answer a claim; it counts what polls bring, and what is asked for in vain."""

    brought = in_vain = 0

    async def due(self, *args, **kwargs):
        page = await super().due(*args, **kwargs)
        self.brought += len(page.due)
        return page

    async def claim(self, requests, owner_id, ttl):
        answer = await super().claim(requests, owner_id, ttl)
        self.in_vain += sum(not isinstance(verdict, Granted) for verdict in answer.verdicts)
        await asyncio.sleep(0.1)
        return answer


class Strangers(FarAway):
    """One on which no instance knows of another, so that they meet; it loses the answer to the first claim of one."""

    loses_an_answer_to = ""

    async def list_instances(self):
        return []

    async def claim(self, requests, owner_id, ttl):
        answer = await super().claim(requests, owner_id, ttl)
        if self.loses_an_answer_to and owner_id.startswith(self.loses_an_answer_to) and len(requests) > 1:
            self.loses_an_answer_to = ""
            raise StorageError("nobody knows what became of it")
        return answer


async def _all_know_a_burst(world, names):
    """Let instances know 2,000 jobs that are due at one instant; return the last of them."""
    for name in names:
        scheduler = await world.start(name)
        for n in range(2_000):
            await scheduler.add_one_shot_job(f"job {n}", "", world.recorder.job, at=START + MINUTE)
    return scheduler


async def _seconds_for_a_burst(world, names, storage):
    """Let instances share a burst: ten claims, if nobody asks for what another has."""
    await _all_know_a_burst(world, names)
    await world.sim.until(START + MINUTE)
    storage.brought = 0
    await world.sim.until(START + 2 * MINUTE)
    assert len(world.recorder.runs) == 2_000
    return max(run.lateness for run in world.recorder.runs) / timedelta(seconds=1)


@pytest.mark.sim(seeds=range(3))
async def test_instances_do_not_get_through_a_burst_in_step(sim):
    """All know it in the same order: who was beaten to a helping would be beaten to the next one, too."""
    storage = FarAway(clock=sim.clock)
    async with World(sim, base=storage, is_witnessed=False) as world:
        assert await _seconds_for_a_burst(world, INSTANCES[:4], storage) < 0.7


@pytest.mark.sim(seeds=range(3))
async def test_a_burst_is_not_loaded_again_while_it_is_worked_off(sim):
    """Each claim that comes too late tells of news; they can wait until all has been asked for."""
    storage = FarAway(clock=sim.clock)
    async with World(sim, base=storage, is_witnessed=False) as world:
        await _seconds_for_a_burst(world, INSTANCES[:4], storage)
    assert storage.brought == 0


@pytest.mark.sim(seeds=range(3))
async def test_instances_that_know_of_each_other_share_a_burst_and_ask_for_little_in_vain(sim):
    """Each begins with a share of its own."""
    storage = FarAway(clock=sim.clock)
    async with World(sim, base=storage, is_witnessed=False) as world:
        await _seconds_for_a_burst(world, INSTANCES[:4], storage)
    assert storage.in_vain <= 1_200


@pytest.mark.sim(seeds=range(3))
async def test_who_is_beaten_to_a_helping_looks_what_is_left(sim):
    """Strangers meet in the middle of a burst, and would ask for all of it, each."""
    storage = Strangers(clock=sim.clock)
    async with World(sim, base=storage, is_witnessed=False) as world:
        await _seconds_for_a_burst(world, INSTANCES[:2], storage)
    assert storage.in_vain < 800


@pytest.mark.sim(seeds=range(3))
async def test_the_share_of_an_instance_that_died_is_run_by_others(sim):
    """They know of it for a while; it is only the order that they go by."""
    storage = FarAway(clock=sim.clock)
    async with World(sim, base=storage, is_witnessed=False) as world:
        last = await _all_know_a_burst(world, INSTANCES[:2])
        await sim.until(START + MINUTE - SECOND)
        await last.stop()
        await sim.until(START + MINUTE + 2 * SECOND)
    assert len(world.recorder.runs) == 2_000


@pytest.mark.sim(seeds=range(3))
async def test_who_looks_what_is_left_forgets_no_claim_of_its_own(sim):
    """The storage shows a job as held whose claim was granted, though the answer was lost."""
    storage = Strangers(clock=sim.clock)
    async with World(sim, base=storage, is_witnessed=False) as world:
        storage.loses_an_answer_to = INSTANCES[0]
        assert await _seconds_for_a_burst(world, INSTANCES[:2], storage) < 30


@pytest.mark.sim(seeds=range(3))
async def test_who_looks_what_is_left_forgets_no_run_that_is_to_be_cancelled(sim):
    """It holds the job itself, whose next fire time waits for a place like any other."""
    storage = Strangers(clock=sim.clock)
    async with World(sim, base=storage, is_witnessed=False) as world:
        both = [
            await world.start(name, max_concurrent_runs=3, lock_ttl=300, storage_poll_interval=30)
            for name in INSTANCES[:2]
        ]
        for n in range(40):
            for scheduler in both:
                job = (f"job {n}", "", world.recorder.job)
                await scheduler.add_one_shot_job(*job, at=START + MINUTE, args=(0.5 + n % 7 / 7,))
        await both[0].add_interval_job("x", "", world.recorder.job, 30, args=(600,), overlap="cancel_running")
        await sim.until(START + 5 * MINUTE)
    assert all(run.end - run.start < MINUTE for run in world.recorder.of("x"))
