"""What becomes of an occurrence when answers are lost, leases run out, and processes die or stand still."""

import asyncio
import contextlib
import os
from datetime import timedelta
from unittest import mock

import pytest

from chrono_async import AsyncScheduler, current_run
from chrono_async.claims import Settled, SettleVerdict
from chrono_async.errors import StorageCorruptError
from chrono_async.events import LeaseLost
from chrono_async.models import JobStatus, RunStatus
from chrono_async.policies import MAX_ATTEMPTS
from chrono_async.storage import InMemoryStorage
from chrono_async.testing import Fault, FaultyStorage, Recorder
from tests.proof.kit import HOUR, KINDS, MINUTE, POLL, SECOND, START, TTL, World

every_storage = pytest.mark.parametrize("kind", KINDS)
DUE = START + HOUR


class FaultyWorld(World):
    """A world in which each instance has a faulty way to the storage: `world.faulty["one"]`."""

    def __init__(self, sim, **options):
        self.faulty = {}
        super().__init__(sim, **options)

    def new(self, name="one", **options):
        self._wrap = lambda storage: self.faulty.setdefault(name, FaultyStorage(storage))
        return super().new(name, **options)


async def _two_instances(world, duration, **options):
    schedulers = [await world.start(name) for name in ("one", "two")]
    for scheduler in schedulers:
        await scheduler.add_interval_job("a", "A", world.recorder.job, HOUR, args=(duration,), **options)
    await world.sim.until(DUE + SECOND)
    [run] = world.recorder.runs
    other = "two" if run.instance_id == "one" else "one"
    return run, other


@every_storage
@pytest.mark.parametrize("fault", [Fault.ANSWER_LOST, Fault.DONE_THEN_HANGS])
async def test_a_claim_whose_answer_was_lost_is_asked_again(sim, kind, fault):
    """By the same owner, which finds what is its: one attempt, within seconds rather than a lease."""
    async with FaultyWorld(sim, kind=kind) as world:
        scheduler = await world.start(storage_timeout=2)
        await scheduler.add_interval_job("a", "A", world.recorder.job, HOUR)
        world.faulty["one"].plan["claim", 0] = fault
        await sim.until(DUE + 5 * SECOND)
    assert [(run.fire_time, run.attempt) for run in world.recorder.runs] == [(DUE, 1)]
    assert world.record("a").run_count == 1


@every_storage
async def test_a_claim_is_asked_again_for_as_long_as_its_first_lease_may_last(sim, kind):
    """Though that could not be trusted any more: the answer makes it last anew."""
    async with FaultyWorld(sim, kind=kind) as world:
        scheduler = await world.start(storage_timeout=55)
        await scheduler.add_interval_job("a", "A", world.recorder.job, HOUR)
        world.faulty["one"].plan["claim", 0] = Fault.DONE_THEN_HANGS
        await sim.until(DUE + 2 * TTL)
    assert [(run.fire_time, run.attempt) for run in world.recorder.runs] == [(DUE, 1)]


@every_storage
async def test_the_pause_before_a_claim_is_asked_again_does_not_outlast_its_lease(sim, kind):
    """However long the storage has been failing: pauses have grown to half a minute by then."""
    async with FaultyWorld(sim, kind=kind) as world:
        scheduler = await world.start(storage_timeout=50)
        await scheduler.add_interval_job("a", "A", world.recorder.job, HOUR)
        await sim.until(DUE - SECOND)
        faulty = world.faulty["one"]
        faulty.fail(Fault.REFUSED, "due")
        faulty.plan["claim", 0] = Fault.DONE_THEN_HANGS
        await sim.until(DUE + 2 * TTL)
    assert [(run.fire_time, run.attempt) for run in world.recorder.runs] == [(DUE, 1)]


