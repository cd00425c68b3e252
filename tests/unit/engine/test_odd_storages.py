"""A storage of somebody else's that half works, or answers what nobody asked."""

import asyncio
import contextlib
import logging
from collections import Counter
from datetime import timedelta

import pytest

from chrono_async import AsyncScheduler
from chrono_async.errors import StorageCorruptError, StorageError
from chrono_async.events import JobUnknown, LeaseLost, StorageFailing
from chrono_async.models import JobRecord
from chrono_async.storage import InMemoryStorage
from chrono_async.testing import Fault, FaultyStorage, Recorder
from tests.proof.kit import HOUR, MINUTE, SECOND, START, World, grid


async def fails():
    """Raises at once."""
    raise ValueError


async def test_a_storage_that_knows_no_heartbeat_is_polled_all_the_same(sim):
    """Being listed is a luxury; loading what is due is not."""
    faulty = []
    async with World(sim, wrap=lambda storage: faulty.append(FaultyStorage(storage)) or faulty[-1]) as world:
        await world.base.save_job(JobRecord("a", next_run=START + 5 * MINUTE))
        scheduler = world.new()
        faulty[0].fail(Fault.REFUSED, "heartbeat")
        await scheduler.add_interval_job("a", "A", world.recorder.job, MINUTE)
        await scheduler.start()
        await sim.advance(6 * MINUTE + SECOND)
    assert world.recorder.fire_times() == grid(START + 5 * MINUTE, MINUTE, 2)


class Miscounts(InMemoryStorage):
    """Gives one answer too few, each second time that several are asked for."""

    odd = True

    def _cut(self, answers):
        if len(answers) > 1:
            self.odd = not self.odd
        return self._spoilt(answers) if self.odd and len(answers) > 1 else answers

    def _spoilt(self, answers):
        return answers[:-1]

    async def settle(self, outcomes):
        answer = await super().settle(outcomes)
        return answer._replace(settled=self._cut(answer.settled))

    async def claim(self, requests, owner_id, ttl):
        answer = await super().claim(requests, owner_id, ttl)
        return answer._replace(verdicts=self._cut(answer.verdicts))


class Mumbles(Miscounts):
    """Gives an answer that is none, each second time that several are asked for."""

    def _spoilt(self, answers):
        return [*answers[:-1], None]


@pytest.mark.sim(seeds=range(3))
@pytest.mark.parametrize("storage", [Miscounts, Mumbles])
async def test_answers_that_cannot_be_matched_are_not_believed(sim, storage, caplog):
    """They are asked for again, one by one, and every run is counted once; it is the storage that failed."""
    async with World(sim, base=storage(clock=sim.clock), is_witnessed=False) as world:
        scheduler = await world.start()
        for n in range(7):
            await scheduler.add_interval_job(f"job {n}", "", world.recorder.job, MINUTE)
        await sim.until(START + 5 * MINUTE + 20 * SECOND)
        for n in range(7):
            assert world.recorder.fire_times(f"job {n}") == grid(START + MINUTE, MINUTE, 5)
            assert world.record(f"job {n}").run_count == 5
    assert {record.levelname for record in caplog.records} == {"WARNING"}


class NeverAdvances(InMemoryStorage):
    """Refuses to move a pointer, and does not say why."""

    async def advance(self, job_id, move, *, revision, next_run):
        page = await self.due(move.fire_time, move.fire_time + timedelta(days=1))
        return page.due[0]


async def test_a_result_that_was_answered_with_nonsense_is_written_all_the_same(sim):
    """Although nothing else happens that could wake whoever writes it."""
    faulty = []
    async with World(sim, wrap=lambda storage: faulty.append(FaultyStorage(storage)) or faulty[-1]) as world:
        scheduler = await world.start()
        await scheduler.add_interval_job("a", "A", world.recorder.job, MINUTE, on_result=faulty.append)
        faulty[0].plan["settle", 0] = Fault.NO_SENSE
        await sim.advance(MINUTE + 5 * SECOND)
        assert len(faulty) == 2
        assert not scheduler._state.runs


async def test_what_fails_when_a_result_is_told_holds_up_no_other(sim):
    """A filter of somebody's log, say; what was written with it is not written again."""

    def refuse(record):
        raise OSError("no disk")

    logger = logging.getLogger("chrono_async.jobs")
    async with World(sim) as world:
        scheduler = await world.start()
        await scheduler.add_one_shot_job("bad", "", fails, MINUTE)
        for n in range(3):
            await scheduler.add_interval_job(f"job {n}", "", world.recorder.job, MINUTE)
        logger.addFilter(refuse)
        await sim.advance(MINUTE + 5 * SECOND)
        logger.removeFilter(refuse)
        await sim.advance(2 * MINUTE)
        assert [world.record(f"job {n}").run_count for n in range(3)] == [3, 3, 3]
        assert not scheduler._state.runs


