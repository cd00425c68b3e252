"""
What becomes of a run.
"""

# ruff: noqa: S101 - these are tests, though they ship with the library

import asyncio
from datetime import datetime, timedelta

import pytest

from chrono_async import Clock, JobStatus, LeasingStorage, Missed, Overlap, Recovery, RunRecord, RunStatus
from chrono_async.storage import (
    ClaimRequest,
    Definition,
    Granted,
    Outcome,
    PointerMove,
    Policies,
    PortableStorage,
    Release,
    Settled,
    SettleVerdict,
)

from ._contract_steps import MINUTE, SECOND, Steps, job, run_of


class Settling(Steps):
    """What a settled run leaves."""

    async def test_a_settled_run_is_counted_and_the_pointer_moves(self, leasing: LeasingStorage, now: datetime) -> None:
        """The record tells what the run came to; the lease is gone."""
        await leasing.register(job("a", now))
        settled = await self.run_due(leasing, "a", now + MINUTE)
        record = await leasing.get_job("a")
        assert settled.verdict is SettleVerdict.DONE
        assert (record.status, record.run_count, record.error_count) == (JobStatus.COMPLETED, 1, 0)
        assert (record.next_run, record.last_success) == (now + MINUTE, now)
        assert record.last_run is not None
        assert (record.owner, record.lease_until, record.running) == (None, None, None)
        assert record.settled_token == record.token
        (row,) = await leasing.list_runs("a")
        assert (row.status, row.fire_time) == (RunStatus.COMPLETED, now)

    async def test_failures_and_cancellations_are_told_apart(self, leasing: LeasingStorage, now: datetime) -> None:
        """A failure counts as an error and leaves its text; a cancelled run does neither."""
        await leasing.register(job("a", now))
        await self.run_due(leasing, "a", now, status=RunStatus.FAILED, error="boom <&]]> ☠")
        failed = await leasing.get_job("a")
        assert (failed.status, failed.error_count, failed.last_error) == (JobStatus.FAILED, 1, "boom <&]]> ☠")
        assert failed.last_success is None
        await self.run_due(leasing, "a", now, status=RunStatus.CANCELLED)
        cancelled = await leasing.get_job("a")
        assert (cancelled.status, cancelled.run_count, cancelled.error_count) == (JobStatus.CANCELLED, 2, 1)
        assert cancelled.last_error == failed.last_error

    async def test_no_text_of_an_exception_keeps_a_run_from_being_settled(
        self, leasing: LeasingStorage, now: datetime
    ) -> None:
        """Control characters and half a surrogate pair included: they may be escaped, not refused."""
        await leasing.register(job("a", now))
        settled = await self.run_due(leasing, "a", None, status=RunStatus.FAILED, error="a\x00b\x1b[31m\ud800c")
        record = await leasing.get_job("a")
        assert settled.verdict is SettleVerdict.DONE
        assert record.last_error.startswith("a")
        assert record.last_error.endswith("c")

    async def test_a_settle_that_is_asked_again_counts_once(self, leasing: LeasingStorage, now: datetime) -> None:
        """Its answer may have been lost; even if another run has been settled since."""
        await leasing.register(job("a", now))
        first = await self.claimed(leasing, "a")
        assert (await self.settle(leasing, first, now, now)).verdict is SettleVerdict.DONE
        assert (await self.settle(leasing, first, now, now)).verdict is SettleVerdict.REPEATED
        await self.run_due(leasing, "a", now + MINUTE)
        assert (await self.settle(leasing, first, now, now)).verdict is SettleVerdict.REPEATED
        record = await leasing.get_job("a")
        assert (record.run_count, record.next_run) == (2, now + MINUTE)
        assert len(await leasing.list_runs("a")) == 2

    async def test_counters_are_exact_under_concurrency(self, leasing: LeasingStorage, now: datetime) -> None:
        """Twenty tasks take turns on one job: as many runs as grants."""
        await leasing.register(job("a", now))
        done = 0

        async def work(name: str) -> None:
            nonlocal done
            for n in range(5):
                verdict = await self.claim_due(leasing, "a", owner=f"{name}/{n}", ttl=MINUTE, next_run=now)
                if isinstance(verdict, Granted):
                    await self.settle(leasing, verdict, now, now)
                    done += 1

        await asyncio.gather(*(work(f"i{n}") for n in range(20)))
        record = await leasing.get_job("a")
        assert record.run_count == record.scheduled_runs == done > 0

    async def test_a_pause_during_a_run_stays(self, leasing: LeasingStorage, now: datetime) -> None:
        """The run ends and settles; the job stays paused."""
        await leasing.register(job("a", now))
        granted = await self.claimed(leasing, "a")
        assert (await leasing.set_paused("a")).paused
        settled = await self.settle(leasing, granted, now, now)
        assert settled == Settled(SettleVerdict.DONE, None)
        record = await leasing.get_job("a")
        assert record.paused
        assert (record.run_count, record.next_run) == (1, now)
        assert await self.all_due(leasing, now + MINUTE) == []

    async def test_a_job_removed_during_a_run_stays_removed(self, leasing: LeasingStorage, now: datetime) -> None:
        """Its settle is stale, its renewal lost; and the next life of its id is not touched by either."""
        await leasing.register(job("a", now))
        granted = await self.claimed(leasing, "a")
        await leasing.delete_job("a")
        assert (await leasing.renew([granted.lease], MINUTE)).lost == [granted.lease]
        assert (await self.settle(leasing, granted, now, now)).verdict is SettleVerdict.STALE
        assert await leasing.list_jobs() == []
        await leasing.register(job("a", now))
        assert (await self.settle(leasing, granted, now, now + MINUTE)).verdict is SettleVerdict.STALE
        assert (await leasing.get_job("a")).run_count == 0
        assert isinstance(await self.claim_due(leasing, "a", owner="you/1"), Granted)

    async def test_a_reschedule_during_a_run_wins(self, leasing: LeasingStorage, now: datetime) -> None:
        """The run is counted; the pointer stays where the user put it."""
        record = (await leasing.register(job("a", now))).record
        granted = await self.claimed(leasing, "a")
        moved = await leasing.reschedule(
            "a", Definition("x", "by hand"), revision=record.revision, next_run=now + MINUTE
        )
        assert moved is not None
        assert (await self.settle(leasing, granted, now, now + SECOND)).verdict is SettleVerdict.DONE
        after = await leasing.get_job("a")
        assert (after.next_run, after.run_count, after.owner) == (now + MINUTE, 1, None)
        assert after.bound_fire_time is None

    async def test_a_job_rescheduled_to_nothing_is_not_revived_by_its_run(
        self, leasing: LeasingStorage, now: datetime
    ) -> None:
        """A pointer never moves from none."""
        record = (await leasing.register(job("a", now))).record
        granted = await self.claimed(leasing, "a")
        await leasing.reschedule("a", Definition("x", "y"), revision=record.revision, next_run=None)
        await self.settle(leasing, granted, now, now + SECOND)
        assert (await leasing.get_job("a")).next_run is None

    async def test_runs_are_counted_to_a_most(self, leasing: LeasingStorage, now: datetime) -> None:
        """The write that moves the pointer counts; the last run leaves none."""
        await leasing.register(job("a", now, options=Policies(max_runs=2)))
        await self.run_due(leasing, "a", now)
        assert (await leasing.get_job("a")).next_run == now
        settled = await self.run_due(leasing, "a", now)
        record = await leasing.get_job("a")
        assert (record.next_run, record.run_count, record.scheduled_runs) == (None, 2, 2)
        assert settled.due is None

    async def test_what_is_queued_is_bound(self, leasing: LeasingStorage, now: datetime) -> None:
        """It waits its turn and is no misfire, however late it starts; its first claim is attempt 1."""
        await leasing.register(job("a", now - MINUTE))
        granted = await self.claimed(leasing, "a", fire_time=now - MINUTE)
        settled = await self.settle(leasing, granted, now - MINUTE, now, queued=True)
        assert settled.due is not None
        assert settled.due.bound == now
        assert (await self.claimed(leasing, "a", fire_time=now)).attempt == 1

    async def test_the_row_of_overlapped_fire_times_is_kept(self, leasing: LeasingStorage, now: datetime) -> None:
        """Beside the run's own."""
        await leasing.register(job("a", now))
        granted = await self.claimed(leasing, "a")
        skipped = RunRecord("a", now + SECOND, RunStatus.SKIPPED, missed=Missed(2, now + SECOND, now + 2 * SECOND))
        await self.settle(leasing, granted, now, now + MINUTE, skipped=skipped)
        assert [row.status for row in await leasing.list_runs("a")] == [RunStatus.COMPLETED, RunStatus.SKIPPED]
        assert skipped in await leasing.list_runs()

    async def test_history_is_kept_to_a_bound(self, leasing: LeasingStorage, now: datetime) -> None:
        """The newest first, and a limit is a limit."""
        await leasing.register(job("a", now))
        for n in range(60):
            await self.run_due(leasing, "a", now, status=RunStatus.FAILED, error=str(n))
        rows = await leasing.list_runs("a")
        assert 1 <= len(rows) < 60
        assert [row.error for row in rows] == [str(59 - n) for n in range(len(rows))]
        assert len(await leasing.list_runs("a", limit=3)) == 3
        assert await leasing.list_runs("nobody") == []


