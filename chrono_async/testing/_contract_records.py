"""
What the eight methods and a registration promise.
"""

# ruff: noqa: S101 - these are tests, though they ship with the library

import asyncio
from datetime import datetime, timedelta

import pytest

from chrono_async import ChronoError, Clock, JobNotFoundError, JobRecord, JobStatus, LeasingStorage, Overlap, Storage
from chrono_async.storage import Definition, Granted, Policies, RegisterVerdict, Trigger

from ._contract_steps import MINUTE, ODD_IDS, SECOND, Steps, job


class EightMethods(Steps):
    """What every storage must do."""

    async def test_a_saved_record_comes_back_as_it_was(self, storage: Storage, now: datetime) -> None:
        """With each of its fields: what a storage drops, a restart loses."""
        record = JobRecord(
            id="full", name="Näme", status=JobStatus.FAILED, paused=True, last_run=now - MINUTE, next_run=now + MINUTE,
            run_count=7, error_count=3, last_error="boom: ü\nline two", schedule=Definition('{"a":"x"}', '{"a":"y"}'),
            options=Policies(overlap=Overlap.QUEUE, max_runs=9, tags=("a", "b")), revision=5, scheduled_runs=6,
            last_success=now - SECOND, token=11, settled_token=10, claimed=now, attempt=2, tries=1,
            not_before=now + SECOND, triggered=Trigger(now, '{"args": [1]}'),
            manual=Trigger(now - SECOND, "{}", attempt=1, tries=3, not_before=now + MINUTE),
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

    async def test_a_lock_has_one_owner(self, storage: Storage) -> None:
        """A hundred ask at once, one gets it; no record is needed."""
        asked = [storage.acquire_lock("a", f"owner {n}", MINUTE) for n in range(100)]
        assert sum(await asyncio.gather(*asked)) == 1

    async def test_locks_of_different_jobs_do_not_touch(self, storage: Storage) -> None:
        """One owner may hold many."""
        assert await storage.acquire_lock("a", "me", MINUTE)
        assert await storage.acquire_lock("b", "me", MINUTE)
        assert not await storage.acquire_lock("b", "you", MINUTE)

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

    async def test_a_lock_is_given_back_by_its_owner_only(self, storage: Storage) -> None:
        """By another nothing happens, not even an error; nor for a lock that nobody has."""
        await storage.release_lock("a", "me")
        assert await storage.acquire_lock("a", "me", MINUTE)
        await storage.release_lock("a", "you")
        assert not await storage.acquire_lock("a", "you", MINUTE)
        await storage.release_lock("a", "me")
        assert await storage.acquire_lock("a", "you", MINUTE)

    async def test_deleting_a_job_drops_its_lock(self, storage: Storage) -> None:
        """Its next life starts free."""
        await storage.save_job(JobRecord(id="a"))
        assert await storage.acquire_lock("a", "me", MINUTE)
        await storage.delete_job("a")
        assert await storage.acquire_lock("a", "you", MINUTE)

    async def test_many_writers_at_once_lose_nothing(self, storage: Storage, now: datetime) -> None:
        """A hundred jobs saved by a hundred tasks are a hundred jobs."""
        await asyncio.gather(*(storage.save_job(JobRecord(id=f"job {n}", next_run=now)) for n in range(100)))
        assert len(await storage.list_jobs()) == len(await storage.get_due_jobs(now)) == 100

    async def test_closing_twice_is_fine(self, storage: Storage) -> None:
        """Who closes last need not know who closed first."""
        await storage.close()
        await storage.close()


class Registering(Steps):
    """How code and storage agree on a job."""

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