async def test_a_pointer_that_cannot_be_moved_makes_nobody_busy(sim):
    """It is tried again, a second later."""
    async with World(sim, base=NeverAdvances(clock=sim.clock)) as world:
        first = world.new()
        await first.add_interval_job("a", "A", world.recorder.job, MINUTE, misfire="skip", misfire_grace=0)
        await sim.advance(90)
        await first.start()
        await sim.advance(20)
        assert 5 <= world.calls["advance"] <= 25


async def _overdue(sim, storage, jobs):
    """Return a scheduler, not started yet, whose jobs are to skip what they have missed."""
    scheduler = AsyncScheduler(storage=storage, clock=sim.clock, storage_timeout=5)
    for n in range(jobs):
        await scheduler.add_interval_job(
            f"job {n}", "", asyncio.sleep, HOUR, args=(0,), misfire="skip", misfire_grace=1
        )
    await sim.until(START + 3 * HOUR + 30 * MINUTE)
    return scheduler


async def test_pointers_that_cannot_be_moved_hold_up_no_other_job(sim):
    """However many there are, and however long each of them would take to fail."""
    storage, recorder = FaultyStorage(InMemoryStorage(clock=sim.clock)), Recorder(sim.clock)
    scheduler = await _overdue(sim, storage, 100)
    storage.fail(Fault.HANGS, "advance")
    async with scheduler as s:
        await s.add_interval_job("beat", "", recorder.job, 30)
        await sim.advance(5 * MINUTE + 10 * SECOND)
        assert len(recorder.runs) == 10
        assert max(run.lateness for run in recorder.runs) <= 6 * SECOND
        storage.heal()
        await sim.advance(5 * MINUTE)
        assert {(await s.get_job(f"job {n}")).next_run for n in range(100)} == {START + 4 * HOUR}


async def test_a_stop_does_not_wait_until_all_pointers_are_moved(sim):
    storage = FaultyStorage(InMemoryStorage(clock=sim.clock))
    scheduler = await _overdue(sim, storage, 100)
    storage.fail(Fault.HANGS, "advance")
    async with scheduler as s:
        await sim.advance(2)
        asked = sim.now
        await s.stop(timeout=1)
    assert sim.now - asked <= 7 * SECOND


async def test_a_stop_waits_for_an_answer_to_a_claim_but_not_for_long(sim):
    """A little longer than it was told to: a claim of which nobody hears must run out first."""
    storage = FaultyStorage(InMemoryStorage(clock=sim.clock))
    async with AsyncScheduler(storage=storage, clock=sim.clock, storage_timeout=60) as s:
        await s.add_interval_job("beat", "", asyncio.sleep, 10, args=(0,))
        storage.fail(Fault.HANGS, "claim")
        await sim.advance(11)
        asked = sim.now
        await s.stop(timeout=1)
    assert sim.now - asked <= 7 * SECOND


class _HintsOnce(InMemoryStorage):
    """Its hints break off as if somebody had cancelled who waits for them; later they come."""

    listened = 0

    async def changes(self):
        self.listened += 1
        if self.listened == 1:
            raise asyncio.CancelledError
        while True:
            await asyncio.sleep(1)
            yield None


async def test_hints_that_break_off_as_if_cancelled_are_listened_to_again(sim):
    storage = _HintsOnce(clock=sim.clock)
    async with AsyncScheduler(storage=storage, clock=sim.clock):
        await sim.advance(5 * MINUTE)
    assert storage.listened == 2


async def test_a_job_that_nobody_here_knows_is_left_alone_and_told_once(sim):
    """Another instance's, or a forgotten one's."""
    async with World(sim) as world:
        await world.base.save_job(JobRecord("theirs", next_run=START + MINUTE))
        scheduler = await world.start()
        told = scheduler.events(JobUnknown)
        await sim.advance(10 * MINUTE)
        told.close()
        assert [event.job_id async for event in told] == ["theirs"]
        assert scheduler.health().unknown_jobs == ("theirs",)
        assert world.record("theirs").next_run == START + MINUTE


class _Muddles(InMemoryStorage):
    """Says of one job when it is due, but not in what zone."""

    is_muddled = True

    async def due(self, *args, **kwargs):
        page = await super().due(*args, **kwargs)
        return page._replace(due=[self._told(due) for due in page.due])

    def _told(self, due):
        return due._replace(when=due.when.replace(tzinfo=None)) if due.job_id == "a" and self.is_muddled else due


