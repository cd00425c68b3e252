"""
Whose word counts: tokens that only grow, those that have passed, and what users do to a job that is being run.
"""

# ruff: noqa: S101 - these are tests, though they ship with the library

from datetime import datetime, timedelta

import pytest

from chrono_async import Clock, JobRecord, JobStatus, LeasingStorage, Overlap, RunStatus
from chrono_async.storage import (
    ClaimRequest,
    Definition,
    Granted,
    Held,
    Lease,
    Moved,
    Outcome,
    PointerMove,
    Policies,
    PortableStorage,
    RegisterVerdict,
    Release,
    SettleVerdict,
    Trigger,
)

from ._contract_steps import MINUTE, SECOND, SteppedClock, Steps, job, run_of

HOUR = timedelta(hours=1)


class Tokens(Steps):
    """What grows, whatever happens."""

    async def test_tokens_grow_when_a_record_is_overwritten(self, leasing: LeasingStorage, now: datetime) -> None:
        """Or removed, by a program that knows nothing of them."""
        tokens = []
        for _ in range(2):
            for _ in range(2):
                await leasing.save_job(JobRecord(id="a", next_run=now))
                tokens.append((await self.claimed(leasing, "a")).lease.token)
            await leasing.delete_job("a")
        assert tokens == sorted(set(tokens))

    async def test_a_lease_ends_when_it_says(self, leasing: LeasingStorage, clock: Clock, now: datetime) -> None:
        """Not a moment before, and at that very moment."""
        if not isinstance(clock, SteppedClock):
            pytest.skip("this storage's clock is not ours to step")
        await leasing.register(job("a", now))
        await self.claimed(leasing, "a", owner="dead/1", ttl=MINUTE)
        clock.advance(MINUTE - timedelta(milliseconds=1))
        held = await self.claim_due(leasing, "a", owner="me/1")
        assert isinstance(held, Held)
        assert abs(held.until - (now + MINUTE)) < timedelta(milliseconds=1)
        clock.advance(timedelta(milliseconds=1))
        assert (await self.claimed(leasing, "a", owner="me/1")).attempt == 2

    async def test_a_claim_that_is_asked_again_lasts_from_then(
        self, leasing: LeasingStorage, clock: Clock, now: datetime, ttl: timedelta
    ) -> None:
        """Its owner counts from when it asked last."""
        await leasing.register(job("a", now))
        request = await self.request(leasing, "a")
        first = (await leasing.claim([request], "me/1", ttl)).verdicts
        self.pass_time(clock, ttl * 2 / 3)
        assert (await leasing.claim([request], "me/1", ttl * 10)).verdicts == first
        self.pass_time(clock, ttl * 2 / 3)
        assert isinstance(await self.claim_due(leasing, "a", owner="you/1", ttl=ttl), Held)

    async def test_a_flight_that_is_asked_for_again_lasts_from_then(
        self, leasing: LeasingStorage, now: datetime, ttl: timedelta
    ) -> None:
        """As any other claim does."""
        await leasing.register(job("a", now, options=Policies(overlap=Overlap.ALLOW)))
        request = (await self.request(leasing, "a"))._replace(moves=True, moves_to=now + 60 * MINUTE, frees=True)
        await leasing.claim([request], "me/1", ttl)
        (before,) = (await leasing.get_job("a")).flights
        await leasing.claim([request], "me/1", ttl * 10)
        (after,) = (await leasing.get_job("a")).flights
        assert after.token == before.token
        assert after.lease_until - before.lease_until >= ttl * 8

    async def test_manual_and_flying_claims_are_answered_the_same_when_asked_again(
        self, leasing: LeasingStorage, now: datetime
    ) -> None:
        """As any other: one attempt, one token, the pointer moved once."""
        await leasing.register(job("flying", now - MINUTE, options=Policies(overlap=Overlap.ALLOW)))
        await leasing.register(job("manual", now + MINUTE))
        waiting = await leasing.trigger("manual", Trigger(now, '{"args": [1]}'))
        record = await leasing.get_job("manual")
        asked = [
            (await self.request(leasing, "flying"))._replace(moves=True, moves_to=now, frees=True),
            ClaimRequest("manual", record.next_run, waiting.at, record.revision, manual=True),
        ]
        first = (await leasing.claim(asked, "me/1", MINUTE)).verdicts
        again = (await leasing.claim(asked, "me/1", MINUTE)).verdicts
        for before, after in zip(first, again, strict=True):
            assert isinstance(before, Granted)
            assert isinstance(after, Granted)
            assert (before.lease, before.attempt) == (after.lease, after.attempt)
        flying, manual = await leasing.get_job("flying"), await leasing.get_job("manual")
        assert (len(flying.flights), flying.next_run) == (1, now)
        assert manual.manual is not None
        assert manual.manual.attempt == 1

    async def test_an_owner_gets_no_other_fire_time_than_it_has(self, leasing: LeasingStorage, now: datetime) -> None:
        """Its name says that it holds the job, not that it may run something else."""
        await leasing.register(job("a", now - MINUTE))
        await self.claimed(leasing, "a", fire_time=now - MINUTE)
        request = await self.request(leasing, "a", now - SECOND)
        assert (await leasing.claim([request], "me/1", MINUTE)).verdicts == [Moved()]

    async def test_a_claim_that_is_asked_again_after_its_settle_gets_nothing(
        self, leasing: LeasingStorage, now: datetime
    ) -> None:
        """An occurrence that was done is done."""
        await leasing.register(job("a", now))
        request = await self.request(leasing, "a")
        granted = await self.claimed(leasing, "a")
        await self.settle(leasing, granted, now, now + MINUTE)
        assert (await leasing.claim([request], "me/1", MINUTE)).verdicts == [Moved()]
        record = await leasing.get_job("a")
        assert (record.owner, record.run_count) == (None, 1)


