"""
What every storage must do, as tests that a storage's author can run.

    class TestMyStorage(StorageContract):
        @pytest.fixture
        async def storage(self, clock):
            storage = MyStorage(clock=clock)
            yield storage
            await storage.close()

A storage that is handed the contract's clock is tested without waiting. One whose time is a server's overrides the
fixture `clock` to return a `SystemClock`; its tests wait for leases of a fraction of a second to end. The leasing verbs
of a storage that has only the eight methods are tested through `as_leasing`. pytest-asyncio must be in its auto mode.
"""

# ruff: noqa: S101 - these are tests, though they ship with the library

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from ..clock import Clock
from ..errors import ChronoError, JobNotFoundError
from ..models import (
    ClaimRequest,
    ClaimVerdict,
    Definition,
    Due,
    Early,
    Gone,
    Granted,
    Held,
    InstanceInfo,
    JobRecord,
    JobStatus,
    Lease,
    Moved,
    Outcome,
    PointerMove,
    RegisterVerdict,
    Release,
    RunRecord,
    RunStatus,
    Settled,
    SettleVerdict,
    Trigger,
)
from ..policies import Missed, Overlap, Policies, Recovery
from ..storage.base import LeasingStorage, Storage
from ..storage.portable import as_leasing

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
_MOVABLE_TTL = timedelta(seconds=60)
_REAL_TTL = timedelta(seconds=0.4)
_PATIENCE = 15.0

ODD_IDS = [
    "it's", 'say "id"', "a/b\\c", "../up", "null", "007", " blanks ", "tab\tline\nend", "<&]]>", "emoji 🕰️",
    "bell \x07", "half \ud800", "\ufeff", "next\x85line", "é" * 512,
]  # fmt: skip


class SteppedClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime = datetime(2030, 1, 1, tzinfo=UTC)) -> None:
        self._now, self._boot = now, 1000.0

    def now(self) -> datetime:
        """Return the wall time."""
        return self._now

    def boot(self) -> float:
        """Return the time that leases end by."""
        return self._boot

    def advance(self, by: timedelta) -> None:
        """Let time pass."""
        self._now += by
        self._boot += by.total_seconds()

    def step(self, by: timedelta) -> None:
        """Set the wall clock, which moves no lease."""
        self._now += by