@pytest.mark.parametrize("is_here", [True, False])
async def test_a_job_of_which_nonsense_is_told_is_no_other_jobs_affair(sim, caplog, is_here):
    """It is told of once, not at each poll; and runs when sense is made of it."""
    base = _Muddles(clock=sim.clock)
    async with World(sim, base=base, is_witnessed=False) as world:
        await world.base.save_job(JobRecord("a", next_run=START + 5 * MINUTE))
        scheduler = await world.start()
        await scheduler.add_interval_job("b", "", world.recorder.job, 5 * MINUTE)
        if is_here:
            await scheduler.add_interval_job("a", "", world.recorder.job, MINUTE)
        await sim.until(START + 21 * MINUTE)
        assert world.recorder.fire_times("a") == []
        base.is_muddled = False
        await sim.until(START + 22 * MINUTE)
    assert world.recorder.fire_times("b") == grid(START + 5 * MINUTE, 5 * MINUTE, 4)
    assert bool(world.recorder.fire_times("a")) is is_here
    assert caplog.text.count("job 'a'") == (1 if is_here else 2)


class _Torn(InMemoryStorage):
    """Cannot read one of its rows."""

    async def get_job(self, job_id):
        if job_id == "a":
            raise StorageCorruptError("the row of job 'a' cannot be read", job_id="a")
        return await super().get_job(job_id)


async def test_nor_is_one_whose_record_cannot_be_read(sim, caplog):
    """Somebody has rescheduled it, so that it has to be read again. The storage is well, and health names the job."""
    base, told = _Torn(clock=sim.clock), []
    async with World(sim, base=base, is_witnessed=False) as world:
        scheduler = await world.start()
        scheduler.subscribe(told.append, StorageFailing)
        for job_id in ("a", "b"):
            await scheduler.add_interval_job(job_id, "", world.recorder.job, 5 * MINUTE)
        record = await InMemoryStorage.get_job(base, "a")
        await base.reschedule("a", record.schedule, revision=record.revision, next_run=START + 5 * MINUTE)
        await sim.until(START + 21 * MINUTE)
        with pytest.raises(StorageCorruptError):
            await scheduler.get_job("a")
        health = scheduler.health()
        assert (health.ok, health.storage_error, health.unreadable_jobs) == (True, "", ("a",))
    assert world.recorder.fire_times("b") == grid(START + 5 * MINUTE, 5 * MINUTE, 4)
    assert world.recorder.fire_times("a") == []
    assert caplog.text.count("job 'a' is left out") == 1
    assert told == []


class _TornAtFirst(InMemoryStorage):
    """Cannot read a row, so that nothing can be put in its place, until somebody mends it."""

    is_torn, asked = True, 0

    async def register(self, record):
        if record.id == "a":
            self.asked += 1
            if self.is_torn:
                raise StorageCorruptError("the row of job 'a' cannot be read", job_id="a")
        return await super().register(record)


async def test_a_declared_job_that_cannot_be_read_holds_up_no_other(sim, caplog):
    """What is declared after it is registered; it is tried again now and then, in case somebody mends it."""
    base = _TornAtFirst(clock=sim.clock)
    async with World(sim, base=base, is_witnessed=False) as world:
        scheduler = await world.start()

        @scheduler.interval(5 * MINUTE, id="a")
        async def torn():
            await world.recorder.job()

        @scheduler.interval(5 * MINUTE, id="b")
        async def well():
            await world.recorder.job()

        await sim.until(START + 6 * MINUTE)
        assert world.recorder.fire_times("b") != []
        assert base.asked < 500
        base.is_torn = False
        await sim.until(START + 12 * MINUTE)
    assert world.recorder.fire_times("a") != []
    assert caplog.text.count("job 'a' is left out") == 1


class _TornLater(InMemoryStorage):
    """Cannot read a row, whoever asks for it, from when it is torn on; and says so, if it is asked for that alone."""

    is_torn = False

    def _check(self, job_ids):
        if self.is_torn and "a" in job_ids:
            raise StorageCorruptError("it cannot be read", job_id="a") if len(job_ids) == 1 else StorageError("not all")

    async def claim(self, requests, owner_id, ttl):
        self._check([request.job_id for request in requests])
        return await super().claim(requests, owner_id, ttl)

    async def settle(self, outcomes):
        self._check([outcome.lease.job_id for outcome in outcomes])
        return await super().settle(outcomes)

    async def release(self, releases):
        self._check([given.lease.job_id for given in releases])
        return await super().release(releases)

    async def advance(self, job_id, move, *, revision, next_run):
        self._check([job_id])
        return await super().advance(job_id, move, revision=revision, next_run=next_run)