class StaleTokens(Steps):
    """Who lost the lease changes nothing any more, however it was lost."""

    async def refused(self, leasing: LeasingStorage, lost: Granted, fire_time: datetime) -> None:
        """See each verb refuse the lease, and the job left as it is."""
        job_id = lost.lease.job_id
        before, rows = await leasing.list_jobs(), await leasing.list_runs(job_id)
        assert (await leasing.renew([lost.lease], MINUTE)).lost == [lost.lease]
        assert (await self.settle(leasing, lost, fire_time, fire_time + HOUR)).verdict is SettleVerdict.STALE
        row = run_of(lost, fire_time, RunStatus.CANCELLED)
        await leasing.release([Release(lost.lease, fire_time + HOUR, tries=7, run=row)])
        assert await leasing.list_jobs() == before
        assert await leasing.list_runs(job_id) == rows

    async def test_after_a_take_over_and_its_settle(
        self, leasing: LeasingStorage, clock: Clock, now: datetime, ttl: timedelta
    ) -> None:
        """While the taker runs, and when it has done."""
        await leasing.register(job("a", now))
        lost = await self.claimed(leasing, "a", owner="dead/1", ttl=ttl)
        taken = await self.take_over(leasing, clock, "a", ttl)
        await self.refused(leasing, lost, now)
        assert (await self.settle(leasing, taken, now, now + MINUTE)).verdict is SettleVerdict.DONE
        await self.refused(leasing, lost, now)

    async def test_after_a_removal_and_in_the_next_life(self, leasing: LeasingStorage, now: datetime) -> None:
        """Gone, there again, and running again."""
        await leasing.register(job("a", now))
        lost = await self.claimed(leasing, "a")
        await leasing.delete_job("a")
        await self.refused(leasing, lost, now)
        await leasing.register(job("a", now))
        await self.refused(leasing, lost, now)
        again = await self.claimed(leasing, "a", owner=lost.lease.owner)
        await self.refused(leasing, lost, now)
        assert (await self.settle(leasing, again, now, now)).verdict is SettleVerdict.DONE
        assert (await leasing.get_job("a")).run_count == 1

    async def test_after_it_was_given_back(self, leasing: LeasingStorage, now: datetime) -> None:
        """Also when somebody else runs it by then."""
        await leasing.register(job("a", now))
        given = await self.claimed(leasing, "a")
        await leasing.release([Release(given.lease)])
        await self.refused(leasing, given, now)
        await self.claimed(leasing, "a", owner="you/1")
        await self.refused(leasing, given, now)

    async def test_after_its_settle_a_lease_is_lost(self, leasing: LeasingStorage, now: datetime) -> None:
        """It can be neither renewed nor given back."""
        await leasing.register(job("a", now))
        granted = await self.claimed(leasing, "a")
        await self.settle(leasing, granted, now, now + MINUTE)
        before = await leasing.get_job("a")
        assert (await leasing.renew([granted.lease], MINUTE)).lost == [granted.lease]
        await leasing.release([Release(granted.lease, now + HOUR, tries=7)])
        assert await leasing.get_job("a") == before

    async def test_after_a_flight_has_landed_or_its_job_is_gone(self, leasing: LeasingStorage, now: datetime) -> None:
        """What flies on its own has a lease as any other."""
        await leasing.register(job("a", now - MINUTE, options=Policies(overlap=Overlap.ALLOW)))
        landed = await self.fly(leasing, "a", now, MINUTE, owner="me/1")
        await leasing.release([Release(landed.lease)])
        await self.refused(leasing, landed, now)
        flying = await self.fly(leasing, "a", now + MINUTE, MINUTE, owner="me/2")
        await self.refused(leasing, flying._replace(lease=flying.lease._replace(owner="you/1")), now)
        await self.refused(leasing, flying._replace(lease=flying.lease._replace(token=landed.lease.token)), now)
        await leasing.delete_job("a")
        await leasing.register(job("a", now - MINUTE, options=Policies(overlap=Overlap.ALLOW)))
        await self.refused(leasing, flying, now)

    async def test_one_lost_lease_of_a_batch_costs_no_other(self, leasing: LeasingStorage, now: datetime) -> None:
        """Each is judged alone, in the order of the batch."""
        for name in "abc":
            await leasing.register(job(name, now))
        grants = [await self.claimed(leasing, name) for name in "abc"]
        await leasing.delete_job("b")
        leases = [granted.lease for granted in grants]
        assert (await leasing.renew(leases, MINUTE)).lost == [leases[1]]
        outcomes = [Outcome(granted.lease, run_of(granted, now), PointerMove(now, 0, None)) for granted in grants]
        answer = await leasing.settle([*outcomes, outcomes[0]])
        assert [settled.verdict for settled in answer.settled] == [
            SettleVerdict.DONE, SettleVerdict.STALE, SettleVerdict.DONE, SettleVerdict.REPEATED,
        ]  # fmt: skip