@every_storage
async def test_a_claim_that_was_not_answered_keeps_its_place(sim, kind):
    """It may hold: with another run in its place its lease would run out, and the next attempt would be the second."""
    async with FaultyWorld(sim, kind=kind) as world:
        scheduler = await world.start(storage_timeout=2, max_concurrent_runs=1)
        await scheduler.add_interval_job("a", "A", world.recorder.job, HOUR)
        await scheduler.add_one_shot_job("b", "B", world.recorder.job, at=DUE + SECOND, args=(2 * 60,))
        world.faulty["one"].plan["claim", 0] = Fault.DONE_THEN_HANGS
        await sim.until(DUE + 5 * MINUTE)
    assert [(run.job_id, run.attempt) for run in world.recorder.runs] == [("a", 1), ("b", 1)]


@every_storage
@pytest.mark.parametrize("poll", [POLL, 10 * MINUTE])
@pytest.mark.parametrize(("verb", "soon"), [("pause_job", TTL), ("remove_job", 2 * SECOND)])
async def test_the_place_of_a_claim_that_was_not_answered_is_not_kept_for_ever(sim, kind, verb, soon, poll):
    """If the claim is not asked for again, no longer than its lease may last; and not at all once its job is gone."""
    async with FaultyWorld(sim, kind=kind) as world:
        scheduler = await world.start(storage_timeout=2, max_concurrent_runs=1, storage_poll_interval=poll)
        await scheduler.add_interval_job("a", "A", world.recorder.job, HOUR)
        await scheduler.add_one_shot_job("b", "B", world.recorder.job, at=DUE + SECOND)
        world.faulty["one"].plan["claim", 0] = Fault.DONE_THEN_HANGS
        await sim.until(DUE + 2.05 * SECOND)
        await getattr(scheduler, verb)("a")
        await sim.advance(soon)
        assert [(run.job_id, run.attempt) for run in world.recorder.runs] == [("b", 1)]


MANY = 1000


async def _with_many_unanswered(world, sim, **options):
    """A thousand jobs, of which a third each comes due in a second, and of whose claims nothing was heard for 20 s."""
    scheduler = await world.start(lock_ttl=5 * MINUTE, max_concurrent_runs=MANY, **options)
    for number in range(MANY):
        at = DUE + number % 3 * SECOND
        await scheduler.add_one_shot_job(f"job-{number}", "A", world.recorder.job, at=at, args=(60,))
    world.faulty["one"].fail(Fault.ANSWER_LOST, "claim")
    await sim.until(DUE + 20 * SECOND)
    world.faulty["one"].heal()
    return scheduler


async def test_many_claims_that_were_not_answered_are_asked_again_together(sim):
    """A few to begin with, then as many as were asked for at once: an outage in a burst is over when it is over."""
    async with FaultyWorld(sim) as world:
        await _with_many_unanswered(world, sim)
        asked = world.faulty["one"].calls["claim"]
        await sim.advance(6 * SECOND)
        assert len(world.recorder.runs) == MANY
        assert {run.attempt for run in world.recorder.runs} == {1}
        assert world.faulty["one"].calls["claim"] - asked < 40


async def test_those_that_wait_to_be_asked_again_follow_when_the_first_have_been(sim):
    """However long each answer takes: nothing else is going to happen that would wake who asks."""
    async with FaultyWorld(sim) as world:
        await _with_many_unanswered(world, sim, storage_poll_interval=10 * MINUTE)
        world.faulty["one"].fail(Fault.SLOW, "claim")
        await sim.advance(55 * SECOND)
        assert len(world.recorder.runs) == MANY


async def test_one_whose_record_cannot_be_read_does_not_hold_up_the_others_that_are_asked_again(sim):
    """Together with it none of them is answered; so they are asked for one by one until it was found."""
    async with FaultyWorld(sim) as world:
        await _with_many_unanswered(world, sim)
        inner = world.faulty["one"].inner

        async def claim(requests, owner_id, ttl, claim=inner.claim):
            if any(request.job_id == "job-500" for request in requests):
                raise StorageCorruptError.of("job-500")
            return await claim(requests, owner_id, ttl)

        with mock.patch.object(inner, "claim", claim):
            await sim.advance(MINUTE)
        assert {run.job_id for run in world.recorder.runs} == {f"job-{n}" for n in range(MANY) if n != 500}