@pytest.mark.parametrize("policy", ["fire_once", "skip"])
async def test_one_that_cannot_be_claimed_or_passed_over_is_asked_for_once_a_poll(sim, caplog, policy):
    base = _TornLater(clock=sim.clock)
    async with World(sim, base=base, is_witnessed=False) as world:
        scheduler = await world.start()
        for job_id in ("a", "b"):
            await scheduler.add_interval_job(
                job_id, "", world.recorder.job, 5 * MINUTE, misfire=policy, misfire_grace=1
            )
        base.is_torn = True
        await sim.until(START + 5 * MINUTE - SECOND)
        calls = Counter(world.calls)
        await sim.until(START + 7 * MINUTE)
        assert (world.calls - calls)["claim"] + (world.calls - calls)["advance"] <= 20
        assert (scheduler.health().ok, scheduler.health().unreadable_jobs) == (True, ("a",))
        base.is_torn = False
        await sim.until(START + 11 * MINUTE)
        assert scheduler.health().unreadable_jobs == ()
    assert world.recorder.fire_times("b") == grid(START + 5 * MINUTE, 5 * MINUTE, 2)
    assert START + 10 * MINUTE in world.recorder.fire_times("a")
    assert caplog.text.count("job 'a' is left out") == 1


@pytest.mark.parametrize("timeout", [None, 0])
async def test_the_run_of_one_that_cannot_be_read_any_more_is_lost(sim, timeout):
    """Its outcome can be written nowhere, nor can it be given back: that is told, and nobody waits for it."""
    base, told = _TornLater(clock=sim.clock), []
    async with World(sim, base=base, is_witnessed=False) as world:
        scheduler = await world.start()
        scheduler.subscribe(told.append, LeaseLost)
        await scheduler.add_interval_job("a", "", world.recorder.job, 5 * MINUTE, args=(10,))
        await sim.until(START + 5 * MINUTE + SECOND)
        base.is_torn = True
        begin = sim.now
        await scheduler.stop(timeout=timeout)
        assert sim.now - begin <= 10 * SECOND
        assert not scheduler._state.runs
    assert [event.job_id for event in told] == ["a"]


async def test_more_jobs_than_a_page_holds_are_all_loaded(sim):
    """In one poll, page after page."""
    async with World(sim, yields=0, is_witnessed=False) as world:
        first = world.new()
        for n in range(2500):
            await first.add_interval_job(f"job {n}", "", world.recorder.job, MINUTE, start_at=START)
        await first.start()
        await sim.until(START + MINUTE + SECOND)
    assert len(world.recorder.runs) == 2500
    assert max(run.lateness for run in world.recorder.runs) < timedelta(seconds=1)


class _Deaf(InMemoryStorage):
    """A storage whose driver takes a cancellation for its answer, as some do when both come at once."""

    async def due(self, *args, **kwargs):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1.5)
        return await super().due(*args, **kwargs)


async def test_a_driver_that_swallows_a_cancellation_holds_up_no_stop(sim):
    """Found in a campaign: the poller was not ended by it, went on for ever, and `stop` waited as long."""
    scheduler = AsyncScheduler(storage=_Deaf(clock=sim.clock), clock=sim.clock, storage_poll_interval=1)
    await scheduler.start()
    await sim.until(START + 5.2 * SECOND)
    async with asyncio.timeout(30):
        await scheduler.stop()


class _Stubborn(InMemoryStorage):
    """A storage whose driver needs half a minute to give up, however it is told to."""

    async def renew(self, leases, ttl):
        gives_up = asyncio.get_running_loop().time() + 30
        while (left := gives_up - asyncio.get_running_loop().time()) > 0:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(left)
        raise StorageError("nobody answers")


async def test_a_driver_that_takes_long_to_give_up_keeps_no_body_alive(sim):
    """Found in a campaign: the renewal hung for longer than the lease, and who hung with it was to end the body."""
    ended = []

    async def body():
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(sim.clock.now())

    scheduler = AsyncScheduler(storage=_Stubborn(clock=sim.clock), clock=sim.clock, lock_ttl=12, storage_timeout=2)
    async with scheduler:
        await scheduler.add_interval_job("a", "A", body, MINUTE)
        await sim.until(START + MINUTE + 20 * SECOND)
        assert ended == [START + MINUTE + 10 * SECOND]
