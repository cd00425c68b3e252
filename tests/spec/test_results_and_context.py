"""
What a run can know of itself, and what is known of it afterwards.
"""

import asyncio
import gc
import logging
import sys
import traceback
import weakref
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from chrono_async import AsyncScheduler, InMemoryStorage, JobResult, JobStatus, Missed, Retry, current_run
from chrono_async.engine import settler
from chrono_async.events import LeaseLost


async def work():
    """A job."""


async def test_a_result_tells_how_the_run_ended(sim):
    problem = ValueError("oh")

    async def fails():
        await sim.sleep(3)
        raise problem

    async with AsyncScheduler(clock=sim.clock) as s:
        due = (await s.add_one_shot_job("it", "", fails, 10, max_retries=1)).next_run
        result = await s.wait_for_job("it")
    assert result == JobResult(
        job_id="it",
        run_id=result.run_id,
        fire_time=due,
        started=due,
        finished=due + timedelta(seconds=6),
        status=JobStatus.FAILED,
        error=problem,
        retry_count=1,
    )
    assert result.duration == timedelta(seconds=6)


async def test_the_error_is_the_exception_itself(sim):
    """With its traceback, its cause and its attributes: a job's own exception is never wrapped."""

    class NoPaperError(Exception):
        tray = 2

    async def prints():
        raise NoPaperError from KeyError("tray")

    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("it", "", prints, 1)
        error = (await s.wait_for_job("it")).error
    assert isinstance(error, NoPaperError)
    assert error.tray == 2
    assert isinstance(error.__cause__, KeyError)
    assert error.__traceback__ is not None