async def test_a_stop_does_not_wait_until_all_claims_have_been_asked_again(sim):
    """Each call that is still to come could take as long as the storage may."""
    async with FaultyWorld(sim) as world:
        scheduler = await _with_many_unanswered(world, sim)
        world.faulty["one"].fail(Fault.SLOW, "claim")
        await sim.advance(SECOND)
        asked = world.faulty["one"].calls["claim"]
        await scheduler.stop()
        assert world.faulty["one"].calls["claim"] <= asked + 1


async def test_a_poll_does_not_put_off_asking_again_for_a_claim(sim):
    """The storage shows the job as held then: by the very claim whose answer was lost."""
    async with FaultyWorld(sim) as world:
        scheduler, other = await world.start("one", lock_ttl=POLL), await world.start("two")
        await scheduler.add_interval_job("a", "A", world.recorder.job, HOUR)
        world.faulty["one"].plan["claim", 0] = Fault.ANSWER_LOST
        await sim.until(DUE + 0.05 * SECOND)
        await other.add_interval_job("b", "B", world.recorder.job, HOUR)  # a change, of which "one" gets a hint
        await sim.advance(SECOND)
    assert [(run.fire_time, run.attempt) for run in world.recorder.runs] == [(DUE, 1)]


async def test_adding_the_job_again_does_not_forget_an_unanswered_claim(sim):
    """The job would be nobody's until the lease had run out: five minutes, unless told otherwise."""
    async with FaultyWorld(sim) as world:
        scheduler = await world.start()
        await scheduler.add_interval_job("a", "A", world.recorder.job, HOUR)
        world.faulty["one"].plan["claim", 0] = Fault.ANSWER_LOST
        await sim.until(DUE + 0.05 * SECOND)
        await scheduler.add_interval_job("a", "A", world.recorder.job, HOUR, replace=True)
        await sim.advance(SECOND)
    assert [(run.fire_time, run.attempt) for run in world.recorder.runs] == [(DUE, 1)]


@every_storage
async def test_a_claim_that_was_asked_again_is_trusted_from_then(sim, kind):
    """Its lease lasts from then: the run is not cut short for the time that went by before it could begin."""
    async with FaultyWorld(sim, kind=kind) as world:
        scheduler = await world.start()
        await scheduler.add_interval_job("a", "A", world.recorder.job, HOUR, args=(600,))
        faulty = world.faulty["one"]
        faulty.plan["claim", 0] = Fault.ANSWER_LOST
        await sim.until(DUE + 0.01 * SECOND)
        faulty.fail(Fault.REFUSED, "claim", "renew")
        await sim.advance(TTL / 2)
        faulty.heal()
        faulty.fail(Fault.REFUSED, "renew")
        await sim.advance(TTL)
        [run] = world.recorder.runs
        assert DUE + TTL / 2 < run.start < DUE + TTL
        assert run.was_cancelled
        assert DUE + TTL < run.end < run.start + TTL


@every_storage
@pytest.mark.parametrize("fault", [Fault.ANSWER_LOST, Fault.DONE_THEN_HANGS, Fault.REFUSED, Fault.HANGS])
async def test_a_settle_whose_answer_was_lost_is_asked_again(sim, kind, fault):
    """It counts once, whichever of the two took effect, and the callbacks come once."""
    async with FaultyWorld(sim, kind=kind) as world:
        scheduler, results = await world.start(storage_timeout=2), []
        await scheduler.add_interval_job("a", "A", world.recorder.job, HOUR, on_result=results.append)
        world.faulty["one"].plan["settle", 0] = fault
        await sim.until(DUE + 5 * SECOND)
    took_effect = fault in {Fault.ANSWER_LOST, Fault.DONE_THEN_HANGS}
    assert world.verdicts == {SettleVerdict.DONE: 1} | ({SettleVerdict.REPEATED: 1} if took_effect else {})
    assert len(results) == world.record("a").run_count == 1


