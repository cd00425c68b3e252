"""
Plain functions as jobs: they run in worker threads, never on the loop.
"""

import asyncio
import threading
from contextvars import ContextVar
from datetime import timedelta
from functools import partial

import pytest

from chrono_async import AsyncScheduler, JobStatus, Retry, RunStatus, current_run
from chrono_async.events import RunStarted
from chrono_async.testing import Recorder

WHO = ContextVar("WHO", default="nobody")


async def test_a_plain_function_runs_in_a_thread(sim):
    threads = []

    def work():
        threads.append(threading.current_thread())

    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("it", "", work, 1)
        assert (await s.wait_for_job("it")).status is JobStatus.COMPLETED
    assert threads != [threading.current_thread()]


async def test_while_it_works_the_others_go_on(sim):
    recorder = Recorder(sim.clock)
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("slow", "", sim.sleep_in_thread, 1, args=(60,))
        await s.add_interval_job("beat", "", recorder.job, 10)
        result = await s.wait_for_job("slow")
    assert result.duration == timedelta(seconds=60)
    assert len(recorder.runs) == 6
    assert all(run.lateness == timedelta(0) for run in recorder.runs)


async def test_what_it_raises_is_the_jobs_error(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("it", "", lambda: 1 // 0, 1)
        result = await s.wait_for_job("it")
    assert isinstance(result.error, ZeroDivisionError)


async def test_it_sees_the_context_of_its_run(sim):
    """Its own, and `current_run()`; what it changes there reaches nobody else."""
    seen = []

    def work():
        seen.append((current_run().job_id, WHO.get()))
        WHO.set("a job")

    WHO.set("me")
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("it", "", work, 10)
        await sim.advance(20)
    assert seen == [("it", "me"), ("it", "me")]
    assert WHO.get() == "me"


async def test_one_that_hands_back_a_coroutine_is_awaited_on_the_loop(sim):
    """As a lambda does, or a partial of a lambda."""
    seen = []

    async def work(number):
        await sim.sleep(number)
        seen.append((number, threading.current_thread() is threading.main_thread()))

    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("lambda", "", lambda: work(1), 1)
        await s.add_one_shot_job("partial", "", partial(work, 2), 1)
        await sim.advance(5)
    assert seen == [(1, True), (2, True)]


async def test_such_a_coroutine_holds_no_thread(sim):
    """However long it goes on, other plain functions have their turn."""
    begin, begun = sim.now, []

    async def work(seconds):
        begun.append(sim.now)
        await sim.sleep(seconds)

    async with AsyncScheduler(clock=sim.clock, max_threads=1) as s:
        for number in range(3):
            await s.add_one_shot_job(str(number), "", lambda: work(60), 1)
        await sim.advance(30)
    assert begun == [begin + timedelta(seconds=1)] * 3


async def test_an_object_whose_call_is_a_coroutine_runs_on_the_loop(sim):
    seen = []

    class Job:
        async def __call__(self):
            seen.append(asyncio.get_running_loop() is sim.loop)

    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("it", "", Job(), 1)
        await s.wait_for_job("it")
    assert seen == [True]


async def test_a_thread_cannot_be_stopped_so_its_job_ends_when_it_does(sim):
    """Out of time it has failed, and it is not tried again; but the next run waits until the thread has ended."""
    calls = []

    def work():
        calls.append(sim.now)
        sim.sleep_in_thread(25)

    async with AsyncScheduler(clock=sim.clock) as s:
        begin = sim.now
        await s.add_interval_job("slow", "", work, 10, timeout=5, max_retries=3)
        result = await s.wait_for_job("slow")
        assert (result.status, result.retry_count) == (JobStatus.FAILED, 0)
        assert isinstance(result.error, TimeoutError)
        assert sim.now == begin + timedelta(seconds=35)
        await s.pause_job("slow")
        await sim.advance(60)
    assert len(calls) == 1


async def test_no_more_threads_work_at_once_than_allowed(sim):
    async with AsyncScheduler(clock=sim.clock, max_threads=2) as s:
        begin = sim.now
        for number in range(4):
            await s.add_one_shot_job(str(number), "", sim.sleep_in_thread, 1, args=(10,))
        results = await asyncio.gather(*(s.wait_for_job(str(number)) for number in range(4)))
    assert max(result.finished for result in results) == begin + timedelta(seconds=21)


async def _with_all_threads_at_work(sim, scheduler, seconds):
    """Let a job keep the only thread busy for so long, from in a second."""
    await scheduler.add_one_shot_job("busy", "", sim.sleep_in_thread, 1, args=(seconds,))
    await sim.advance(1)


async def test_its_time_runs_from_when_it_is_called(sim):
    """Until its turn has come nothing has begun, and nothing is told."""
    told = []
    async with AsyncScheduler(clock=sim.clock, max_threads=1) as s:
        s.subscribe(told.append, RunStarted)
        await _with_all_threads_at_work(sim, s, 30)
        begin = sim.now
        await s.add_one_shot_job("late", "", sim.sleep_in_thread, 1, args=(4,), timeout=5)
        await sim.advance(10)
        assert [event.job_id for event in told] == ["busy"]
        result = await s.wait_for_job("late")
        assert (result.status, result.started) == (JobStatus.COMPLETED, begin + timedelta(seconds=30))
    assert [event.job_id for event in told] == ["busy", "late"]


async def test_who_waits_for_another_try_when_time_is_up_keeps_the_tries_it_has_had(sim):
    calls = []

    def fails():
        calls.append(sim.now)
        raise ValueError

    scheduler = AsyncScheduler(clock=sim.clock, max_threads=1)
    async with scheduler as s:
        await s.add_one_shot_job("fails", "", fails, 1, max_retries=Retry(1, delay=5, jitter=False))
        await sim.advance(2)
        await s.add_one_shot_job("busy", "", sim.sleep_in_thread, 1, args=(60,))
        await sim.advance(10)
        await s.stop(timeout=1)
        assert len(calls) == 1
    await sim.advance(120)
    async with scheduler as s:
        assert (await s.wait_for_job("fails")).status is JobStatus.FAILED
    assert len(calls) == 2


async def test_removed_before_its_turn_has_come_it_is_not_called(sim):
    calls = []
    async with AsyncScheduler(clock=sim.clock, max_threads=1) as s:
        await _with_all_threads_at_work(sim, s, 30)
        await s.add_one_shot_job("gone", "", lambda: calls.append(sim.now), 1)
        await sim.advance(5)
        await s.remove_job("gone")
        await sim.advance(60)
        assert s.health().running == 0
    assert calls == []


@pytest.mark.parametrize("options", [{}, {"recovery": "skip"}, {"overlap": "allow"}])
async def test_who_has_not_begun_when_time_is_up_is_given_back(sim, options):
    """A stop waits for no thread that is not at work yet, and nothing begins after it. At most once, it is not lost."""
    calls, scheduler = [], AsyncScheduler(clock=sim.clock, max_threads=1)
    async with scheduler as s:
        await _with_all_threads_at_work(sim, s, 60)
        await s.add_one_shot_job("late", "", lambda: calls.append(sim.now), 1, **options)
        await sim.advance(5)
        await s.stop(timeout=1)
        assert (await s.get_job("late")).run_count == 0
    await sim.advance(120)
    assert calls == []
    async with scheduler as s:
        assert (await s.wait_for_job("late")).status is JobStatus.COMPLETED
    assert len(calls) == 1


async def test_a_manual_run_of_a_job_whose_runs_may_overlap_cannot_be_given_back_and_is_cancelled(sim):
    """Its request has left the job with the claim; so the history says what became of it."""
    calls = []
    async with AsyncScheduler(clock=sim.clock, max_threads=1) as s:
        await _with_all_threads_at_work(sim, s, 60)
        await s.add_interval_job("late", "", lambda: calls.append(sim.now), timedelta(hours=1), overlap="allow")
        await s.trigger_job("late")
        await sim.advance(5)
        await s.stop(timeout=1)
        [row] = await s.list_runs("late")
        assert (row.status, row.manual) == (RunStatus.CANCELLED, True)
    await sim.advance(120)
    assert calls == []


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, StopIteration])
async def test_whatever_it_raises_harms_only_itself(sim, error):
    def work():
        raise error

    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("it", "", work, 1)
        result = await s.wait_for_job("it")
        assert result.status is (JobStatus.CANCELLED if error is asyncio.CancelledError else JobStatus.FAILED)
        await s.add_one_shot_job("next", "", lambda: None, 1)
        assert (await s.wait_for_job("next")).status is JobStatus.COMPLETED


async def test_a_plain_function_may_take_arguments(sim):
    calls = []

    def work(*args, **kwargs):
        calls.append((args, kwargs))

    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("it", "", work, 1, args=[1], kwargs={"b": 2})
        await s.wait_for_job("it")
    assert calls == [((1,), {"b": 2})]
