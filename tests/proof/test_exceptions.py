"""
What docs/guarantees.md says does not hold: each exception is seen to happen, or the page would warn of ghosts.

Where something bounds the exception, such as a token that tells old from new, that is seen too.
"""

import asyncio
import contextlib
from datetime import timedelta

import pytest

from chrono_async import JobRecord, RunRecord, RunStatus
from chrono_async.claims import ClaimRequest, Granted, Outcome, PointerMove, SettleVerdict
from chrono_async.engine import current_run
from chrono_async.models import Definition, JobStatus
from chrono_async.policies import MAX_ATTEMPTS
from chrono_async.storage import as_leasing
from chrono_async.testing import Fault
from tests.proof.kit import HOUR, KINDS, MINUTE, POLL, SECOND, START, TTL, World
from tests.proof.test_leases import FaultyWorld
from tests.storage.eight_methods import EightMethodStorage

every_storage = pytest.mark.parametrize("kind", KINDS)
DUE = START + HOUR


@every_storage
async def test_what_ran_beside_an_occurrence_that_kills_its_process_is_given_up_with_it(sim, kind):
    """Deaths cannot be told apart: the neighbour has done nothing, and has died three times all the same."""
    async with World(sim, kind=kind) as world:
        for n in range(MAX_ATTEMPTS + 1):
            scheduler = await world.start(f"process {n}")
            for name in ("killer", "neighbour"):
                await scheduler.add_interval_job(name, "", world.recorder.job, HOUR, args=(100,))
            await sim.until(DUE + n * (TTL + POLL + 6 * SECOND) + SECOND)
            if n < MAX_ATTEMPTS:
                await world.kill(f"process {n}")
        await sim.until(DUE + 10 * MINUTE)
    assert [run.attempt for run in world.recorder.of("neighbour")] == [1, 2, 3]
    for name in ("killer", "neighbour"):
        assert (world.record(name).status, world.record(name).run_count) == (JobStatus.FAILED, 1)


class Ledger:
    """Somebody else's resource: it takes whatever is written to it, unless it compares tokens."""

    def __init__(self, *, compares):
        self.compares, self.written, self.refused, self.greatest = compares, [], [], 0

    def write(self, run):
        taken = not self.compares or run.token > self.greatest
        (self.written if taken else self.refused).append(run.attempt)
        self.greatest = max(self.greatest, run.token)


@every_storage
@pytest.mark.parametrize("compares", [False, True])
async def test_who_stood_still_has_its_effect_on_others_unless_they_compare_tokens(sim, kind, compares):
    """It goes on where it was, long after somebody else has run the occurrence; only the storage refuses it."""
    ledger = Ledger(compares=compares)

    async def body():
        await asyncio.sleep(30)
        ledger.write(current_run())

    async with World(sim, kind=kind, may_freeze=True) as world:
        for name in ("one", "two"):
            await (await world.start(name)).add_interval_job("a", "A", body, HOUR)
        await sim.until(DUE + SECOND)
        (holder,) = [name for name, scheduler in world.schedulers.items() if scheduler.health().running]
        world.gates[holder].shut()
        await sim.until(DUE + TTL + POLL + 40 * SECOND)
        assert ledger.written == [2]
        world.gates[holder].open()
        await sim.advance(10)
    assert (ledger.written, ledger.refused) == (([2], [1]) if compares else ([2, 1], []))
    assert world.record("a").run_count == 1
    assert world.verdicts[SettleVerdict.DONE] == 1


@every_storage
@pytest.mark.parametrize("where", ["a coroutine", "a thread"])
async def test_who_ignores_that_its_lease_is_lost_goes_on_beside_the_one_that_took_over(sim, kind, where):
    """It was cancelled in time and did not mind: so another one runs at the same time, and alone counts."""
    begun, ended = [], []

    async def stubborn():
        begun.append(current_run().attempt)
        end = sim.now + 5 * MINUTE
        while sim.now < end:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep((end - sim.now).total_seconds())
        ended.append(current_run().attempt)

    def in_a_thread():
        attempt = current_run().attempt
        begun.append(attempt)
        sim.sleep_in_thread(5 * MINUTE)
        ended.append(attempt)

    async with FaultyWorld(sim, kind=kind) as world:
        for name in ("one", "two"):
            scheduler = await world.start(name)
            await scheduler.add_interval_job("a", "A", stubborn if where == "a coroutine" else in_a_thread, HOUR)
        await sim.until(DUE + SECOND)
        (holder,) = [name for name, scheduler in world.schedulers.items() if scheduler.health().running]
        world.faulty[holder].fail(Fault.REFUSED)
        await sim.advance(2 * TTL + POLL)
        assert (begun, ended) == ([1, 2], [])
        world.faulty[holder].heal()
        await sim.advance(10 * MINUTE)
    assert ended == [1, 2]
    assert world.record("a").run_count == 1
    assert world.record("a").settled_token == max(token for _, token in world.claims)