@pytest.mark.parametrize(("history", "lasts", "is_known"), [(0, 60, True), (0, 0, False), (1, 0, False), (2, 0, True)])
async def test_it_is_known_until_another_has_ended_and_the_history_has_no_row_of_it(sim, history, lasts, is_known):
    """Then it is told as lost, to no callback; but it was written, and is counted once like any other."""
    base = InMemoryStorage(clock=sim.clock, history=history)
    async with FaultyWorld(sim, base=base) as world:
        results, lost, duration = [], [], 1
        for name in ("one", "two"):
            scheduler = await world.start(name)
            scheduler.subscribe(lost.append, LeaseLost)

            async def job():
                await world.recorder.job(duration)

            await scheduler.add_interval_job("a", "A", job, MINUTE, on_result=results.append)
        await sim.until(START + MINUTE)
        [run] = world.recorder.runs
        way = world.faulty[run.instance_id]
        way.plan["settle", 0] = Fault.ANSWER_LOST
        await sim.advance(SECOND)
        way.fail(Fault.REFUSED, "settle")
        duration = lasts
        await sim.advance(MINUTE + 5 * SECOND)
        assert len(world.recorder.runs) == 2
        way.heal()
        await sim.advance(30 * SECOND)
        assert [event.fire_time for event in lost] == ([] if is_known else [run.fire_time])
        assert len(results) == (2 if is_known and not lasts else 1)
        assert world.record("a").run_count == (1 if lasts else 2)


@every_storage
@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.HANGS])
async def test_a_run_ends_before_its_lease_does_when_that_cannot_be_renewed(sim, kind, fault):
    """So no other runs beside it; that one is attempt 2, within a lease and a poll."""
    async with FaultyWorld(sim, kind=kind) as world:
        run, other = await _two_instances(world, 600)
        first, lost = world.schedulers[run.instance_id], []
        first.subscribe(lost.append, LeaseLost)
        await sim.advance(5 * MINUTE)
        world.faulty[run.instance_id].fail(fault)
        failing_since = sim.now
        await sim.advance(TTL)
        assert run.was_cancelled
        assert run.end < failing_since + TTL
        await sim.advance(TTL + POLL + 6 * SECOND)
        again = world.recorder.runs[1]
        assert (again.fire_time, again.attempt, again.instance_id) == (DUE, 2, other)
        assert run.end < again.start
        assert again.token > run.token
        assert [(event.job_id, event.fire_time, event.token) for event in lost] == [("a", DUE, run.token)]
        world.faulty[run.instance_id].heal()
        await sim.advance(11 * MINUTE)
        assert first.health().ok
        rows = await world.schedulers[other].list_runs("a")
    assert [row.status for row in rows] == [RunStatus.COMPLETED, RunStatus.ABANDONED]
    assert world.record("a").run_count == 1


@every_storage
async def test_the_result_of_a_run_whose_lease_has_passed_on_is_refused(sim, kind, caplog):
    """It came to its end in time, but could not say so until somebody else had taken over, who says that in the log."""
    async with FaultyWorld(sim, kind=kind) as world:
        run, _ = await _two_instances(world, 30)
        lost = []
        world.schedulers[run.instance_id].subscribe(lost.append, LeaseLost)
        world.faulty[run.instance_id].fail(Fault.REFUSED, "settle", "renew")
        await sim.advance(TTL + POLL + 10 * SECOND)
        assert [again.attempt for again in world.recorder.runs] == [1, 2]
        assert f"job 'a': attempt 2 at {DUE}; the lease of the one before ran out" in caplog.messages
        world.faulty[run.instance_id].heal()
        await sim.advance(2 * MINUTE)
    assert world.verdicts == {SettleVerdict.STALE: 1, SettleVerdict.DONE: 1}
    assert [event.token for event in lost] == [run.token]
    assert world.record("a").run_count == 1
    assert world.record("a").settled_token == world.recorder.runs[1].token


