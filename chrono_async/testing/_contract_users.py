"""
What users, pollers and other instances do.
"""

# ruff: noqa: S101 - these are tests, though they ship with the library

from datetime import datetime, timedelta

import pytest

from chrono_async import Clock, InstanceInfo, JobNotFoundError, JobStatus, LeasingStorage, Missed, RunRecord, RunStatus
from chrono_async.storage import Definition, Held, Moved, Outcome, Policies, Release, SettleVerdict, Trigger

from ._contract_steps import MINUTE, SECOND, SteppedClock, Steps, job, run_of


class GivingBack(Steps):
    """Leases that are given back, and fire times that are passed over."""

    async def test_a_released_run_is_due_again_at_once(self, leasing: LeasingStorage, now: datetime) -> None:
        """For anybody, the attempt given back, with the row that says it was cut short."""
        await leasing.register(job("a", now))
        granted = await self.claimed(leasing, "a")
        row = run_of(granted, now, RunStatus.CANCELLED)
        (due,) = await leasing.release([Release(granted.lease, run=row)])
        assert due is not None
        assert (due.when, due.bound) == (now, now)
        record = await leasing.get_job("a")
        assert (record.owner, record.attempt, record.run_count, record.status) == (None, 0, 0, JobStatus.CANCELLED)
        assert await leasing.list_runs("a") == [row]
        assert (await self.claimed(leasing, "a", owner="you/1")).attempt == 1

    async def test_a_released_run_can_wait_for_its_retry(
        self, leasing: LeasingStorage, clock: Clock, now: datetime, ttl: timedelta
    ) -> None:
        """Nobody gets it before; the tries behind it are remembered."""
        await leasing.register(job("a", now))
        granted = await self.claimed(leasing, "a")
        later = clock.now() + ttl
        (due,) = await leasing.release([Release(granted.lease, later, tries=3)])
        assert due is not None
        assert due.when == later
        assert isinstance(await self.claim_due(leasing, "a", next_run=now), Held)
        assert await self.all_due(leasing, clock.now() + (later - clock.now()) / 2) == []
        assert [d.when for d in await self.all_due(leasing, later + SECOND)] == [later]
        await self.wait_until(clock, later)
        again = await self.claimed(leasing, "a", fire_time=now)
        assert (again.attempt, again.tries) == (1, 3)
        await self.settle(leasing, again, now, now)
        assert (await self.claimed(leasing, "a")).tries == 0

    async def test_a_manual_run_waits_for_no_retry_of_a_scheduled_one(
        self, leasing: LeasingStorage, clock: Clock, now: datetime, ttl: timedelta
    ) -> None:
        """It is due at once, in the pause too, which stays as it is, with the tries: also after a retry of its own."""
        await leasing.register(job("a", now))
        later = clock.now() + ttl
        await leasing.release([Release((await self.claimed(leasing, "a")).lease, later, tries=3)])
        waiting = await leasing.trigger("a", Trigger(now))
        (due,) = await self.all_due(leasing, clock.now() + SECOND)
        assert due.trigger == waiting.at
        manual = await self.claimed_manually(leasing, due)
        assert (manual.attempt, manual.tries) == (1, 0)
        (given_back,) = await leasing.release([Release(manual.lease, tries=1)])
        assert given_back is not None
        manual = await self.claimed_manually(leasing, given_back)
        assert manual.tries == 1
        outcome = Outcome(manual.lease, run_of(manual, waiting.at, manual=True), None)
        after = (await leasing.settle([outcome])).settled[0].due
        assert after is not None
        assert (after.when, after.trigger, after.bound) == (later, None, now)
        assert await self.all_due(leasing, clock.now() + (later - clock.now()) / 2) == []
        assert isinstance(await self.claim_due(leasing, "a", fire_time=now), Held)
        await self.wait_until(clock, later)
        again = await self.claimed(leasing, "a", fire_time=now)
        assert (again.attempt, again.tries) == (1, 3)

    async def test_a_manual_run_waits_for_its_retry_whatever_becomes_of_the_pointer(
        self, leasing: LeasingStorage, clock: Clock, now: datetime, ttl: timedelta
    ) -> None:
        """It goes before the scheduled ones from its first try to its last; the eight methods tell of these as ever."""
        record = (await leasing.register(job("a", now + MINUTE))).record
        waiting = await leasing.trigger("a", Trigger(now))
        (due,) = await self.all_due(leasing, clock.now() + SECOND)
        manual = await self.claimed_manually(leasing, due)
        later = clock.now() + ttl
        await leasing.release([Release(manual.lease, later, tries=2)])
        new = Definition("x", "y")
        pointer = clock.now() + ttl / 2
        assert await leasing.reschedule("a", new, revision=record.revision, next_run=pointer)
        assert [d.when for d in await self.all_due(leasing, later + SECOND)] == [later]
        await self.wait_until(clock, pointer)
        assert [r.id for r in await leasing.get_due_jobs(clock.now())] == ["a"]
        assert isinstance(await self.claim_due(leasing, "a"), Moved)
        assert await self.all_due(leasing, clock.now() + (later - clock.now()) / 2) == []
        await self.wait_until(clock, later)
        (due,) = await self.all_due(leasing, clock.now() + SECOND)
        assert due.trigger == waiting.at
        again = await self.claimed_manually(leasing, due)
        assert (again.attempt, again.tries) == (1, 2)
        await leasing.settle([Outcome(again.lease, run_of(again, waiting.at, manual=True), None)])
        assert (await self.claimed(leasing, "a")).tries == 0

    async def test_fire_times_are_passed_over_with_their_row(self, leasing: LeasingStorage, now: datetime) -> None:
        """Without a run, nothing counted."""
        record = (await leasing.register(job("a", now - MINUTE))).record
        row = RunRecord("a", now - MINUTE, RunStatus.MISSED, missed=Missed(3, now - MINUTE, now - SECOND))
        due = await leasing.advance("a", row, revision=record.revision, next_run=now + MINUTE)
        assert due is not None
        assert due.when == now + MINUTE
        assert await leasing.list_runs("a") == [row]
        assert (await leasing.get_job("a")).run_count == 0

    async def test_nothing_is_passed_over_that_is_not_as_it_was_seen(
        self, leasing: LeasingStorage, now: datetime
    ) -> None:
        """Another pointer or revision, a fire time still ahead, a lease, something begun: the job is let be."""
        record = (await leasing.register(job("a", now - MINUTE))).record
        revision = record.revision
        row = RunRecord("a", now - MINUTE, RunStatus.MISSED)

        async def advance(row: RunRecord, revision: int) -> None:
            await leasing.advance("a", row, revision=revision, next_run=now + MINUTE)
            assert (await leasing.get_job("a")).next_run == now - MINUTE

        assert await leasing.acquire_lock("a", "old style", MINUTE)
        await advance(row, revision)
        await leasing.release_lock("a", "old style")
        await advance(RunRecord("a", now, RunStatus.MISSED), revision)
        await advance(row, revision - 1)
        await advance(RunRecord("a", now - MINUTE, RunStatus.MISSED, missed=Missed(9, now, now + MINUTE)), revision)
        granted = await self.claimed(leasing, "a", fire_time=now - MINUTE)
        await advance(row, revision)
        await leasing.release([Release(granted.lease)])
        await advance(row, revision)
        assert await leasing.list_runs("a") == []
        assert await leasing.advance("nobody", row, revision=1, next_run=None) is None