@every_storage
async def test_a_run_whose_job_was_removed_elsewhere_and_added_again_goes_on_until_its_next_renewal(sim, kind):
    """So that for a third of a lease at most it is beside a run of the job's new life."""
    async with World(sim, kind=kind) as world:
        world.removed.add("a")
        one, two = await world.start("one"), await world.start("two")
        await one.add_interval_job("a", "A", world.recorder.job, HOUR, args=(600,))
        await sim.until(DUE + SECOND)
        await two.remove_job("a")
        added = sim.now
        await two.add_interval_job("a", "A", world.recorder.job, HOUR, args=(600,), run_immediately=True)
        await sim.advance(TTL)
        old, new = world.recorder.runs
        await two.stop(timeout=0)
    assert (old.instance_id, new.instance_id) == ("one", "two")
    assert new.start < old.end <= added + TTL / 3 + 2 * SECOND
    assert old.was_cancelled


# ── through eight methods ────────────────────────────────────────────────────────────────────────────────────────────


class Gated(EightMethodStorage):
    """One process's way to a store of eight methods; a save of its waits while `gate` is shut."""

    def __init__(self, clock, store):
        super().__init__(clock)
        self.jobs, self.locks = store.jobs, store.locks
        self.waits, self.gate = asyncio.Event(), asyncio.Event()
        self.gate.set()

    async def save_job(self, record):
        self.waits.set()
        await self.gate.wait()
        await super().save_job(record)


class Two:
    """Two processes on one store, in which a job is due: mine, and another one."""

    async def begin(self, sim, clocks=None):
        store, self.now = EightMethodStorage(sim.clock), sim.now
        self.ways = [Gated(sim.clock, store) for _ in range(2)]
        clocks = clocks or [sim.clock] * 2
        self.mine, self.other = (as_leasing(way, clock=clock) for way, clock in zip(self.ways, clocks, strict=True))
        record = (await self.mine.register(JobRecord("a", next_run=sim.now, schedule=Definition("d", "b")))).record
        self.request = ClaimRequest("a", sim.now, sim.now, record.revision)
        return self

    async def claim(self, **changes):
        (granted,) = (await self.mine.claim([self.request._replace(**changes)], "mine/1", TTL)).verdicts
        assert isinstance(granted, Granted)
        row = RunRecord("a", self.now, RunStatus.COMPLETED, token=granted.lease.token)
        move = PointerMove(self.now, self.request.revision, self.now + HOUR)
        self.outcome = Outcome(granted.lease, row, move)
        return self

    async def settle(self):
        (settled,) = (await self.mine.settle([self.outcome])).settled
        assert settled.verdict is SettleVerdict.DONE

    async def held_up(self, number, call):
        """Begin a call of that process, and hold it up between what it has read and what it writes."""
        way = self.ways[number]
        way.waits.clear()
        way.gate.clear()
        task = asyncio.ensure_future(call)
        await way.waits.wait()
        return task, way.gate


async def test_through_eight_methods_a_pause_between_a_settles_read_and_its_write_is_lost(sim):
    """The record is written whole: as it was before the pause."""
    two = await (await Two().begin(sim)).claim()
    settling, gate = await two.held_up(0, two.settle())
    assert (await two.other.set_paused("a")).paused
    gate.set()
    await settling
    assert not (await two.other.get_job("a")).paused


@pytest.mark.parametrize("writes", ["claim", "pause"])
async def test_through_eight_methods_a_removal_waits_for_a_write_that_is_under_way(sim, writes):
    """Or it would write the job back, and a body would begin beside that of whoever claims it next."""
    two = await Two().begin(sim)
    writing, gate = await two.held_up(0, two.claim() if writes == "claim" else two.mine.set_paused("a"))
    removing = asyncio.create_task(two.other.delete_job("a"))
    await sim.advance(0.3)
    gate.set()
    await asyncio.gather(writing, removing)
    assert await two.mine.list_jobs() == []


async def test_through_eight_methods_a_removal_waits_no_longer_than_a_second(sim):
    """For a process that has died while it wrote, say; and not at all for a run, which may take long."""
    two = await Two().begin(sim)
    await two.mine.acquire_lock("a", "dead", HOUR)
    await two.other.delete_job("a")
    assert sim.now - two.now <= SECOND
    await two.mine.register(JobRecord("a", next_run=two.now, schedule=Definition("d", "b")))
    two.request = two.request._replace(revision=(await two.mine.get_job("a")).revision)
    await two.claim()
    begin = sim.now
    await two.other.delete_job("a")
    assert sim.now == begin