class InFlight(Steps):
    """What users do to a job that is being run."""

    async def test_who_pauses_and_resumes_during_a_run_disturbs_nobody(
        self, leasing: LeasingStorage, now: datetime
    ) -> None:
        """Resumed at the same pointer, the run goes on as the one that moves it."""
        record = (await leasing.register(job("a", now))).record
        granted = await self.claimed(leasing, "a")
        await leasing.set_paused("a")
        assert (await leasing.renew([granted.lease], MINUTE)).lost == []
        resumed = await leasing.resume("a", revision=record.revision, next_run=now)
        assert resumed is not None
        assert (resumed.bound_fire_time, resumed.attempt) == (now, 1)
        assert isinstance(await self.claim_due(leasing, "a", owner="you/1"), Held)
        assert (await self.settle(leasing, granted, now, now + MINUTE)).verdict is SettleVerdict.DONE
        after = await leasing.get_job("a")
        assert (after.next_run, after.run_count, after.paused) == (now + MINUTE, 1, False)

    async def test_a_new_schedule_with_the_same_pointer_is_a_new_schedule(
        self, leasing: LeasingStorage, now: datetime
    ) -> None:
        """Its occurrence is not the one that was run, though the fire time is the same: the revision tells."""
        record = (await leasing.register(job("a", now))).record
        granted = await self.claimed(leasing, "a")
        moved = await leasing.reschedule("a", Definition("x", "y"), revision=record.revision, next_run=now)
        assert moved is not None
        assert (await self.settle(leasing, granted, now, now + MINUTE)).verdict is SettleVerdict.DONE
        assert (await leasing.get_job("a")).next_run == now

    async def test_a_pointer_that_resuming_has_moved_stays(self, leasing: LeasingStorage, now: datetime) -> None:
        """The run that was going is counted, and moves nothing."""
        record = (await leasing.register(job("a", now))).record
        granted = await self.claimed(leasing, "a")
        await leasing.set_paused("a")
        await leasing.resume("a", revision=record.revision, next_run=now + HOUR)
        assert (await self.settle(leasing, granted, now, now + MINUTE)).verdict is SettleVerdict.DONE
        after = await leasing.get_job("a")
        assert (after.next_run, after.run_count, after.bound_fire_time) == (now + HOUR, 1, None)

    async def test_another_definition_from_code_during_a_run_wins(self, leasing: LeasingStorage, now: datetime) -> None:
        """A deployment that changes the schedule while the old one runs."""
        await leasing.register(job("a", now))
        granted = await self.claimed(leasing, "a")
        changed = await leasing.register(job("a", now + HOUR, declared="other"))
        assert changed.verdict is RegisterVerdict.CHANGED
        assert changed.record.owner == granted.lease.owner
        assert (await self.settle(leasing, granted, now, now + MINUTE)).verdict is SettleVerdict.DONE
        after = await leasing.get_job("a")
        assert (after.next_run, after.run_count, after.status) == (now + HOUR, 1, JobStatus.COMPLETED)

    async def test_a_run_that_was_rescheduled_away_keeps_its_lease(
        self, leasing: LeasingStorage, now: datetime
    ) -> None:
        """One run at a time: the new occurrence waits for the old run, and is attempt 1."""
        record = (await leasing.register(job("a", now))).record
        granted = await self.claimed(leasing, "a")
        moved = await leasing.reschedule(
            "a", Definition("x", "y"), revision=record.revision, next_run=now + 20 * SECOND
        )
        assert moved is not None
        assert moved.revision > record.revision
        assert (await leasing.renew([granted.lease], MINUTE)).lost == []
        assert await self.all_due(leasing, now + 30 * SECOND) == []
        await leasing.release([Release(granted.lease, now + HOUR, tries=7)])
        after = await leasing.get_job("a")
        assert (after.next_run, after.not_before, after.tries, after.attempt) == (now + 20 * SECOND, None, 0, 0)

    async def test_the_dead_run_of_a_rescheduled_job_is_written_down(
        self, leasing: LeasingStorage, clock: Clock, now: datetime, ttl: timedelta
    ) -> None:
        """By who looks what is due, or by the next claim."""
        record = (await leasing.register(job("a", now))).record
        lost = await self.claimed(leasing, "a", owner="dead/1", ttl=ttl)
        moved = await leasing.reschedule("a", Definition("x", "y"), revision=record.revision, next_run=now)
        assert moved is not None
        taken = await self.take_over(leasing, clock, "a", ttl, next_run=now)
        (row,) = await leasing.list_runs("a")
        assert (row.status, row.fire_time, row.token) == (RunStatus.ABANDONED, now, lost.lease.token)
        assert taken.attempt == 1

    async def test_the_dead_run_of_a_paused_job_is_written_down(
        self, leasing: LeasingStorage, clock: Clock, now: datetime, ttl: timedelta
    ) -> None:
        """By who looks what is due, so that it does not seem to run for ever; the next attempt is still to come."""
        record = (await leasing.register(job("a", now))).record
        lost = await self.claimed(leasing, "a", owner="dead/1", ttl=ttl)
        await leasing.set_paused("a")
        assert (await leasing.renew([lost.lease], ttl)).lost == []

        async def is_over() -> bool:
            assert await self.all_due(leasing, clock.now()) == []
            return (await leasing.get_job("a")).status is not JobStatus.RUNNING

        if not isinstance(leasing, PortableStorage):  # through eight methods nobody comes across a paused job
            await self.until(clock, ttl + SECOND, is_over)
        await leasing.resume("a", revision=record.revision, next_run=now)
        taken = await self.take_over(leasing, clock, "a", ttl)
        (row,) = await leasing.list_runs("a")
        assert (row.status, row.fire_time, row.token) == (RunStatus.ABANDONED, now, lost.lease.token)
        assert taken.attempt == 2

    async def test_a_manual_request_during_a_run_waits_for_its_end(
        self, leasing: LeasingStorage, now: datetime
    ) -> None:
        """One lease a job, of whatever kind."""
        await leasing.register(job("a", now))
        granted = await self.claimed(leasing, "a")
        waiting = await leasing.trigger("a", Trigger(now))
        record = await leasing.get_job("a")
        request = ClaimRequest("a", record.next_run, waiting.at, record.revision, manual=True)
        (verdict,) = (await leasing.claim([request], "you/1", MINUTE)).verdicts
        assert isinstance(verdict, Held)
        await self.settle(leasing, granted, now, now + MINUTE)
        (due,) = await self.all_due(leasing, now + SECOND)
        assert due.trigger == waiting.at
        await self.claimed_manually(leasing, due, owner="you/1")

    async def test_a_record_that_is_overwritten_during_a_run_ends_its_lease(
        self, leasing: LeasingStorage, now: datetime
    ) -> None:
        """The lock beside the record stays with the owner; the lease was in the record."""
        await leasing.register(job("a", now))
        lost = await self.claimed(leasing, "a")
        await leasing.save_job(JobRecord(id="a", next_run=now))
        assert not await leasing.acquire_lock("a", "old style", MINUTE)
        lease = Lease("a", lost.lease.token, lost.lease.owner)
        assert (await leasing.renew([lease], MINUTE)).lost == [lease]
        assert (await self.settle(leasing, lost, now, now + MINUTE)).verdict is SettleVerdict.STALE
        assert (await leasing.get_job("a")).run_count == 0
