"""
What is due, and who gets it.
"""

# ruff: noqa: S101 - these are tests, though they ship with the library

import asyncio
from datetime import UTC, datetime, timedelta

from chrono_async import Clock, JobStatus, LeasingStorage, RunStatus
from chrono_async.storage import (
    ClaimRequest,
    Early,
    Gone,
    Granted,
    Held,
    Moved,
    Outcome,
    PointerMove,
    Release,
    SettleVerdict,
)

from ._contract_steps import MINUTE, SECOND, Steps, job, run_of


class ComingDue(Steps):
    """What comes due, and when."""

    async def test_due_comes_in_order_and_in_pages(self, leasing: LeasingStorage, now: datetime) -> None:
        """By time, then id; each once, whatever the size of the page."""
        for n in range(25):
            await leasing.register(job(f"job {n:02}", now + (n * 7 % 5) * SECOND))
        due = await self.all_due(leasing, now + 2.5 * SECOND, limit=4)
        expected = sorted((now + (n * 7 % 5) * SECOND, f"job {n:02}") for n in range(25) if n * 7 % 5 < 3)
        assert [(d.when, d.job_id) for d in due] == expected

    async def test_due_leaves_out_what_is_excluded(self, leasing: LeasingStorage, now: datetime) -> None:
        """An instance is not shown jobs that it cannot run."""
        for name in "abc":
            await leasing.register(job(name, now))
        page = await leasing.due(now, now + SECOND, exclude={"a", "c"})
        assert [d.job_id for d in page.due] == ["b"]

    async def test_a_held_job_is_due_when_its_lease_ends(
        self, leasing: LeasingStorage, clock: Clock, now: datetime, ttl: timedelta
    ) -> None:
        """Nobody else sees it before."""
        await leasing.register(job("a", now))
        await self.claim_due(leasing, "a", ttl=ttl)
        assert await self.all_due(leasing, clock.now() + ttl / 4) == []
        (due,) = await self.all_due(leasing, clock.now() + 2 * ttl)
        assert abs(due.when - (clock.now() + ttl)) < ttl / 2
        assert due.bound == now

    async def test_due_follows_runs(self, leasing: LeasingStorage, clock: Clock, now: datetime, ttl: timedelta) -> None:
        """Run after run, the job is due at its pointer and nowhere else."""
        step = ttl / 4
        await leasing.register(job("a", now))
        for n in range(1, 6):
            settled = await self.run_due(leasing, "a", now + n * step)
            assert settled.due is not None
            assert settled.due.when == now + n * step
            due = await self.all_due(leasing, now + 10 * step)
            assert [(d.job_id, d.when, d.bound) for d in due] == [("a", now + n * step, None)]
            await self.wait_until(clock, now + n * step)