class AtMostOnce(Steps):
    """Claims that move the pointer."""

    async def test_an_at_most_once_claim_moves_the_pointer(
        self, leasing: LeasingStorage, clock: Clock, now: datetime, ttl: timedelta
    ) -> None:
        """If its process dies the run is lost, and the history says so."""
        options = Policies(recovery=Recovery.SKIP)
        await leasing.register(job("a", now, options=options))
        request = (await self.request(leasing, "a"))._replace(moves=True, moves_to=now + SECOND)
        (verdict,) = (await leasing.claim([request], "dead/1", ttl)).verdicts
        assert isinstance(verdict, Granted)
        assert verdict.next_run == (await leasing.get_job("a")).next_run == now + SECOND
        taken = await self.take_over(leasing, clock, "a", ttl, next_run=now + SECOND)
        assert taken.attempt == 1
        (row,) = await leasing.list_runs("a")
        assert (row.status, row.fire_time) == (RunStatus.ABANDONED, now)

    async def test_a_lost_run_is_written_down_though_another_has_had_its_lock(
        self, leasing: LeasingStorage, clock: Clock, now: datetime, ttl: timedelta
    ) -> None:
        """
        Who uses the eight methods took it over and gave it back: a look at what is due finds the run all the same.

        Where a storage has no more than these methods, only the job's next claim will.
        """
        await leasing.register(job("a", now, options=Policies(recovery=Recovery.SKIP)))
        request = (await self.request(leasing, "a"))._replace(moves=True, moves_to=now + MINUTE)
        assert isinstance((await leasing.claim([request], "dead/1", ttl)).verdicts[0], Granted)
        await self.until(clock, ttl + SECOND, lambda: leasing.acquire_lock("a", "old style", MINUTE))
        await leasing.release_lock("a", "old style")
        await leasing.due(now, now + SECOND)
        lost = [] if isinstance(leasing, PortableStorage) else [RunStatus.ABANDONED]
        assert [row.status for row in await leasing.list_runs("a")] == lost

    async def test_at_most_once_runs_are_counted_once(self, leasing: LeasingStorage, now: datetime) -> None:
        """By the claim that moves the pointer, towards `max_runs` too."""
        await leasing.register(job("a", now, options=Policies(recovery=Recovery.SKIP, max_runs=1)))
        request = (await self.request(leasing, "a"))._replace(moves=True, moves_to=now + SECOND)
        (granted,) = (await leasing.claim([request], "me/1", MINUTE)).verdicts
        assert isinstance(granted, Granted)
        assert granted.next_run is None
        run = run_of(granted, now)
        settled = (await leasing.settle([Outcome(granted.lease, run, None)])).settled
        assert settled[0].verdict is SettleVerdict.DONE
        record = await leasing.get_job("a")
        assert (record.run_count, record.scheduled_runs, record.next_run) == (1, 1, None)

    @pytest.mark.parametrize("frees", [False, True], ids=["holding", "flying"])
    async def test_an_at_most_once_run_that_has_not_begun_goes_back_to_its_fire_time(
        self, leasing: LeasingStorage, now: datetime, *, frees: bool
    ) -> None:
        """Its claim has moved the pointer and counted it towards `max_runs`: giving it back undoes both."""
        await leasing.register(job("a", now, options=Policies(recovery=Recovery.SKIP, max_runs=1)))
        request, granted = await self._moving(leasing, now + SECOND, frees=frees)
        assert granted.next_run is None
        (due,) = await leasing.release([_unbegun(request, granted)])
        assert due is not None
        assert (due.when, due.bound) == (now, now)
        record = await leasing.get_job("a")
        assert (record.next_run, record.scheduled_runs, record.attempt) == (now, 0, 0)
        assert (record.status, record.owner, record.flights) == (JobStatus.PENDING, None, ())
        assert (await self._moving(leasing, now + SECOND, frees=frees))[1].attempt == 1

    @pytest.mark.parametrize("frees", [False, True], ids=["holding", "flying"])
    async def test_it_does_not_go_back_where_a_user_has_moved_the_pointer(
        self, leasing: LeasingStorage, now: datetime, *, frees: bool
    ) -> None:
        """Even to where the claim had left it: the user's word is the later one."""
        await leasing.register(job("a", now, options=Policies(recovery=Recovery.SKIP)))
        request, granted = await self._moving(leasing, now + MINUTE, frees=frees)
        new = Definition("x", "by hand")
        assert await leasing.reschedule("a", new, revision=request.revision, next_run=now + MINUTE) is not None
        (due,) = await leasing.release([_unbegun(request, granted)])
        assert due is not None
        assert due.when == now + MINUTE
        record = await leasing.get_job("a")
        assert (record.next_run, record.bound_fire_time, record.scheduled_runs) == (now + MINUTE, None, 1)
        assert (record.owner, record.flights) == (None, ())

    async def test_it_does_not_go_back_where_the_next_run_has_been_claimed(
        self, leasing: LeasingStorage, now: datetime
    ) -> None:
        """Another instance has gone on from where the claim had left the pointer, and left it there."""
        await leasing.register(job("a", now - MINUTE, options=Policies(overlap=Overlap.ALLOW, recovery=Recovery.SKIP)))
        request, granted = await self._moving(leasing, now, frees=True)
        await self.fly(leasing, "a", now, MINUTE, owner="you/1")
        (due,) = await leasing.release([_unbegun(request, granted)])
        assert due is not None
        assert due.when == now
        record = await leasing.get_job("a")
        assert (record.next_run, record.scheduled_runs, len(record.flights)) == (now, 2, 1)

    async def _moving(self, leasing: LeasingStorage, to: datetime, *, frees: bool) -> tuple[ClaimRequest, Granted]:
        request = (await self.request(leasing, "a"))._replace(moves=True, moves_to=to, frees=frees)
        (granted,) = (await leasing.claim([request], "me/1", MINUTE)).verdicts
        assert isinstance(granted, Granted), granted
        return request, granted

    async def test_runs_that_may_overlap_fly_on_their_own(self, leasing: LeasingStorage, now: datetime) -> None:
        """The job is free at once; each run settles under its own token, in any order, and shows while it lives."""
        await leasing.register(job("a", now - MINUTE, options=Policies(overlap=Overlap.ALLOW)))
        first = await self.fly(leasing, "a", now, MINUTE, owner="me/1")
        second = await self.fly(leasing, "a", now + MINUTE, MINUTE, owner="me/2")
        assert first.due is not None
        assert (first.due.when, second.next_run) == (now, now + MINUTE)
        record = await leasing.get_job("a")
        assert (record.status, record.owner, len(record.flights)) == (JobStatus.RUNNING, None, 2)
        assert (await leasing.renew([first.lease, second.lease], MINUTE)).lost == []
        for granted, fire_time, status in [
            (second, now, JobStatus.RUNNING),
            (first, now - MINUTE, JobStatus.COMPLETED),
        ]:
            outcome = Outcome(granted.lease, run_of(granted, fire_time), None)
            assert (await leasing.settle([outcome])).settled[0].verdict is SettleVerdict.DONE
            assert (await leasing.settle([outcome])).settled[0].verdict is SettleVerdict.REPEATED
            assert (await leasing.get_job("a")).status is status
        record = await leasing.get_job("a")
        assert (record.run_count, record.flights, record.next_run) == (2, (), now + MINUTE)

    async def test_a_dead_flight_is_written_down(
        self, leasing: LeasingStorage, clock: Clock, now: datetime, ttl: timedelta
    ) -> None:
        """By the next claim at the latest; living ones stay."""
        await leasing.register(job("a", now - MINUTE, options=Policies(overlap=Overlap.ALLOW)))
        dead = await self.fly(leasing, "a", now, ttl, owner="dead/1")
        living = await self.fly(leasing, "a", now, ttl * 100, owner="me/1")

        async def buried() -> bool:
            (verdict,) = (await leasing.claim([await self.request(leasing, "a", now)], "me/2", ttl)).verdicts
            if isinstance(verdict, Granted):
                await leasing.release([Release(verdict.lease)])
            return RunStatus.ABANDONED in {row.status for row in await leasing.list_runs("a")}

        await self.until(clock, ttl + SECOND, buried)
        assert [flight.token for flight in (await leasing.get_job("a")).flights] == [living.lease.token]
        assert (await leasing.renew([dead.lease], ttl)).lost == [dead.lease]


def _unbegun(request: ClaimRequest, granted: Granted) -> Release:
    """Give back what has not begun: the pointer is to go back to the fire time, as if it had not been claimed."""
    back = PointerMove(granted.next_run, request.revision, request.fire_time, is_counted=True)
    return Release(granted.lease, move=back)
