"""
Several at once: tasks, storage objects and processes on the same jobs.
"""

# ruff: noqa: S101 - these are tests, though they ship with the library

import asyncio
from datetime import datetime

import pytest

from chrono_async import JobNotFoundError, JobStatus, LeasingStorage, RunStatus
from chrono_async.storage import (
    Granted,
    Held,
    Outcome,
    PointerMove,
    PortableStorage,
    RegisterVerdict,
    SettleVerdict,
)

from ._contract_processes import LONG_AGO, OCCURRENCES, run_in_processes
from ._contract_steps import MINUTE, SECOND, Steps, StorageFactory, job, run_of


class Racing(Steps):
    """Two storage objects on one store; where a subclass offers no `another`, the same one twice."""

    @pytest.fixture
    def second(self, leasing: LeasingStorage, beside: LeasingStorage) -> LeasingStorage:
        """The other storage, unless a change by one can undo one by the other: eight methods write records whole."""
        return leasing if isinstance(leasing, PortableStorage) else beside

    async def test_two_storages_see_one_store(
        self, leasing: LeasingStorage, beside: LeasingStorage, now: datetime
    ) -> None:
        """What was answered by one, the other sees at once: records, what is due, locks."""
        await leasing.register(job("a", now))
        assert await beside.get_job("a") == await leasing.get_job("a")
        assert [due.job_id for due in await self.all_due(beside, now + SECOND)] == ["a"]
        assert await beside.acquire_lock("a", "you", MINUTE)
        assert not await leasing.acquire_lock("a", "me", MINUTE)
        await beside.delete_job("a")
        with pytest.raises(JobNotFoundError):
            await leasing.get_job("a")

    async def test_one_of_many_claims_on_two_storages_wins(
        self, leasing: LeasingStorage, beside: LeasingStorage, now: datetime
    ) -> None:
        """A hundred tasks on one occurrence: one owner, whom both storages name."""
        await leasing.register(job("a", now))
        request = await self.request(leasing, "a")
        answers = await asyncio.gather(
            *((leasing, beside)[n % 2].claim([request], f"i{n}/1", MINUTE) for n in range(100))
        )
        verdicts = [answer.verdicts[0] for answer in answers]
        (granted,) = (verdict for verdict in verdicts if isinstance(verdict, Granted))
        assert sum(isinstance(verdict, Held) for verdict in verdicts) == 99
        assert (await leasing.get_job("a")).owner == (await beside.get_job("a")).owner == granted.lease.owner

    async def test_a_lock_on_two_storages_has_one_owner(self, leasing: LeasingStorage, beside: LeasingStorage) -> None:
        """A hundred ask at once, one gets it."""
        asked = [(leasing, beside)[n % 2].acquire_lock("a", f"owner {n}", MINUTE) for n in range(100)]
        assert sum(await asyncio.gather(*asked)) == 1

    async def test_each_job_of_two_batches_goes_to_one(
        self, leasing: LeasingStorage, beside: LeasingStorage, now: datetime
    ) -> None:
        """The same thirty jobs, asked for in opposite orders at the same time."""
        names = [f"job {n:02}" for n in range(30)]
        await asyncio.gather(*(leasing.register(job(name, now)) for name in names))
        asked = [await self.request(leasing, name) for name in names]
        mine, yours = await asyncio.gather(
            leasing.claim(asked, "me/1", MINUTE), beside.claim(asked[::-1], "you/1", MINUTE)
        )
        for name, first, second in zip(names, mine.verdicts, reversed(yours.verdicts), strict=True):
            assert {type(first), type(second)} == {Granted, Held}
            assert (await leasing.get_job(name)).owner == ("me/1" if isinstance(first, Granted) else "you/1")

    async def test_one_of_many_registrations_creates(
        self, leasing: LeasingStorage, second: LeasingStorage, now: datetime
    ) -> None:
        """Instances that start together agree on one job; the others join it."""
        answers = await asyncio.gather(*((leasing, second)[n % 2].register(job("a", now)) for n in range(20)))
        verdicts = [answer.verdict for answer in answers]
        assert (verdicts.count(RegisterVerdict.CREATED), verdicts.count(RegisterVerdict.JOINED)) == (1, 19)
        assert len({answer.record.revision for answer in answers}) == 1

    async def test_a_settle_that_is_sent_many_times_at_once_counts_once(
        self, leasing: LeasingStorage, second: LeasingStorage, now: datetime
    ) -> None:
        """One is done, the others are repeated, whichever comes first."""
        await leasing.register(job("a", now))
        granted = await self.claimed(leasing, "a")
        revision = (await leasing.get_job("a")).revision
        outcome = Outcome(granted.lease, run_of(granted, now), PointerMove(now, revision, now + MINUTE))
        answers = await asyncio.gather(*((leasing, second)[n % 2].settle([outcome]) for n in range(10)))
        verdicts = [answer.settled[0].verdict for answer in answers]
        assert (verdicts.count(SettleVerdict.DONE), verdicts.count(SettleVerdict.REPEATED)) == (1, 9)
        record = await leasing.get_job("a")
        assert (record.run_count, record.scheduled_runs, record.next_run) == (1, 1, now + MINUTE)
        assert len(await leasing.list_runs("a")) == 1

    async def test_a_claim_that_is_sent_many_times_at_once_is_one_attempt(
        self, leasing: LeasingStorage, second: LeasingStorage, now: datetime
    ) -> None:
        """Each is told of the same lease."""
        await leasing.register(job("a", now))
        request = await self.request(leasing, "a")
        answers = await asyncio.gather(*((leasing, second)[n % 2].claim([request], "me/1", MINUTE) for n in range(10)))
        assert len({answer.verdicts[0] for answer in answers}) == 1
        assert (await leasing.get_job("a")).attempt == 1

    async def test_runs_by_turns_on_two_storages_are_counted_exactly(
        self, leasing: LeasingStorage, beside: LeasingStorage, now: datetime
    ) -> None:
        """As many runs as grants, each under a token of its own, every failure an error."""
        await leasing.register(job("a", now))
        failed: dict[int, bool] = {}

        async def work(number: int) -> None:
            storage = (leasing, beside)[number % 2]
            for turn in range(4):
                verdict = await self.claim_due(storage, "a", owner=f"i{number}/{turn}", fire_time=now)
                if isinstance(verdict, Granted):
                    failed[verdict.lease.token] = is_failure = turn % 2 == 1
                    status = RunStatus.FAILED if is_failure else RunStatus.COMPLETED
                    assert (await self.settle(storage, verdict, now, now, status=status)).verdict is SettleVerdict.DONE

        await asyncio.gather(*(work(number) for number in range(16)))
        record = await beside.get_job("a")
        assert record.run_count == record.scheduled_runs == len(failed) > 0
        assert record.error_count == sum(failed.values())

    async def test_a_pause_is_not_undone_by_runs_that_end_meanwhile(
        self, leasing: LeasingStorage, second: LeasingStorage, now: datetime
    ) -> None:
        """Each verb writes fields of its own, however they fall together."""
        names = [f"job {n}" for n in range(10)]
        await asyncio.gather(*(leasing.register(job(name, now)) for name in names))
        grants = [await self.claimed(leasing, name) for name in names]
        await asyncio.gather(
            *(self.settle(leasing, granted, now, now) for granted in grants),
            *(second.set_paused(name) for name in names),
        )
        for record in await leasing.list_jobs():
            assert (record.paused, record.run_count, record.owner) == (True, 1, None)

    async def test_a_removal_is_not_undone_by_runs_that_end_meanwhile(
        self, leasing: LeasingStorage, second: LeasingStorage, now: datetime
    ) -> None:
        """Settled before or refused after; in neither case does the job come back."""
        names = [f"job {n}" for n in range(10)]
        await asyncio.gather(*(leasing.register(job(name, now)) for name in names))
        grants = [await self.claimed(leasing, name) for name in names]
        await asyncio.gather(
            *(self.settle(leasing, granted, now, now) for granted in grants),
            *(second.delete_job(name) for name in names),
        )
        assert await leasing.list_jobs() == []

    async def test_processes_share_out_occurrences(
        self, leasing: LeasingStorage, elsewhere: StorageFactory | None
    ) -> None:
        """Each occurrence has one winner among four processes that all ask for it, and counts once."""
        if elsewhere is None:
            pytest.skip("the fixture `elsewhere` gives other processes no storage")
        await leasing.register(job("a", LONG_AGO))
        won = await run_in_processes(elsewhere)
        record = await leasing.get_job("a")
        expected = [(LONG_AGO + n * SECOND).isoformat() for n in range(OCCURRENCES)]
        assert sorted(fire_time for fire_time, _ in won) == expected
        assert len({token for _, token in won}) == OCCURRENCES
        assert (record.run_count, record.error_count, record.next_run) == (OCCURRENCES, 0, None)
        assert (record.status, record.owner) == (JobStatus.COMPLETED, None)