@every_storage
@pytest.mark.parametrize("duration", [30, 600])
async def test_a_process_that_stood_still_finds_its_lease_gone(sim, kind, duration):
    """Its clock went on, others took over: what it still did does not count, and what went on is cancelled."""
    async with World(sim, kind=kind, may_freeze=True) as world:
        run, other = await _two_instances(world, duration)
        world.gates[run.instance_id].shut()
        await sim.advance(TTL + POLL + 10 * SECOND)
        again = world.recorder.runs[1]
        assert (again.attempt, again.instance_id) == (2, other)
        world.gates[run.instance_id].open()
        await sim.advance(10 * SECOND)
        assert run.was_cancelled is (duration == 600)
        await sim.advance(11 * MINUTE)
    assert world.record("a").run_count == 1
    assert world.record("a").settled_token == again.token


@every_storage
async def test_a_process_that_stood_still_and_nobody_noticed_goes_on(sim, kind):
    """Renewing what nobody has taken proves that nobody has: the run may end as it would."""
    async with World(sim, kind=kind, may_freeze=True) as world:
        scheduler = await world.start()
        await scheduler.add_interval_job("a", "A", world.recorder.job, HOUR, args=(600,))
        await sim.until(DUE + SECOND)
        world.gates["one"].shut()
        await sim.advance(3 * TTL)
        world.gates["one"].open()
        await sim.advance(11 * MINUTE)
    assert [(run.attempt, run.was_cancelled) for run in world.recorder.runs] == [(1, False)]
    assert world.record("a").run_count == 1


@every_storage
async def test_the_lease_outlasts_the_longest_run(sim, kind):
    """It is renewed for as long as the run takes, and until its outcome is written."""
    async with FaultyWorld(sim, kind=kind) as world:
        run, _ = await _two_instances(world, 1800)
        await sim.until(DUE + 29 * MINUTE)
        world.faulty[run.instance_id].fail(Fault.REFUSED, "settle")
        await sim.advance(10 * MINUTE)
        world.faulty[run.instance_id].heal()
        await sim.advance(MINUTE)
    assert len(world.recorder.runs) == 1
    assert world.verdicts == {SettleVerdict.DONE: 1}


@every_storage
async def test_an_occurrence_that_kills_each_process_is_given_up(sim, kind):
    """Settled as failed at the claim after the third death, without running: so that poison passes."""
    async with World(sim, kind=kind) as world:
        for n in range(MAX_ATTEMPTS):
            scheduler = await world.start(f"process {n}")
            await scheduler.add_interval_job("a", "A", world.recorder.job, HOUR, args=(100,))
            await sim.until(DUE + n * (TTL + POLL + 6 * SECOND) + SECOND)
            await world.kill(f"process {n}")
        scheduler = await world.start("survivor")
        failed = []
        await scheduler.add_interval_job(
            "a", "A", world.recorder.job, HOUR, args=(100,), on_error=lambda _, error: failed.append(str(error))
        )
        await sim.until(DUE + 10 * MINUTE)
        assert [run.attempt for run in world.recorder.runs] == [1, 2, 3]
        record = world.record("a")
        assert (record.status, record.run_count, record.error_count) == (JobStatus.FAILED, 1, 1)
        assert "died" in record.last_error
        assert len(failed) == 1
        await sim.advance(HOUR)
    assert world.record("a").status is JobStatus.COMPLETED
    assert world.recorder.fire_times()[-1] == DUE + HOUR