async def test_through_eight_methods_a_removal_between_a_settles_read_and_its_write_is_lost(sim):
    """It does not wait for the run that holds the lock: the job is there again, and has to be removed again."""
    two = await (await Two().begin(sim)).claim()
    settling, gate = await two.held_up(0, two.settle())
    await two.other.delete_job("a")
    gate.set()
    await settling
    assert [record.run_count for record in await two.other.list_jobs()] == [1]


async def test_through_eight_methods_a_settle_between_a_pauses_read_and_its_write_is_undone(sim):
    """Its counting too, and its move of the pointer: the occurrence is there to be run and settled once more."""
    two = await (await Two().begin(sim)).claim()
    pausing, gate = await two.held_up(1, two.other.set_paused("a"))
    await two.settle()
    assert (await two.mine.get_job("a")).run_count == 1
    gate.set()
    await pausing
    record = await two.mine.get_job("a")
    assert (record.run_count, record.next_run, record.paused) == (0, sim.now, True)
    await two.mine.resume("a", revision=record.revision, next_run=sim.now)
    (again,) = (await two.other.claim([two.request], "other/1", TTL)).verdicts
    assert isinstance(again, Granted)
    assert again.lease.token > two.outcome.lease.token


async def test_through_eight_methods_an_at_most_once_claim_between_a_pauses_read_and_its_write_is_undone(sim):
    """And what it had begun can be begun again."""
    two = await Two().begin(sim)
    claiming, gate = await two.held_up(0, two.claim(moves=True, moves_to=sim.now + HOUR))
    pausing, other_gate = await two.held_up(1, two.other.set_paused("a"))
    gate.set()
    await claiming
    assert (await two.mine.get_job("a")).next_run == sim.now + HOUR
    other_gate.set()
    record = await pausing
    assert (record.next_run, record.owner) == (sim.now, None)
    await two.other.resume("a", revision=record.revision, next_run=sim.now)
    await sim.advance(TTL)
    assert isinstance((await two.other.claim([two.request], "other/1", TTL)).verdicts[0], Granted)


async def test_through_eight_methods_an_instances_clock_ends_no_lease_that_the_lock_still_has(sim):
    """An hour ahead it sees the job as due, and does not get it."""
    two = await (await Two().begin(sim, [sim.clock, sim.clock.skewed(HOUR)])).claim()
    assert [due.job_id for due in (await two.other.due(sim.now, sim.now)).due] == ["a"]
    assert not isinstance((await two.other.claim([two.request], "other/1", TTL)).verdicts[0], Granted)
    await sim.advance(TTL + SECOND)
    assert isinstance((await two.other.claim([two.request], "other/1", TTL)).verdicts[0], Granted)


async def test_through_eight_methods_a_clock_that_is_behind_sees_a_dead_owners_lease_end_later_by_as_much(sim):
    """The end that stands in the record is by the owner's clock."""
    two = await (await Two().begin(sim, [sim.clock, sim.clock.skewed(-10 * MINUTE)])).claim()
    await sim.advance(TTL + SECOND)
    assert [due.job_id for due in (await two.mine.due(sim.now, sim.now + SECOND)).due] == ["a"]
    theirs = sim.now - 10 * MINUTE
    assert (await two.other.due(theirs, theirs + SECOND)).due == []
    await sim.advance(10 * MINUTE)
    assert [due.job_id for due in (await two.other.due(theirs, theirs + SECOND)).due] == ["a"]


@pytest.mark.parametrize("ahead", [10 * MINUTE, -10 * MINUTE])
async def test_through_eight_methods_an_instance_runs_by_its_own_clock(sim, ahead):
    """Early or late by as much as that is wrong: the storage has no clock that could tell."""
    storage, clock, began = EightMethodStorage(sim.clock), sim.clock.skewed(ahead), []

    async def body():
        began.append((current_run().fire_time, sim.now))

    async with World(sim, base=storage, is_witnessed=False) as world:
        scheduler = world.schedulers["one"] = world.new("one", clock=clock)
        world.ways["one"].inner = as_leasing(storage, clock=clock)
        await world.inside("one", scheduler.start)
        await scheduler.add_cron_job("a", "A", body, "30 * * * *")
        await sim.until(START + HOUR)
    (fire_time, begin) = began[0]
    assert fire_time == START + HOUR / 2
    assert timedelta(0) <= begin - (fire_time - ahead) < SECOND