async def test_a_success_has_none(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("it", "", work, 1)
        result = await s.wait_for_job("it")
    assert (result.status, result.error, result.retry_count) == (JobStatus.COMPLETED, None, 0)


@pytest.mark.parametrize("ending", [SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
async def test_a_body_that_would_end_the_program_harms_only_itself(sim, ending):
    async def ends():
        raise ending

    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("it", "", ends, 1)
        result = await s.wait_for_job("it")
        assert (result.status, result.error) == (JobStatus.FAILED, ending)
        assert s.is_running


async def test_a_body_that_cancels_itself_is_cancelled(sim):
    async def gives_up():
        raise asyncio.CancelledError

    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("it", "", gives_up, 10)
        assert (await s.wait_for_job("it")).status is JobStatus.CANCELLED
        info = await s.get_job("it")
        assert (info.run_count, info.error_count) == (1, 0)
        await sim.advance(10)
        assert (await s.get_job("it")).run_count == 2


@pytest.mark.parametrize("ending", [ZeroDivisionError, asyncio.CancelledError, SystemExit])
async def test_a_message_that_cannot_be_read_keeps_no_run_from_being_settled(sim, ending):
    class BrokenError(Exception):
        def __str__(self):
            raise ending

    async def fails():
        raise BrokenError

    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("it", "", fails, 1)
        await s.wait_for_job("it")
        assert (await s.get_job("it")).last_error.startswith("BrokenError: ")


async def test_a_long_message_is_cut_where_it_is_stored(sim):
    """A storage that writes its file whole would do so with each of them."""

    async def fails():
        raise ValueError("x" * 1_000_000)

    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("it", "", fails, 1)
        result = await s.wait_for_job("it")
        assert len(str(result.error)) == 1_000_000
        text = (await s.get_job("it")).last_error
    assert text == f"ValueError: {'x' * 10_000}... (1000000 characters)"


async def test_what_an_errors_class_makes_of_its_traceback_does_not_matter(sim):
    class OddError(Exception):
        __traceback__ = None

        def with_traceback(self, trace):
            raise ZeroDivisionError

    async def fails():
        raise OddError

    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("it", "", fails, 1)
        result = await s.wait_for_job("it")
    assert (result.status, type(result.error)) == (JobStatus.FAILED, OddError)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there are no eager tasks before Python 3.12")
async def test_an_eager_task_is_cancelled_in_its_first_step_too(sim):
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)

    async def removes_itself():
        await s.remove_job("it")
        await sim.sleep(60)
        ended.append("by itself")

    ended = []
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("it", "", removes_itself, 1)
        await sim.advance(100)
    assert ended == []


async def test_a_running_job_knows_its_run(sim):
    seen = []

    async def job():
        seen.append(current_run())

    async with AsyncScheduler(clock=sim.clock, instance_id="worker-1") as s:
        due = (await s.add_interval_job("beat", "", job, 10)).next_run
        await sim.advance(20)
    first, second = seen
    assert (first.job_id, first.fire_time, first.attempt, first.instance_id) == ("beat", due, 1, "worker-1")
    assert first.fire_time.tzinfo is UTC
    assert first.missed is None
    assert (first.previous_success, second.previous_success) == (None, due)
    assert second.token > first.token
    assert not first.lost.is_set()


async def test_so_do_the_tasks_and_threads_that_it_starts(sim):
    seen = []

    async def job():
        await asyncio.gather(inner(), asyncio.to_thread(plain))

    async def inner():
        seen.append(current_run().job_id)

    def plain():
        seen.append(current_run().job_id)

    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("it", "", job, 1)
        await s.wait_for_job("it")
    assert seen == ["it", "it"]


async def test_outside_of_a_job_there_is_no_run(sim):
    async with AsyncScheduler(clock=sim.clock):
        with pytest.raises(LookupError, match="no job runs here"):
            current_run()


async def test_the_run_id_is_the_same_for_every_attempt_and_no_other_occurrence_has_it(sim):
    """So that it serves as an idempotency key, whoever runs the occurrence and however often."""
    storage, seen = InMemoryStorage(clock=sim.clock), []

    async def job():
        run = current_run()
        seen.append((run.run_id, run.fire_time))
        await sim.sleep(5)

    for _ in range(2):
        s = AsyncScheduler(storage=storage, clock=sim.clock)
        await s.start()
        await s.add_interval_job("slow", "", job, 10)
        await sim.until(max(datetime(2026, 1, 1, 0, 0, 12, tzinfo=UTC), sim.now))
        await s.stop(timeout=0)
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        await s.add_interval_job("slow", "", job, 10)
        await sim.advance(20)
    ids = [run_id for run_id, _ in seen]
    assert len(ids) >= 4
    assert ids[0] == ids[1] == ids[2]
    assert len(set(ids)) == len({moment for _, moment in seen})


async def test_what_was_folded_into_a_run_is_told_to_it(sim):
    seen = []

    async def job():
        seen.append(current_run().missed)

    s = AsyncScheduler(clock=sim.clock)
    begin = sim.now
    await s.add_interval_job("beat", "", job, 10)
    await sim.advance(55)
    async with s:
        await sim.advance(10)
    second = timedelta(seconds=1)
    assert seen == [Missed(4, begin + 10 * second, begin + 40 * second), None]


async def test_a_retry_is_the_same_run(sim):
    seen = []

    async def fails():
        seen.append((current_run().run_id, current_run().attempt))
        raise ValueError

    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("it", "", fails, 1, max_retries=2)
        await s.wait_for_job("it")
    assert len(seen) == 3
    assert len(set(seen)) == 1


@contextmanager
def without_collector():
    """What is gone in here is gone with its last use."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.parametrize("options", [{}, {"timeout": 60}, {"overlap": "allow"}], ids=str)
async def test_a_run_that_is_over_leaves_nothing_to_the_garbage_collector(sim, options):
    """Its objects are gone with the last use of them: of thousands of runs none waits for a pass through the heap."""
    bodies: list[weakref.ref[object]] = []

    async def body():
        bodies.append(weakref.ref(asyncio.current_task()))

    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("it", "", body, 60, **options)
        with without_collector():
            await sim.sleep(301)
            alive = [body for body in bodies if body() is not None]
    assert len(bodies) == 5
    assert alive == []


async def test_who_has_not_asked_reads_of_a_failure_in_the_log(sim, caplog):
    """Once a run, after its last try, with its traceback; and of nothing else."""

    async def fails():
        raise LookupError("no paper")

    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("bad", "", fails, 1, max_retries=2)
        await s.add_one_shot_job("slow", "", sim.sleep, 1, args=(60,), timeout=5)
        await s.add_one_shot_job("good", "", work, 1)
        await sim.advance(60)
    records = [record for record in caplog.records if record.levelname == "ERROR"]
    told = {record.getMessage().split()[1]: record for record in records}
    assert sorted(told) == ["'bad'", "'slow'"]
    assert [record.name for record in records] == ["chrono_async.jobs"] * 2
    kind, error, trace = told["'bad'"].exc_info
    assert (kind, str(error)) == (LookupError, "no paper")
    assert traceback.extract_tb(trace)[0].name == "fails"
    assert told["'slow'"].exc_info[0] is TimeoutError


async def test_and_of_each_try_that_is_to_be_followed_by_another(sim, caplog):
    """In a long pause nothing else would tell."""

    async def fails():
        raise LookupError("no paper")

    async with AsyncScheduler(clock=sim.clock) as s:
        retry = Retry(max_retries=2, delay=3600, backoff=1, jitter=False)
        await s.add_one_shot_job("bad", "", fails, 1, max_retries=retry)
        await sim.advance(2 * 3600)
    assert [record.getMessage() for record in caplog.records] == [
        "job 'bad': try 1 failed, the next in 1:00:00: LookupError: no paper",
        "job 'bad': try 2 failed, the next in 1:00:00: LookupError: no paper",
    ]


@pytest.mark.parametrize(("overlap", "outcome"), [("skip", "is passed over"), ("queue", "waits until it ends")])
async def test_of_a_run_that_outlasts_its_schedule_is_told_while_it_goes_on(sim, caplog, overlap, outcome):
    """Once; not of one that merely takes long, nor of one that is soon over."""
    async with AsyncScheduler(clock=sim.clock, storage_poll_interval=30) as s:
        due = (await s.add_interval_job("hangs", "", sim.sleep, 60, args=(1000,), overlap=overlap)).next_run
        await s.add_interval_job("long", "", sim.sleep, 3600, args=(1000,))
        await s.add_interval_job("a little", "", sim.sleep, 10, args=(12,), overlap=overlap)
        await sim.advance(60 + 59)
        assert caplog.messages == []
        await sim.advance(31)
        told = f"job 'hangs' has been running since {due}, and what comes due meanwhile {outcome}"
        assert caplog.messages == [told]
        await sim.advance(800)
        assert caplog.messages == [told]
        await s.stop(timeout=0)


async def test_callbacks_that_hang_do_not_pile_up_for_ever(sim, caplog, monkeypatch):
    """The log says which jobs are not called back any more; what has returned makes room."""
    monkeypatch.setattr(settler, "_MOST_CALLBACKS", 3)
    called, may_return = [], asyncio.Event()

    async def hangs(result):
        called.append(result)
        await may_return.wait()

    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("it", "", work, 60, on_result=hangs)
        await sim.advance(5 * 60)
        assert (len(called), caplog.messages) == (3, ["3 callbacks have not returned: job 'it' is not called back"] * 2)
        may_return.set()
        await sim.advance(60)
        assert len(called) == 4


class OutOfPaperError(Exception):
    """An error that is noted without being kept alive."""

    def __init__(self, errors):
        errors.append(weakref.ref(self))


def prints(errors):
    raise OutOfPaperError(errors)


async def prints_later(errors):
    await asyncio.sleep(1)
    raise OutOfPaperError(errors)


@pytest.mark.parametrize("options", [{}, {"timeout": 60}, {"max_retries": 1}], ids=str)
@pytest.mark.parametrize("body", [prints, prints_later])
async def test_nor_does_one_that_failed_once_its_result_is_forgotten(sim, body, options, caplog):
    """Nothing that its traceback leads to leads back to it: that begins with the job's own function."""
    errors: list[weakref.ref[OutOfPaperError]] = []
    caplog.set_level(logging.CRITICAL, "chrono_async.jobs")  # what is logged is kept for the test's report
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("it", "", body, 60, args=(errors,), **options)
        with without_collector():
            first = (await s.wait_for_job("it")).error
            assert traceback.extract_tb(first.__traceback__)[0].name == body.__name__
            del first
            await sim.sleep(100 * 60)  # more runs than there are failures that are kept
            alive = [error for error in errors[:-30] if error() is not None]
    assert len(errors) >= 100
    assert alive == []


async def test_nor_does_one_that_failed_and_whose_result_was_refused(sim):
    """Nobody hears of its error, and nothing keeps it."""
    errors: list[weakref.ref[OutOfPaperError]] = []
    lost: list[LeaseLost] = []
    storage = InMemoryStorage(clock=sim.clock)

    async def prints_what_is_gone():
        await storage.delete_job("it")
        raise OutOfPaperError(errors)

    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        s.subscribe(lost.append, LeaseLost)
        await s.add_one_shot_job("it", "", prints_what_is_gone, 1)
        with without_collector():
            await sim.advance(5)
            alive = [error for error in errors if error() is not None]
    assert (len(errors), len(lost), alive) == (1, 1, [])
