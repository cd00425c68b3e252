"""
Many: pages, batches, rows of the history, and ids of every kind.
"""

# ruff: noqa: S101 - these are tests, though they ship with the library

import asyncio
from datetime import datetime, timedelta

import pytest

from chrono_async import (
    ChronoError,
    Clock,
    InstanceInfo,
    JobNotFoundError,
    JobStatus,
    LeasingStorage,
    Recovery,
    RunRecord,
    RunStatus,
)
from chrono_async.storage import (
    ClaimRequest,
    Definition,
    Due,
    Gone,
    Granted,
    Outcome,
    Policies,
    Release,
    SettleVerdict,
    Trigger,
)

from ._contract_steps import MINUTE, ODD_IDS, SECOND, Steps, job, run_of

MANY = 520
"""More than are read or written at once, by those who divide."""


class Paging(Steps):
    """What comes due, page by page."""

    @pytest.mark.parametrize("limit", [1, 4, 12, 100])
    async def test_jobs_of_one_moment_come_in_pages(self, leasing: LeasingStorage, now: datetime, limit: int) -> None:
        """By id, each once: the moment alone would not say where a page ends."""
        names = ["B", "a", "Z", "é", "~", "☃", "🕰", "a b", "10", "9", "ä", "aa"]
        await asyncio.gather(*(leasing.register(job(name, now)) for name in names))
        assert [due.job_id for due in await self.all_due(leasing, now + SECOND, limit=limit)] == sorted(names)

    async def test_jobs_that_are_held_to_one_moment_come_in_pages(
        self, leasing: LeasingStorage, now: datetime, ttl: timedelta
    ) -> None:
        """As those that are free: an instance that plans ahead must not miss one of a batch."""
        names = [f"job {n}" for n in range(7)]
        await asyncio.gather(*(leasing.register(job(name, now)) for name in names))
        asked = [await self.request(leasing, name) for name in names]
        await leasing.claim(asked, "me/1", 10 * ttl)
        due = await self.all_due(leasing, now + 20 * ttl, limit=2)
        assert sorted(one.job_id for one in due) == names

    async def test_a_dead_run_costs_no_job_its_page(
        self, leasing: LeasingStorage, clock: Clock, now: datetime, ttl: timedelta
    ) -> None:
        """To write it down may change where its job stands, and that must not fall between two pages."""
        await leasing.register(job("dead", now, options=Policies(recovery=Recovery.SKIP)))
        for n in range(3):
            await leasing.register(job(f"job {n}", now + ttl / 2))
        request = (await self.request(leasing, "dead"))._replace(moves=True, moves_to=now + ttl / 4)
        assert isinstance((await leasing.claim([request], "dead/1", ttl)).verdicts[0], Granted)
        await self.wait_until(clock, clock.now() + ttl + SECOND / 10)
        found, more = list[Due](), True
        while more:
            page = await leasing.due(clock.now(), clock.now() + SECOND, limit=1, after=found[-1] if found else None)
            found, more = found + page.due, page.more
        assert sorted(due.job_id for due in found) == ["dead", "job 0", "job 1", "job 2"]

    async def test_the_last_page_says_so(self, leasing: LeasingStorage, now: datetime) -> None:
        """A page that is just full is the last one, if there are no more."""
        await asyncio.gather(*(leasing.register(job(f"job {n}", now)) for n in range(4)))
        page = await leasing.due(now, now + SECOND, limit=4)
        assert (len(page.due), page.more) == (4, False)
        page = await leasing.due(now, now + SECOND, limit=3)
        assert (len(page.due), page.more) == (3, True)
        page = await leasing.due(page.now, page.now + SECOND, limit=3, after=page.due[-1])
        assert ([due.job_id for due in page.due], page.more) == (["job 3"], False)

    async def test_what_changes_between_pages_costs_no_other_job(self, leasing: LeasingStorage, now: datetime) -> None:
        """The job at the end of a page is removed, the next one claimed: those after them come all the same."""
        await asyncio.gather(*(leasing.register(job(f"job {n}", now)) for n in range(9)))
        first = await leasing.due(now, now + SECOND, limit=3)
        await leasing.delete_job("job 2")
        await self.claimed(leasing, "job 3")
        second = await leasing.due(first.now, first.now + SECOND, limit=9, after=first.due[-1])
        assert [due.job_id for due in second.due] == [f"job {n}" for n in range(4, 9)]

    async def test_ten_thousand_ids_can_be_left_out(self, leasing: LeasingStorage, now: datetime) -> None:
        """Those of others do not use up a page."""
        await asyncio.gather(*(leasing.register(job(f"job {n:05}", now)) for n in range(20)))
        others = [f"job {n:05}" for n in range(10_000) if n % 7 != 3]
        page = await leasing.due(now, now + SECOND, exclude=others, limit=2)
        assert ([due.job_id for due in page.due], page.more) == (["job 00003", "job 00010"], True)
        page = await leasing.due(page.now, page.now + SECOND, exclude=others, limit=2, after=page.due[-1])
        assert ([due.job_id for due in page.due], page.more) == (["job 00017"], False)

    async def test_due_looks_ahead_by_the_storages_clock(self, leasing: LeasingStorage, now: datetime) -> None:
        """An asker whose clock is wrong by hours sees what all see."""
        await leasing.register(job("soon", now + 20 * SECOND))
        await leasing.register(job("later", now + 40 * SECOND))
        for wrong in (timedelta(hours=-5), timedelta(0), timedelta(days=9)):
            page = await leasing.due(now + wrong, now + wrong + 30 * SECOND)
            assert [due.job_id for due in page.due] == ["soon"]
            assert abs(page.now - now) < 15 * SECOND

    async def test_a_job_of_the_far_future_is_never_in_the_way(self, leasing: LeasingStorage, now: datetime) -> None:
        """Nor is a look that goes as far as time does."""
        far = datetime.max.replace(tzinfo=now.tzinfo)
        await leasing.register(job("far", far))
        await leasing.register(job("near", now))
        assert (await leasing.get_job("far")).next_run == far
        assert [due.job_id for due in (await leasing.due(now, now + SECOND)).due] == ["near"]
        assert (await leasing.due(now, far)).due[0].job_id == "near"