class Claiming(Steps):
    """Who gets an occurrence, and for how long."""

    async def test_one_of_many_claims_wins(self, leasing: LeasingStorage, now: datetime) -> None:
        """A hundred tasks on one occurrence: one owner."""
        await leasing.register(job("a", now))
        request = await self.request(leasing, "a")
        answers = await asyncio.gather(*(leasing.claim([request], f"i{n}/1", MINUTE) for n in range(100)))
        verdicts = [answer.verdicts[0] for answer in answers]
        assert sum(isinstance(verdict, Granted) for verdict in verdicts) == 1
        assert sum(isinstance(verdict, Held) for verdict in verdicts) == 99

    async def test_a_claim_says_who_runs_what(self, leasing: LeasingStorage, now: datetime) -> None:
        """The record tells the same: running if and only if somebody has the lease."""
        await leasing.register(job("a", now))
        granted = await self.claimed(leasing, "a", owner="me/1")
        record = await leasing.get_job("a")
        assert (granted.attempt, granted.next_run, granted.lease.job_id) == (1, now, "a")
        assert (record.status, record.owner, record.token) == (JobStatus.RUNNING, "me/1", granted.lease.token)
        assert record.lease_until is not None
        assert record.running == record.claimed == now
        assert record.run_count == 0
        assert record.next_run == now, "the pointer moves when the outcome is settled"

    async def test_tokens_are_at_least_the_time(self, leasing: LeasingStorage, now: datetime) -> None:
        """So that they grow across backups that were restored and storages that were emptied."""
        await leasing.register(job("a", now))
        granted = await self.claimed(leasing, "a")
        assert granted.lease.token >= int((now - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))

    async def test_tokens_grow(self, leasing: LeasingStorage, now: datetime) -> None:
        """From claim to claim, across removal and the same id added again, even if the wall clock stands still."""
        await leasing.register(job("a", now))
        tokens = []
        for _ in range(3):
            granted = await self.claimed(leasing, "a")
            tokens.append(granted.lease.token)
            await leasing.release([Release(granted.lease)])
        await leasing.delete_job("a")
        await leasing.register(job("a", now))
        tokens.append((await self.claimed(leasing, "a")).lease.token)
        assert tokens == sorted(set(tokens))

    async def test_a_claim_that_is_asked_again_is_answered_the_same(
        self, leasing: LeasingStorage, now: datetime
    ) -> None:
        """Its answer may have been lost; the owner is unique, so that "it is mine" is the answer."""
        await leasing.register(job("a", now))
        request = await self.request(leasing, "a")
        first = (await leasing.claim([request], "me/1", MINUTE)).verdicts
        again = (await leasing.claim([request], "me/1", MINUTE)).verdicts
        assert isinstance(first[0], Granted)
        assert again == first
        assert (await leasing.get_job("a")).attempt == 1

    async def test_a_claim_that_is_asked_again_does_not_take_what_was_resumed_meanwhile_for_its_own(
        self, leasing: LeasingStorage, now: datetime
    ) -> None:
        """The answer tells the pointer as the claim left it: or the outcome would move the new one back."""
        record, later = (await leasing.register(job("a", now))).record, now + 10 * MINUTE
        request = await self.request(leasing, "a")
        first = (await leasing.claim([request], "me/1", MINUTE)).verdicts
        await leasing.set_paused("a")
        assert await leasing.resume("a", revision=record.revision, next_run=later) is not None
        (again,) = (await leasing.claim([request], "me/1", MINUTE)).verdicts
        assert isinstance(again, Granted)
        assert [again] == first
        move = PointerMove(again.next_run, record.revision, now + MINUTE)
        (settled,) = (await leasing.settle([Outcome(again.lease, run_of(again, now), move)])).settled
        assert settled.verdict is SettleVerdict.DONE
        assert (await leasing.get_job("a")).next_run == later

    async def test_a_claim_names_what_it_saw(self, leasing: LeasingStorage, now: datetime, ttl: timedelta) -> None:
        """Pointer and revision as they are, not paused, not removed, not before its time."""
        record = (await leasing.register(job("a", now))).record
        await leasing.register(job("paused", now))
        await leasing.set_paused("paused")
        await leasing.register(job("ahead", now + MINUTE))
        ahead, paused = await leasing.get_job("ahead"), await leasing.get_job("paused")
        answer = await leasing.claim(
            [
                ClaimRequest("nobody", now, now, 1),
                ClaimRequest("a", now - SECOND, now - SECOND, record.revision),
                ClaimRequest("a", now, now, record.revision - 1),
                ClaimRequest("a", None, now, record.revision),
                ClaimRequest("paused", now, now, paused.revision),
                ClaimRequest("ahead", now + MINUTE, now + MINUTE, ahead.revision),
                ClaimRequest("a", now, now, record.revision, manual=True),
            ],
            "me/1",
            ttl,
        )
        gone, *moved, early, manual = answer.verdicts
        assert isinstance(gone, Gone)
        assert all(isinstance(verdict, Moved) for verdict in (*moved, manual))
        assert isinstance(early, Early)
        assert timedelta(0) < early.by <= MINUTE
        assert (await leasing.get_job("a")).token == record.token

    async def test_each_request_of_a_batch_is_judged_alone(self, leasing: LeasingStorage, now: datetime) -> None:
        """In the order of the requests."""
        for name in "abc":
            await leasing.register(job(name, now))
        await self.claimed(leasing, "b", owner="you/1")
        requests = [await self.request(leasing, name, now) for name in "abc"]
        verdicts = (await leasing.claim(requests, "me/1", MINUTE)).verdicts
        assert [type(verdict) for verdict in verdicts] == [Granted, Held, Granted]

    async def test_lock_and_claim_are_one_lock(self, leasing: LeasingStorage, now: datetime) -> None:
        """Who uses the eight methods and who uses the verbs keep out of each other's way."""
        await leasing.register(job("a", now))
        await leasing.register(job("b", now))
        assert await leasing.acquire_lock("a", "old style", MINUTE)
        assert isinstance(await self.claim_due(leasing, "a", next_run=now), Held)
        await self.claimed(leasing, "b")
        assert not await leasing.acquire_lock("b", "old style", MINUTE)

    async def test_a_lease_that_runs_out_is_taken_over(
        self, leasing: LeasingStorage, clock: Clock, now: datetime, ttl: timedelta
    ) -> None:
        """The same occurrence, attempt 2, and the history shows who was not heard of."""
        await leasing.register(job("a", now))
        lost = await self.claimed(leasing, "a", owner="dead/1", ttl=ttl)
        taken = await self.take_over(leasing, clock, "a", ttl)
        assert taken.attempt == 2
        assert taken.lease.token > lost.lease.token
        assert (await leasing.get_job("a")).running == now
        (row,) = await leasing.list_runs("a")
        assert (row.status, row.fire_time, row.attempt, row.token) == (RunStatus.ABANDONED, now, 1, lost.lease.token)
        assert row.instance_id == "dead"

    async def test_a_taken_over_claim_keeps_its_fire_time(
        self, leasing: LeasingStorage, clock: Clock, now: datetime, ttl: timedelta
    ) -> None:
        """An occurrence is begun once: no later fire time can be put in its place."""
        await leasing.register(job("a", now - MINUTE))
        record = await leasing.get_job("a")
        first = await leasing.claim([ClaimRequest("a", now - MINUTE, now - SECOND, record.revision)], "dead/1", ttl)
        assert isinstance(first.verdicts[0], Granted)
        await self.until_free(leasing, clock, "a", ttl)
        other = await leasing.claim([ClaimRequest("a", now - MINUTE, now, record.revision)], "me/1", ttl)
        assert isinstance(other.verdicts[0], Moved)
        (due,) = await self.all_due(leasing, clock.now() + SECOND)
        assert due.bound == now - SECOND

    async def test_stale_tokens_are_refused_everywhere(
        self, leasing: LeasingStorage, clock: Clock, now: datetime, ttl: timedelta
    ) -> None:
        """Who lost the lease may neither renew, nor settle, nor give back."""
        await leasing.register(job("a", now))
        lost = await self.claimed(leasing, "a", owner="dead/1", ttl=ttl)
        taken = await self.take_over(leasing, clock, "a", ttl)
        before = await leasing.get_job("a")
        assert (await leasing.renew([lost.lease], ttl)).lost == [lost.lease]
        assert (await self.settle(leasing, lost, now, now + MINUTE)).verdict is SettleVerdict.STALE
        await leasing.release([Release(lost.lease, now + MINUTE)])
        assert (await leasing.get_job("a")) == before
        assert (await self.settle(leasing, taken, now, now + MINUTE)).verdict is SettleVerdict.DONE
        assert (await leasing.get_job("a")).run_count == 1

    async def test_neither_token_nor_owner_alone_proves_a_lease(self, leasing: LeasingStorage, now: datetime) -> None:
        """It takes both."""
        await leasing.register(job("a", now))
        granted = await self.claimed(leasing, "a")
        for lease in (granted.lease._replace(owner="you/1"), granted.lease._replace(token=granted.lease.token - 1)):
            assert (await leasing.renew([lease], MINUTE)).lost == [lease]
            forged = granted._replace(lease=lease)
            assert (await self.settle(leasing, forged, now, None)).verdict is SettleVerdict.STALE
        assert (await leasing.renew([granted.lease], MINUTE)).lost == []

    async def test_a_renewed_lease_lasts(
        self, leasing: LeasingStorage, clock: Clock, now: datetime, ttl: timedelta
    ) -> None:
        """As long as its owner renews it, nobody else gets the job."""
        await leasing.register(job("a", now))
        granted = await self.claimed(leasing, "a", ttl=ttl)
        self.pass_time(clock, ttl * 2 / 3)
        assert (await leasing.renew([granted.lease], ttl * 10)).lost == []
        self.pass_time(clock, ttl * 2 / 3)
        assert isinstance(await self.claim_due(leasing, "a", owner="you/1", ttl=ttl, next_run=now), Held)

    async def test_a_lease_that_ran_out_can_be_renewed_while_nobody_took_it(
        self, leasing: LeasingStorage, clock: Clock, now: datetime, ttl: timedelta
    ) -> None:
        """The token proves that nobody did."""
        await leasing.register(job("a", now))
        granted = await self.claimed(leasing, "a", ttl=ttl)
        await self.until_free(leasing, clock, "a", ttl)
        assert (await leasing.renew([granted.lease], ttl * 10)).lost == []
        assert isinstance(await self.claim_due(leasing, "a", owner="you/1", ttl=ttl, next_run=now), Held)

    async def test_a_lease_that_ran_out_is_lost_once_somebody_took_the_lock(
        self, leasing: LeasingStorage, clock: Clock, now: datetime, ttl: timedelta
    ) -> None:
        """Also if that was done by the eight methods, which leave no token."""
        await leasing.register(job("a", now))
        granted = await self.claimed(leasing, "a", ttl=ttl)
        await self.until(clock, ttl + SECOND, lambda: leasing.acquire_lock("a", "old style", MINUTE))
        assert (await leasing.renew([granted.lease], ttl)).lost == [granted.lease]