class StorageContract:
    """The promises of both protocols. Subclass it, and give it a fixture `storage`, perhaps a fixture `clock`."""

    @pytest.fixture
    def clock(self) -> Clock:
        """The clock that the storage is to be made with."""
        return SteppedClock()

    @pytest.fixture
    def storage(self, clock: Clock) -> Storage:
        """The storage under test, empty."""
        raise NotImplementedError("give the subclass of StorageContract a fixture named storage")

    @pytest.fixture
    def leasing(self, storage: Storage, clock: Clock) -> LeasingStorage:
        """The same storage, with the leasing verbs."""
        return as_leasing(storage, clock=clock)

    @pytest.fixture
    def ttl(self, clock: Clock) -> timedelta:
        """How long leases last in these tests."""
        return _MOVABLE_TTL if isinstance(clock, SteppedClock) else _REAL_TTL

    @pytest.fixture
    def now(self, clock: Clock) -> datetime:
        """The moment at which a test begins."""
        return clock.now()

    @pytest.fixture(autouse=True)
    def _fresh(self) -> None:
        self._revisions: dict[Lease, int] = {}

    # ── the eight methods ────────────────────────────────────────────────────────────────────────────────────────────

    async def test_a_saved_record_comes_back_as_it_was(self, storage: Storage, now: datetime) -> None:
        """With each of its fields: what a storage drops, a restart loses."""
        record = JobRecord(
            id="full", name="Näme", status=JobStatus.FAILED, paused=True, last_run=now - MINUTE, next_run=now + MINUTE,
            run_count=7, error_count=3, last_error="boom: ü\nline two", schedule=Definition('{"a":"x"}', '{"a":"y"}'),
            options=Policies(overlap=Overlap.QUEUE, max_runs=9, tags=("a", "b")), revision=5, scheduled_runs=6,
            last_success=now - SECOND, token=11, settled_token=10, claimed=now, attempt=2, tries=1,
            not_before=now + SECOND, triggered=Trigger(now, '{"args": [1]}'),
        )  # fmt: skip
        await storage.save_job(record)
        assert await storage.get_job("full") == record

    async def test_a_record_with_only_id_and_name_comes_back(self, storage: Storage) -> None:
        """Everything else has a default."""
        await storage.save_job(JobRecord(id="a", name="A"))
        assert await storage.get_job("a") == JobRecord(id="a", name="A")

    async def test_times_keep_their_microseconds(self, storage: Storage, now: datetime) -> None:
        """A pointer that is rounded is another occurrence."""
        moment = now.replace(microsecond=123457)
        await storage.save_job(JobRecord(id="a", next_run=moment, last_run=moment))
        record = await storage.get_job("a")
        assert record.next_run == record.last_run == moment

    async def test_saving_again_overwrites(self, storage: Storage) -> None:
        """There is one record an id."""
        await storage.save_job(JobRecord(id="a", name="old", run_count=1))
        await storage.save_job(JobRecord(id="a", name="new"))
        assert [(r.name, r.run_count) for r in await storage.list_jobs()] == [("new", 0)]

    async def test_what_goes_in_and_out_is_nobody_elses(self, storage: Storage) -> None:
        """A record that its holder changes changes nothing that is stored."""
        record = JobRecord(id="a", name="A")
        await storage.save_job(record)
        record.name = "changed"
        (await storage.get_job("a")).name = "changed"
        (await storage.list_jobs())[0].name = "changed"
        assert (await storage.get_job("a")).name == "A"

    async def test_an_unknown_id_is_not_found(self, storage: Storage) -> None:
        """Asking for it and deleting it say so, by our error, which is a LookupError."""
        with pytest.raises(JobNotFoundError):
            await storage.get_job("nobody")
        with pytest.raises(JobNotFoundError):
            await storage.delete_job("nobody")

    async def test_a_deleted_job_is_gone(self, storage: Storage, now: datetime) -> None:
        """From every list."""
        await storage.save_job(JobRecord(id="a", next_run=now))
        await storage.save_job(JobRecord(id="b", next_run=now))
        await storage.delete_job("a")
        assert [r.id for r in await storage.list_jobs()] == ["b"]
        assert [r.id for r in await storage.get_due_jobs(now)] == ["b"]
        with pytest.raises(JobNotFoundError):
            await storage.delete_job("a")

    async def test_due_is_what_is_not_paused_and_has_come(self, storage: Storage, now: datetime) -> None:
        """The very moment counts as come."""
        tick = timedelta(microseconds=1)
        for name, paused, next_run in [
            ("past", False, now - MINUTE), ("sharp", False, now), ("ahead", False, now + tick),
            ("paused", True, now - MINUTE), ("finished", False, None),
        ]:  # fmt: skip
            await storage.save_job(JobRecord(id=name, paused=paused, next_run=next_run))
        assert {r.id for r in await storage.get_due_jobs(now)} == {"past", "sharp"}
        assert {r.id for r in await storage.get_due_jobs(now + tick)} == {"past", "sharp", "ahead"}
        assert len(await storage.list_jobs()) == 5

    async def test_due_follows_the_record(self, storage: Storage, now: datetime) -> None:
        """A pointer that is moved ahead and back again is seen where it is."""
        for shift, due in [(0, True), (60, False), (-60, True), (3600, False), (-1, True)]:
            await storage.save_job(JobRecord(id="a", next_run=now + shift * SECOND))
            assert bool(await storage.get_due_jobs(now)) is due

    @pytest.mark.parametrize("job_id", ODD_IDS, ids=range(len(ODD_IDS)))
    async def test_any_id_is_an_id(self, storage: Storage, leasing: LeasingStorage, now: datetime, job_id: str) -> None:
        """Or it is refused by name, before anything is written."""
        record = JobRecord(id=job_id, name=job_id, next_run=now, last_error=job_id)
        try:
            await storage.save_job(record)
        except ChronoError:
            assert await storage.list_jobs() == []
            return
        assert await storage.list_jobs() == [record]
        assert isinstance(await self.claim_due(leasing, job_id), Granted)
        await storage.delete_job(job_id)
        assert await storage.list_jobs() == []

    async def test_a_lock_has_one_owner(self, storage: Storage, ttl: timedelta) -> None:
        """A hundred ask at once, one gets it; no record is needed."""
        asked = [storage.acquire_lock("a", f"owner {n}", ttl) for n in range(100)]
        assert sum(await asyncio.gather(*asked)) == 1

    async def test_locks_of_different_jobs_do_not_touch(self, storage: Storage, ttl: timedelta) -> None:
        """One owner may hold many."""
        assert await storage.acquire_lock("a", "me", ttl)
        assert await storage.acquire_lock("b", "me", ttl)
        assert not await storage.acquire_lock("b", "you", ttl)

    async def test_a_lock_ends_by_itself(self, storage: Storage, clock: Clock, ttl: timedelta) -> None:
        """So that a dead owner holds nobody up for ever; not before its time."""
        assert await storage.acquire_lock("a", "me", ttl)
        self.pass_time(clock, ttl - SECOND)
        assert not await storage.acquire_lock("a", "you", ttl)
        await self.until(clock, SECOND, lambda: storage.acquire_lock("a", "you", ttl))

    async def test_an_owner_extends_its_lock(self, storage: Storage, clock: Clock, ttl: timedelta) -> None:
        """From now on, not from its first end."""
        assert await storage.acquire_lock("a", "me", ttl)
        self.pass_time(clock, ttl / 2)
        assert await storage.acquire_lock("a", "me", ttl * 2)
        self.pass_time(clock, ttl)
        assert not await storage.acquire_lock("a", "you", ttl)

    async def test_a_lock_is_given_back_by_its_owner_only(self, storage: Storage, ttl: timedelta) -> None:
        """By another nothing happens, not even an error; nor for a lock that nobody has."""
        await storage.release_lock("a", "me")
        assert await storage.acquire_lock("a", "me", ttl)
        await storage.release_lock("a", "you")
        assert not await storage.acquire_lock("a", "you", ttl)
        await storage.release_lock("a", "me")
        assert await storage.acquire_lock("a", "you", ttl)

    async def test_deleting_a_job_drops_its_lock(self, storage: Storage, ttl: timedelta) -> None:
        """Its next life starts free."""
        await storage.save_job(JobRecord(id="a"))
        assert await storage.acquire_lock("a", "me", ttl)
        await storage.delete_job("a")
        assert await storage.acquire_lock("a", "you", ttl)

    async def test_many_writers_at_once_lose_nothing(self, storage: Storage, now: datetime) -> None:
        """A hundred jobs saved by a hundred tasks are a hundred jobs."""
        await asyncio.gather(*(storage.save_job(JobRecord(id=f"job {n}", next_run=now)) for n in range(100)))
        assert len(await storage.list_jobs()) == len(await storage.get_due_jobs(now)) == 100

    async def test_closing_twice_is_fine(self, storage: Storage) -> None:
        """Who closes last need not know who closed first."""
        await storage.close()
        await storage.close()

    # ── registering ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def test_registering_creates_and_then_joins(self, leasing: LeasingStorage, now: datetime) -> None:
        """The same definition again changes nothing: a restart keeps pointer, counters and flags."""
        created = await leasing.register(job("a", now + MINUTE))
        joined = await leasing.register(job("a", now + 5 * MINUTE, name="renamed"))
        assert (created.verdict, joined.verdict) == (RegisterVerdict.CREATED, RegisterVerdict.JOINED)
        assert joined.record.next_run == now + MINUTE
        assert joined.record.revision == created.record.revision > 0
        assert joined.record.name == "renamed"

    async def test_registering_another_definition_replaces_it(self, leasing: LeasingStorage, now: datetime) -> None:
        """Schedule, pointer and revision; counters and the paused flag stay."""
        created = (await leasing.register(job("a", now))).record
        await self.run_due(leasing, "a", now + MINUTE)
        await leasing.set_paused("a")
        changed = await leasing.register(job("a", now + 5 * MINUTE, declared="other"))
        assert changed.verdict is RegisterVerdict.CHANGED
        assert changed.record.schedule == Definition("other", "other, bound")
        assert (changed.record.next_run, changed.record.run_count) == (now + 5 * MINUTE, 1)
        assert changed.record.paused
        assert changed.record.revision > created.revision

    async def test_a_new_pointer_must_lie_ahead(self, leasing: LeasingStorage, now: datetime) -> None:
        """One that was computed too long ago is sent back, and nothing is written."""
        before = (await leasing.register(job("a", now + MINUTE))).record
        answer = await leasing.register(job("a", now - SECOND, declared="other"))
        assert answer.verdict is RegisterVerdict.LATE
        assert await leasing.get_job("a") == before

    async def test_a_finished_job_stays_finished(self, leasing: LeasingStorage, now: datetime) -> None:
        """Its code is started again, its one shot is not."""
        await leasing.register(job("a", now))
        await self.run_due(leasing, "a", None)
        joined = await leasing.register(job("a", now + MINUTE))
        assert joined.record.next_run is None

    async def test_a_record_of_another_program_is_adopted(self, leasing: LeasingStorage, now: datetime) -> None:
        """Its pointer is kept, its definition comes from code."""
        await leasing.save_job(JobRecord(id="a", name="old", next_run=now + MINUTE, run_count=4))
        adopted = (await leasing.register(job("a", now + 9 * MINUTE))).record
        assert (adopted.next_run, adopted.run_count) == (now + MINUTE, 4)
        assert adopted.schedule == job("a", now).schedule

    async def test_what_code_declared_is_compared_not_what_a_user_rescheduled(
        self, leasing: LeasingStorage, now: datetime
    ) -> None:
        """A restart must not undo a user's change."""
        record = (await leasing.register(job("a", now + MINUTE))).record
        await leasing.reschedule(
            "a", Definition("ignored", "by hand"), revision=record.revision, next_run=now + 2 * MINUTE
        )
        joined = await leasing.register(job("a", now + 9 * MINUTE))
        assert joined.verdict is RegisterVerdict.JOINED
        assert joined.record.next_run == now + 2 * MINUTE
        assert joined.record.schedule == Definition("every so often", "by hand")

    async def test_revisions_grow_across_removal(self, leasing: LeasingStorage, now: datetime) -> None:
        """Who read the old life's revision can do nothing to the new one."""
        old = (await leasing.register(job("a", now + MINUTE))).record
        changed = (await leasing.register(job("a", now + MINUTE, declared="other"))).record
        await leasing.delete_job("a")
        new = (await leasing.register(job("a", now + MINUTE))).record
        assert old.revision < changed.revision < new.revision

    # ── what comes due ───────────────────────────────────────────────────────────────────────────────────────────────

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
            await self.wait_for(clock, now + n * step)

    # ── claims ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def test_one_of_many_claims_wins(self, leasing: LeasingStorage, now: datetime, ttl: timedelta) -> None:
        """A hundred tasks on one occurrence: one owner."""
        await leasing.register(job("a", now))
        request = await self.request(leasing, "a")
        answers = await asyncio.gather(*(leasing.claim([request], f"i{n}/1", ttl) for n in range(100)))
        verdicts = [answer.verdicts[0] for answer in answers]
        assert sum(isinstance(verdict, Granted) for verdict in verdicts) == 1
        assert sum(isinstance(verdict, Held) for verdict in verdicts) == 99

    async def test_a_claim_says_who_runs_what(self, leasing: LeasingStorage, now: datetime, ttl: timedelta) -> None:
        """The record tells the same: running if and only if somebody has the lease."""
        await leasing.register(job("a", now))
        granted = await self.claimed(leasing, "a", owner="me/1", ttl=ttl)
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
        self, leasing: LeasingStorage, now: datetime, ttl: timedelta
    ) -> None:
        """Its answer may have been lost; the owner is unique, so that "it is mine" is the answer."""
        await leasing.register(job("a", now))
        request = await self.request(leasing, "a")
        first = (await leasing.claim([request], "me/1", ttl)).verdicts
        again = (await leasing.claim([request], "me/1", ttl)).verdicts
        assert isinstance(first[0], Granted)
        assert again == first
        assert (await leasing.get_job("a")).attempt == 1

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

    async def test_each_request_of_a_batch_is_judged_alone(
        self, leasing: LeasingStorage, now: datetime, ttl: timedelta
    ) -> None:
        """In the order of the requests."""
        for name in "abc":
            await leasing.register(job(name, now))
        await self.claimed(leasing, "b", owner="you/1", ttl=ttl)
        requests = [await self.request(leasing, name, now) for name in "abc"]
        verdicts = (await leasing.claim(requests, "me/1", ttl)).verdicts
        assert [type(verdict) for verdict in verdicts] == [Granted, Held, Granted]

    async def test_lock_and_claim_are_one_lock(self, leasing: LeasingStorage, now: datetime, ttl: timedelta) -> None:
        """Who uses the eight methods and who uses the verbs keep out of each other's way."""
        await leasing.register(job("a", now))
        await leasing.register(job("b", now))
        assert await leasing.acquire_lock("a", "old style", ttl)
        assert isinstance(await self.claim_due(leasing, "a", ttl=ttl, next_run=now), Held)
        await self.claimed(leasing, "b", ttl=ttl)
        assert not await leasing.acquire_lock("b", "old style", ttl)

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

    async def test_neither_token_nor_owner_alone_proves_a_lease(
        self, leasing: LeasingStorage, now: datetime, ttl: timedelta
    ) -> None:
        """It takes both."""
        await leasing.register(job("a", now))
        granted = await self.claimed(leasing, "a", ttl=ttl)
        for lease in (granted.lease._replace(owner="you/1"), granted.lease._replace(token=granted.lease.token - 1)):
            assert (await leasing.renew([lease], ttl)).lost == [lease]
            forged = granted._replace(lease=lease)
            assert (await self.settle(leasing, forged, now, None)).verdict is SettleVerdict.STALE
        assert (await leasing.renew([granted.lease], ttl)).lost == []

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

    async def test_a_step_of_the_wall_clock_moves_no_lease(
        self, leasing: LeasingStorage, clock: Clock, now: datetime, ttl: timedelta
    ) -> None:
        """Leases end by a clock that does not step."""
        if not isinstance(clock, SteppedClock) or not self.leases_by_boot_clock:
            pytest.skip("this storage's clock is not ours to step")
        await leasing.register(job("a", now))
        await self.claimed(leasing, "a", ttl=ttl)
        clock.step(timedelta(hours=1))
        assert isinstance(await self.claim_due(leasing, "a", owner="you/1", ttl=ttl, next_run=now), Held)

    leases_by_boot_clock = True
    """False for storages that end leases by wall time, such as a server's own."""

    # ── settling ─────────────────────────────────────────────────────────────────────────────────────────────────────

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

    async def test_a_settle_that_is_asked_again_counts_once(
        self, leasing: LeasingStorage, now: datetime, ttl: timedelta
    ) -> None:
        """Its answer may have been lost; even if another run has been settled since."""
        await leasing.register(job("a", now))
        first = await self.claimed(leasing, "a", ttl=ttl)
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

    # ── at most once ─────────────────────────────────────────────────────────────────────────────────────────────────

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

    async def test_runs_that_may_overlap_fly_on_their_own(
        self, leasing: LeasingStorage, now: datetime, ttl: timedelta
    ) -> None:
        """The job is free at once; each run settles under its own token, in any order, and shows while it lives."""
        await leasing.register(job("a", now - MINUTE, options=Policies(overlap=Overlap.ALLOW)))
        first = await self.fly(leasing, "a", now, ttl, owner="me/1")
        second = await self.fly(leasing, "a", now + MINUTE, ttl, owner="me/2")
        assert first.due is not None
        assert (first.due.when, second.next_run) == (now, now + MINUTE)
        record = await leasing.get_job("a")
        assert (record.status, record.owner, len(record.flights)) == (JobStatus.RUNNING, None, 2)
        assert (await leasing.renew([first.lease, second.lease], ttl)).lost == []
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

    # ── giving back, passing over ────────────────────────────────────────────────────────────────────────────────────

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
        await self.wait_for(clock, later)
        again = await self.claimed(leasing, "a", fire_time=now)
        assert (again.attempt, again.tries) == (1, 3)
        await self.settle(leasing, again, now, now)
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

        await advance(RunRecord("a", now, RunStatus.MISSED), revision)
        await advance(row, revision - 1)
        await advance(RunRecord("a", now - MINUTE, RunStatus.MISSED, missed=Missed(9, now, now + MINUTE)), revision)
        granted = await self.claimed(leasing, "a", fire_time=now - MINUTE)
        await advance(row, revision)
        await leasing.release([Release(granted.lease)])
        await advance(row, revision)
        assert await leasing.list_runs("a") == []
        assert await leasing.advance("nobody", row, revision=1, next_run=None) is None

    # ── what users do ────────────────────────────────────────────────────────────────────────────────────────────────

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

    # ── who is there ─────────────────────────────────────────────────────────────────────────────────────────────────

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

    # ── the steps that the tests are made of ─────────────────────────────────────────────────────────────────────────

    async def all_due(self, leasing: LeasingStorage, until: datetime, limit: int = 1000) -> list[Due]:
        """Read all pages."""
        due: list[Due] = []
        while True:
            page = await leasing.due(until - MINUTE, until - MINUTE, limit=1)
            page = await leasing.due(page.now, until, limit=limit, after=due[-1] if due else None)
            due += page.due
            if not page.more:
                return due
            assert len(page.due) == limit

    async def request(self, leasing: LeasingStorage, job_id: str, fire_time: datetime | None = None) -> ClaimRequest:
        """Ask for the job's pointer, at a fire time or its own."""
        record = await leasing.get_job(job_id)
        assert record.next_run is not None
        return ClaimRequest(
            job_id, record.next_run, fire_time or record.bound_fire_time or record.next_run, record.revision
        )

    async def claim_due(
        self,
        leasing: LeasingStorage,
        job_id: str,
        *,
        owner: str = "me/1",
        ttl: timedelta = MINUTE,
        next_run: datetime | None = None,
        fire_time: datetime | None = None,
    ) -> ClaimVerdict:
        """Claim the job's occurrence."""
        request = await self.request(leasing, job_id, fire_time)
        assert next_run is None or request.next_run == next_run
        verdict = (await leasing.claim([request], owner, ttl)).verdicts[0]
        if isinstance(verdict, Granted):
            self._revisions[verdict.lease] = request.revision
        return verdict

    async def claimed(
        self,
        leasing: LeasingStorage,
        job_id: str,
        *,
        owner: str = "me/1",
        ttl: timedelta = MINUTE,
        fire_time: datetime | None = None,
    ) -> Granted:
        """Claim the job's occurrence, and get it."""
        verdict = await self.claim_due(leasing, job_id, owner=owner, ttl=ttl, fire_time=fire_time)
        assert isinstance(verdict, Granted), verdict
        return verdict

    async def claimed_manually(
        self, leasing: LeasingStorage, due: Due, ttl: timedelta = MINUTE, *, owner: str = "me/1"
    ) -> Granted:
        """Claim the manual request that is due, and get it."""
        assert due.trigger is not None
        request = ClaimRequest(due.job_id, due.next_run, due.trigger, due.revision, manual=True)
        (verdict,) = (await leasing.claim([request], owner, ttl)).verdicts
        assert isinstance(verdict, Granted), verdict
        return verdict

    async def fly(
        self, leasing: LeasingStorage, job_id: str, moves_to: datetime, ttl: timedelta, *, owner: str
    ) -> Granted:
        """Claim a run that lets go of its job's lease."""
        request = (await self.request(leasing, job_id))._replace(moves=True, moves_to=moves_to, frees=True)
        (verdict,) = (await leasing.claim([request], owner, ttl)).verdicts
        assert isinstance(verdict, Granted), verdict
        return verdict

    async def settle(
        self,
        leasing: LeasingStorage,
        granted: Granted,
        fire_time: datetime,
        next_run: datetime | None,
        *,
        status: RunStatus = RunStatus.COMPLETED,
        error: str = "",
        queued: bool = False,
        skipped: RunRecord | None = None,
    ) -> Settled:
        """Write the outcome of a run that moves the pointer from where the claim left it."""
        move = PointerMove(granted.next_run, self._revisions.get(granted.lease, 0), next_run, queued=queued)
        run = run_of(granted, fire_time, status, error)
        return (await leasing.settle([Outcome(granted.lease, run, move, skipped)])).settled[0]

    async def run_due(
        self,
        leasing: LeasingStorage,
        job_id: str,
        next_run: datetime | None,
        *,
        status: RunStatus = RunStatus.COMPLETED,
        error: str = "",
    ) -> Settled:
        """Claim and settle at once."""
        granted = await self.claimed(leasing, job_id)
        assert granted.next_run is not None
        return await self.settle(leasing, granted, granted.next_run, next_run, status=status, error=error)

    def pass_time(self, clock: Clock, by: timedelta) -> None:
        """Let time pass where it can be moved; where not, tests make do with less."""
        if isinstance(clock, SteppedClock):
            clock.advance(by)

    async def wait_for(self, clock: Clock, moment: datetime) -> None:
        """Come back when the moment has come."""
        while clock.now() < moment:
            if isinstance(clock, SteppedClock):
                clock.advance(moment - clock.now())
            else:
                await asyncio.sleep(0.01)

    async def until(self, clock: Clock, by: timedelta, condition: Callable[[], Awaitable[bool]]) -> None:
        """Let time pass, then see the condition hold; where time cannot be moved, ask until it does."""
        if isinstance(clock, SteppedClock):
            clock.advance(by)
            assert await condition()
            return
        async with asyncio.timeout(_PATIENCE):
            while not await condition():  # noqa: ASYNC110 - it is a question to the storage
                await asyncio.sleep(0.02)

    async def until_free(self, leasing: LeasingStorage, clock: Clock, job_id: str, ttl: timedelta) -> None:
        """Let the lease on the job run out, without touching it."""

        async def free() -> bool:
            return any(due.job_id == job_id for due in await self.all_due(leasing, clock.now()))

        await self.until(clock, ttl + SECOND, free)

    async def take_over(
        self, leasing: LeasingStorage, clock: Clock, job_id: str, ttl: timedelta, next_run: datetime | None = None
    ) -> Granted:
        """Let the lease run out and claim the job."""
        taken: list[Granted] = []

        async def claim() -> bool:
            verdict = await self.claim_due(leasing, job_id, owner="taker/1", ttl=MINUTE, next_run=next_run)
            taken.extend([verdict] if isinstance(verdict, Granted) else [])
            return bool(taken)

        await self.until(clock, ttl + SECOND, claim)
        return taken[0]


def job(
    job_id: str,
    next_run: datetime,
    *,
    name: str = "Job",
    declared: str = "every so often",
    options: Policies | None = None,
) -> JobRecord:
    """Return what an engine would register."""
    definition = Definition(declared, f"{declared}, bound")
    return JobRecord(id=job_id, name=name, next_run=next_run, schedule=definition, options=options or Policies())


def run_of(
    granted: Granted,
    fire_time: datetime,
    status: RunStatus = RunStatus.COMPLETED,
    error: str = "",
    *,
    manual: bool = False,
) -> RunRecord:
    """Return the row of a run under this claim."""
    lease = granted.lease
    return RunRecord(
        lease.job_id, fire_time, status, "me", granted.attempt, lease.token, manual, fire_time, fire_time, error
    )


__all__ = ["SteppedClock", "StorageContract"]