@every_storage
@pytest.mark.parametrize("options", [{"recovery": "skip"}, {"overlap": "allow"}])
async def test_a_run_that_is_at_most_once_is_never_repeated(sim, kind, options):
    """Its process died, and the history says so."""
    async with World(sim, kind=kind) as world:
        run, other = await _two_instances(world, 30, **options)
        await world.kill(run.instance_id)
        await sim.advance(TTL + POLL + SECOND)
        assert world.recorder.runs == [run]
        await sim.advance(HOUR)
        rows = await world.schedulers[other].list_runs("a")
    assert [row.status for row in rows] == [RunStatus.COMPLETED, RunStatus.ABANDONED]
    assert [row.fire_time for row in rows] == [DUE + HOUR, DUE]
    assert world.record("a").run_count == 1


@every_storage
async def test_an_unheard_lease_is_not_touched_before_it_ends(sim, kind):
    """A dead owner's job waits out the lease, and is asked for no more often than that takes."""
    async with World(sim, kind=kind) as world:
        run, other = await _two_instances(world, 600)
        await world.kill(run.instance_id)
        asked = world.calls["claim"]
        await sim.advance(TTL - 2 * SECOND)
        assert len(world.recorder.runs) == 1
        assert world.calls["claim"] - asked <= (TTL / (5 * SECOND)) + 1
        await sim.advance(POLL + 8 * SECOND)
        assert len(world.recorder.runs) == 2
        await world.kill(other)


@pytest.mark.parametrize("swallows", ["a coroutine", "a thread"])
async def test_a_body_that_goes_on_without_its_lease_makes_nobody_busy(sim, swallows):
    """It cannot be stopped; its lease is lost; and the storage is left in peace all the while."""

    async def stubborn():
        world.recorder._begin()
        end = sim.now + 20 * MINUTE
        while sim.now < end:
            try:
                await asyncio.sleep((end - sim.now).total_seconds())
            except asyncio.CancelledError:
                continue

    def unstoppable():
        sim.sleep_in_thread(20 * MINUTE)

    async with FaultyWorld(sim) as world:
        scheduler = await world.start()
        func = stubborn if swallows == "a coroutine" else unstoppable
        await scheduler.add_interval_job("a", "A", func, HOUR)
        await sim.until(DUE + MINUTE)
        world.faulty["one"].fail(Fault.REFUSED)
        await sim.advance(2 * TTL)
        world.faulty["one"].heal()
        world.faulty["one"].fail(Fault.REFUSED, "renew")
        await sim.advance(MINUTE)
        before = sum(world.faulty["one"].calls.values())
        await sim.advance(5 * MINUTE)
        assert sum(world.faulty["one"].calls.values()) - before < 5 * 60
        world.faulty["one"].heal()
        await sim.advance(20 * MINUTE)
        assert not scheduler._state.runs


class Open(InMemoryStorage):
    """A storage in which the transaction that a run settles itself in is never committed."""

    async def settle_in(self, connection, outcome):
        return Settled(SettleVerdict.DONE)


@pytest.mark.parametrize("before", range(0, 130, 7))
async def test_a_body_that_has_settled_itself_has_half_its_lease_left_to_commit(sim, before):
    """At the least, whenever that falls between two renewals; then it is cancelled as if the lease were lost."""
    spent = []

    async def body():
        await asyncio.sleep(before)
        settled = sim.now
        await current_run().settle_in(None)
        try:
            await asyncio.Event().wait()
        finally:
            spent.append(sim.now - settled)

    storage = Open(clock=sim.clock)
    async with AsyncScheduler(storage=storage, clock=sim.clock, lock_ttl=TTL, storage_poll_interval=POLL) as scheduler:
        await scheduler.add_interval_job("a", "A", body, HOUR)
        await sim.until(DUE + 4 * MINUTE)
        await scheduler.remove_job("a")
    assert TTL / 2 <= spent[0] < TTL


async def test_renewals_go_ahead_of_a_storm_of_claims(sim):
    """A thousand due jobs take nothing from the one that runs."""
    async with World(sim) as world:
        scheduler = await world.start(lock_ttl=6)
        await scheduler.add_interval_job("long", "", world.recorder.job, HOUR, args=(900,))
        for n in range(300):
            await scheduler.add_interval_job(f"job {n}", "", world.recorder.job, timedelta(seconds=1800), args=(0.1,))
        await sim.until(DUE + 16 * MINUTE)
    assert [run.was_cancelled for run in world.recorder.of("long")] == [False]
    assert len(world.recorder.runs) == 1 + 2 * 300