class Batches(Steps):
    """Many jobs in one call."""

    async def test_nothing_at_all_is_a_batch(self, leasing: LeasingStorage, now: datetime) -> None:
        """It is answered with the storage's time."""
        claimed = await leasing.claim([], "me/1", MINUTE)
        renewed = await leasing.renew([], MINUTE)
        settled = await leasing.settle([])
        assert (claimed.verdicts, renewed.lost, settled.settled, await leasing.release([])) == ([], [], [], [])
        assert all(now <= answer.now < now + MINUTE for answer in (claimed, renewed, settled))

    async def test_a_batch_may_be_large(self, leasing: LeasingStorage, now: datetime) -> None:
        """Claimed, renewed, half of it settled, the rest given back: answers in the order of what was asked."""
        names = [f"job {n:03}" for n in range(MANY)]
        await asyncio.gather(*(leasing.register(job(name, now)) for name in names))
        page = await leasing.due(now, now + SECOND, limit=MANY)
        assert [due.job_id for due in page.due] == names
        requests = [ClaimRequest(due.job_id, now, now, due.revision) for due in page.due]
        verdicts = (await leasing.claim(requests, "me/1", 5 * MINUTE)).verdicts
        grants = [verdict for verdict in verdicts if isinstance(verdict, Granted)]
        assert [granted.lease.job_id for granted in grants] == names
        assert (await leasing.renew([granted.lease for granted in grants], 5 * MINUTE)).lost == []
        half = MANY // 2
        outcomes = [Outcome(granted.lease, run_of(granted, now), None) for granted in grants[:half]]
        answer = await leasing.settle(outcomes)
        assert {settled.verdict for settled in answer.settled} == {SettleVerdict.DONE}
        given = await leasing.release([Release(granted.lease) for granted in grants[half:]])
        assert [due.job_id if due is not None else None for due in given] == names[half:]
        records = {record.id: record for record in await leasing.list_jobs()}
        assert [records[name].run_count for name in names] == [1] * half + [0] * half
        assert {record.owner for record in records.values()} == {None}