class UserVerbs(Steps):
    """What users do while anything runs."""

    async def test_a_paused_job_is_not_due_until_it_is_resumed(self, leasing: LeasingStorage, now: datetime) -> None:
        """Resuming gives it the pointer that was computed from now."""
        record = (await leasing.register(job("a", now))).record
        await leasing.set_paused("a")
        assert await self.all_due(leasing, now + MINUTE) == []
        resumed = await leasing.resume("a", revision=record.revision, next_run=now + MINUTE)
        assert resumed is not None
        assert (resumed.paused, resumed.next_run) == (False, now + MINUTE)
        assert [d.when for d in await self.all_due(leasing, now + 2 * MINUTE)] == [now + MINUTE]

    async def test_resuming_what_is_not_paused_changes_nothing(self, leasing: LeasingStorage, now: datetime) -> None:
        """Least of all its pointer."""
        record = (await leasing.register(job("a", now))).record
        assert await leasing.resume("a", revision=record.revision, next_run=now + MINUTE) == record
        assert await leasing.get_job("a") == record

    async def test_a_decision_on_an_old_view_is_refused(self, leasing: LeasingStorage, now: datetime) -> None:
        """Another revision, or a pointer in the past that is not the job's own."""
        record = (await leasing.register(job("a", now))).record
        revision = record.revision
        await leasing.set_paused("a")
        assert await leasing.resume("a", revision=revision - 1, next_run=now + MINUTE) is None
        assert await leasing.resume("a", revision=revision, next_run=now - MINUTE) is None
        new = Definition("x", "y")
        assert await leasing.reschedule("a", new, revision=revision - 1, next_run=now + MINUTE) is None
        assert await leasing.reschedule("a", new, revision=revision, next_run=now - MINUTE) is None
        record.paused = True
        assert await leasing.get_job("a") == record
        resumed = await leasing.resume("a", revision=revision, next_run=now)
        assert resumed is not None, "a one-shot keeps its time"

    async def test_the_verbs_say_when_there_is_no_such_job(self, leasing: LeasingStorage, now: datetime) -> None:
        """By the same error as the eight methods."""
        for call in (
            leasing.set_paused("x"),
            leasing.resume("x", revision=1, next_run=None),
            leasing.reschedule("x", Definition("a", "b"), revision=1, next_run=None),
            leasing.trigger("x", Trigger(now)),
        ):
            with pytest.raises(JobNotFoundError):
                await call

    async def test_a_manual_request_is_due_at_once_even_while_paused(
        self, leasing: LeasingStorage, now: datetime
    ) -> None:
        """It has a fire time of its own, counts as a run, moves no pointer and is none of `max_runs`."""
        await leasing.register(job("a", now + MINUTE, options=Policies(max_runs=1)))
        await leasing.set_paused("a")
        waiting = await leasing.trigger("a", Trigger(now, '{"args": [1]}'))
        (due,) = await self.all_due(leasing, now + SECOND)
        assert (due.trigger, due.when) == (waiting.at, waiting.at)
        granted = await self.claimed_manually(leasing, due)
        assert (granted.attempt, granted.arguments) == (1, '{"args": [1]}')
        outcome = Outcome(granted.lease, run_of(granted, waiting.at, manual=True), None)
        assert (await leasing.settle([outcome])).settled[0].verdict is SettleVerdict.DONE
        record = await leasing.get_job("a")
        assert (record.run_count, record.scheduled_runs, record.next_run) == (1, 0, now + MINUTE)
        assert record.paused
        assert record.triggered is record.manual is None
        assert [row.manual for row in await leasing.list_runs("a")] == [True]

    async def test_one_manual_request_waits_at_a_time(self, leasing: LeasingStorage, now: datetime) -> None:
        """Another joins it until it is claimed; one asked for during its run comes after it, under another name."""
        await leasing.register(job("a", now + MINUTE))
        first = await leasing.trigger("a", Trigger(now))
        assert await leasing.trigger("a", Trigger(now, "other")) == first
        (due,) = await self.all_due(leasing, now + SECOND)
        granted = await self.claimed_manually(leasing, due)
        second = await leasing.trigger("a", Trigger(now))
        assert second.at > first.at
        await leasing.settle([Outcome(granted.lease, run_of(granted, first.at, manual=True), None)])
        (due,) = await self.all_due(leasing, now + SECOND)
        assert due.trigger == second.at

    async def test_a_manual_run_has_attempts_of_its_own(
        self, leasing: LeasingStorage, clock: Clock, now: datetime, ttl: timedelta
    ) -> None:
        """If its process dies it is due again, before the pointer, whose attempts are not touched."""
        await leasing.register(job("a", now))
        waiting = await leasing.trigger("a", Trigger(now, "{}"))
        (due,) = await self.all_due(leasing, now + SECOND)
        await self.claimed_manually(leasing, due, ttl)
        await self.until_free(leasing, clock, "a", ttl)
        (due,) = await self.all_due(leasing, clock.now() + SECOND)
        again = await self.claimed_manually(leasing, due, ttl, owner="taker/1")
        assert (again.attempt, again.arguments) == (2, "{}")
        (row,) = await leasing.list_runs("a")
        assert (row.status, row.manual, row.fire_time) == (RunStatus.ABANDONED, True, waiting.at)
        await leasing.settle([Outcome(again.lease, run_of(again, waiting.at, manual=True), None)])
        assert (await self.claimed(leasing, "a")).attempt == 1


class Instances(Steps):
    """Who is there."""

    async def test_instances_are_listed_while_they_are_heard_of(
        self, leasing: LeasingStorage, clock: Clock, now: datetime
    ) -> None:
        """Each once, seen when the storage heard of it."""
        for _ in range(2):
            await leasing.heartbeat(InstanceInfo("me", now - MINUTE, now - MINUTE, frozenset({"a", "b"})))
        (instance,) = await leasing.list_instances()
        assert (instance.instance_id, instance.started, instance.jobs) == ("me", now - MINUTE, frozenset("ab"))
        assert instance.seen >= now
        if isinstance(clock, SteppedClock):
            clock.advance(timedelta(days=1))
            assert await leasing.list_instances() == []

    async def test_guarantees_are_words(self, leasing: LeasingStorage) -> None:
        """Somebody is to read them."""
        assert len(leasing.guarantees.split()) > 5