@every_storage
async def test_a_process_started_again_under_its_old_name_is_another_owner(sim, kind):
    """Its first claim is not to be taken for the first one of its life before, whose attempt counts by itself."""
    async with World(sim, kind=kind) as world:
        for seconds in (1, 10):  # the second time well within the lease of the first
            scheduler = await world.start("one")
            await scheduler.add_cron_job("a", "A", world.recorder.job, "0 * * * *", args=(300,))
            await sim.until(DUE + seconds * SECOND)
            await world.kill("one")
        scheduler = await world.start("one")
        await scheduler.add_cron_job("a", "A", world.recorder.job, "0 * * * *")
        await sim.advance(TTL + POLL)
    first, second = world.recorder.runs
    assert (first.attempt, second.attempt) == (1, 2)
    assert second.token > first.token
    assert second.start >= DUE + TTL


async def test_two_copies_of_a_running_process_are_two_owners(sim, monkeypatch):
    """As a snapshot of a machine that is restored twice: all that they know is the same, their names too."""
    storage, recorder = InMemoryStorage(clock=sim.clock), Recorder(sim.clock)
    async with contextlib.AsyncExitStack() as stack:
        with monkeypatch.context() as patch:
            patch.setattr(os, "urandom", bytes)  # what was drawn before the snapshot
            copies = [AsyncScheduler(storage=storage, clock=sim.clock, instance_id="one") for _ in range(2)]
            for scheduler in copies:
                await stack.enter_async_context(scheduler)
                await scheduler.add_interval_job("a", "A", recorder.job, 10, args=(1,))
            await sim.settle()
        await sim.advance(65)
    assert recorder.fire_times() == [START + n * 10 * SECOND for n in range(1, 7)]


async def test_a_second_attempt_tells_of_the_same_missed_fire_times(sim):
    """What the first attempt folded into its run is not run by anybody else, and must not go unreported."""
    async with World(sim) as world:
        scheduler = await world.start("one")
        await scheduler.add_cron_job("a", "A", world.recorder.job, "0 * * * *", args=(300,))
        await scheduler.stop()
        await sim.until(START + 3 * HOUR + MINUTE)
        for name in ("one", "two"):
            scheduler = await world.start(name)
            await scheduler.add_cron_job("a", "A", world.recorder.job, "0 * * * *", args=(300,))
            await sim.advance(2)
            if name == "one":
                await world.kill("one")
        await sim.advance(HOUR / 2)
        rows = await scheduler.list_runs("a")
    first, second = world.recorder.runs
    assert first.missed is not None
    assert first.missed.count == 2
    assert second.missed == first.missed
    assert rows[0].missed == first.missed


@every_storage
@pytest.mark.parametrize("options", [{"recovery": "skip"}, {"overlap": "allow"}])
async def test_a_manual_run_that_is_at_most_once_is_not_given_back_at_a_stop(sim, kind, options):
    """It has begun: cut short by a stop in haste it is recorded as cancelled, like a scheduled one, and that is all."""
    async with World(sim, kind=kind) as world:
        scheduler = await world.start("one")
        await scheduler.add_interval_job("a", "A", world.recorder.job, HOUR, args=(300,), **options)
        await scheduler.trigger_job("a")
        await sim.advance(POLL)
        await scheduler.stop(timeout=0)
        scheduler = await world.start("one")
        await scheduler.add_interval_job("a", "A", world.recorder.job, HOUR, args=(300,), **options)
        await sim.advance(TTL + 2 * POLL)
        job = await scheduler.get_job("a")
    assert len(world.recorder.runs) == 1
    assert (job.status, job.run_count) == (JobStatus.CANCELLED, 1)