class History(Steps):
    """Rows that say what became of runs."""

    async def test_the_history_of_all_jobs_is_in_the_order_of_its_rows(
        self, leasing: LeasingStorage, now: datetime
    ) -> None:
        """The newest first, whatever their fire times and ids; as many as are asked for."""
        for name in "cab":
            await leasing.register(job(name, now))
        for n, name in enumerate("abcabcab"):
            await self.run_due(leasing, name, now, status=RunStatus.FAILED, error=str(n))
        assert [row.error for row in await leasing.list_runs()] == [str(n) for n in reversed(range(8))]
        assert [row.error for row in await leasing.list_runs(limit=3)] == ["7", "6", "5"]
        assert [row.error for row in await leasing.list_runs("b")] == ["7", "4", "1"]
        assert await leasing.list_runs(limit=0) == await leasing.list_runs("b", limit=0) == []

    async def test_the_history_can_be_read_page_by_page(self, leasing: LeasingStorage, now: datetime) -> None:
        """Of all jobs and of one; behind the last page there is nothing."""
        for name in "ab":
            await leasing.register(job(name, now))
        for n, name in enumerate("abababa"):
            await self.run_due(leasing, name, now, status=RunStatus.FAILED, error=str(n))
        for job_id, wanted in ((None, "6543210"), ("a", "6420"), ("b", "531")):
            pages = [await leasing.list_runs(job_id, limit=2, offset=offset) for offset in range(0, 8, 2)]
            assert "".join(row.error for page in pages for row in page) == wanted
            assert await leasing.list_runs(job_id, limit=2, offset=100) == []

    async def test_a_row_comes_back_as_it_was(self, leasing: LeasingStorage, now: datetime) -> None:
        """With all that it tells."""
        await leasing.register(job("a", now))
        granted = await self.claimed(leasing, "a")
        row = run_of(granted, now, RunStatus.FAILED, "boom: ü\nline two")._replace(
            started=now + timedelta(microseconds=123457), finished=now + SECOND, retry_count=3, instance_id="me"
        )
        await leasing.settle([Outcome(granted.lease, row, None)])
        assert await leasing.list_runs("a") == [row]

    async def test_a_row_is_kept_though_nothing_else_changes(self, leasing: LeasingStorage, now: datetime) -> None:
        """Whoever passes a fire time over may point to the same one again."""
        record = (await leasing.register(job("a", now))).record
        row = RunRecord("a", now, RunStatus.MISSED)
        due = await leasing.advance("a", row, revision=record.revision, next_run=now)
        assert due is not None
        assert due.when == now
        assert await leasing.list_runs("a") == [row]
        assert await leasing.get_job("a") == record

    async def test_nothing_that_is_refused_leaves_a_row(self, leasing: LeasingStorage, now: datetime) -> None:
        """A row goes with its job's change, or not at all."""
        await leasing.register(job("a", now))
        granted = await self.claimed(leasing, "a")
        forged = granted._replace(lease=granted.lease._replace(owner="you/1"))
        await self.settle(leasing, forged, now, None)
        await leasing.release([Release(forged.lease, run=run_of(forged, now, RunStatus.CANCELLED))])
        await leasing.advance("a", RunRecord("a", now, RunStatus.MISSED), revision=1, next_run=None)
        assert await leasing.list_runs("a") == []