class Hinting(Steps):
    """Who hears of changes before the next poll."""

    async def test_a_change_is_heard_at_once(self, leasing: LeasingStorage, beside: LeasingStorage) -> None:
        """By as many as `hints_reach` says; the poll finds it for the others."""
        if self.hints_reach == "nobody":
            pytest.skip("this storage gives no hints, and the poll finds changes")
        speaker = beside if self.hints_reach == "all" else leasing
        heard = [asyncio.ensure_future(anext(leasing.changes())) for _ in range(2)]
        async with asyncio.timeout(15):
            while not all(hint.done() for hint in heard):  # who has only begun to listen may miss a word
                await speaker.register(job("a", LONG_AGO))
                await asyncio.wait(heard, timeout=0.02)
        await asyncio.gather(*heard)

    async def test_who_listens_can_stop(self, leasing: LeasingStorage, now: datetime) -> None:
        """A listener that is cancelled takes nothing along."""
        waiting = asyncio.ensure_future(anext(leasing.changes(), None))
        await asyncio.wait([waiting], timeout=0.02)
        waiting.cancel()
        await asyncio.wait([waiting])
        await leasing.register(job("a", now))
        assert isinstance(await self.claim_due(leasing, "a"), Granted)

    async def test_closing_lets_listeners_go(self, leasing: LeasingStorage) -> None:
        """Their loop ends, as a loop over changes that nobody will tell must."""

        async def listen() -> None:
            async for _ in leasing.changes():
                pass

        listening = asyncio.ensure_future(listen())
        await asyncio.wait([listening], timeout=0.02)
        await leasing.close()
        async with asyncio.timeout(15):
            await listening