class OddIds(Steps):
    """Ids of every kind, in every verb."""

    @pytest.mark.parametrize("job_id", ODD_IDS, ids=range(len(ODD_IDS)))
    async def test_any_id_can_be_named_in_every_verb(self, leasing: LeasingStorage, now: datetime, job_id: str) -> None:
        """Or it is refused where it would come in, and is nobody's everywhere else."""
        try:
            record = (await leasing.register(job(job_id, now, name=job_id))).record
        except ChronoError:
            await self._is_nobody(leasing, now, job_id)
            return
        await leasing.register(job("other", now + MINUTE))
        await self._is_run(leasing, now, job_id)
        await self._is_changed(leasing, now, job_id, record.revision)
        await leasing.delete_job(job_id)
        assert [record.id for record in await leasing.list_jobs()] == ["other"]

    async def _is_run(self, leasing: LeasingStorage, now: datetime, job_id: str) -> None:
        """See it come due, be claimed, given back, claimed again, renewed and settled."""
        page = await leasing.due(now, now + SECOND, exclude=["other"])
        assert [due.job_id for due in page.due] == [job_id]
        assert (await leasing.due(now, now + SECOND, exclude=[job_id])).due == []
        (again,) = await leasing.release([Release((await self.claimed(leasing, job_id)).lease)])
        assert isinstance(again, Due)
        assert (again.job_id, again.when) == (job_id, now)
        granted = await self.claimed(leasing, job_id)
        assert not await leasing.acquire_lock(job_id, "old style", MINUTE)
        assert (await leasing.renew([granted.lease], MINUTE)).lost == []
        await self.settle(leasing, granted, now, now + MINUTE)
        assert [row.job_id for row in await leasing.list_runs(job_id)] == [job_id]
        assert (await leasing.get_job(job_id)).status is JobStatus.COMPLETED

    async def _is_changed(self, leasing: LeasingStorage, now: datetime, job_id: str, revision: int) -> None:
        """See it paused, resumed, rescheduled, asked for, passed over, locked, and known to an instance."""
        assert (await leasing.set_paused(job_id)).id == job_id
        assert await leasing.resume(job_id, revision=revision, next_run=now + MINUTE) is not None
        moved = await leasing.reschedule(job_id, Definition("x", "y"), revision=revision, next_run=now + 2 * MINUTE)
        assert moved is not None
        row = RunRecord(job_id, now, RunStatus.MISSED)
        (due,) = [await leasing.advance(job_id, row, revision=moved.revision, next_run=None)]
        assert due is not None
        assert (due.job_id, due.when) == (job_id, now + 2 * MINUTE)
        waiting = await leasing.trigger(job_id, Trigger(now))
        assert (await leasing.get_job(job_id)).triggered == waiting
        assert await leasing.acquire_lock(job_id, "me", MINUTE)
        await leasing.release_lock(job_id, "me")
        await leasing.heartbeat(InstanceInfo("me", now, now, frozenset({job_id, "other"})))
        assert [instance.jobs for instance in await leasing.list_instances()] == [{job_id, "other"}]

    async def _is_nobody(self, leasing: LeasingStorage, now: datetime, job_id: str) -> None:
        """See that an id which cannot be kept is answered as one that is not there."""
        for call in (
            leasing.get_job(job_id),
            leasing.delete_job(job_id),
            leasing.set_paused(job_id),
            leasing.trigger(job_id, Trigger(now)),
        ):
            with pytest.raises(JobNotFoundError):
                await call
        (verdict,) = (await leasing.claim([ClaimRequest(job_id, now, now, 1)], "me/1", MINUTE)).verdicts
        assert isinstance(verdict, Gone)
        assert await leasing.list_runs(job_id) == []
        await leasing.register(job("other", now))
        page = await leasing.due(now, now + SECOND, exclude=[job_id])
        assert [due.job_id for due in page.due] == ["other"]
