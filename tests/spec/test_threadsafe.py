"""
From other threads: `s.threadsafe`.
"""

import asyncio
import os
import threading
import warnings

import pytest

from chrono_async import (
    AsyncScheduler,
    JobAlreadyExistsError,
    JobNotFoundError,
    SchedulerRunningError,
    SchedulerStoppedError,
)


async def work():
    """A job."""


async def in_a_thread(func):
    """Call `func` in a thread that knows nothing of the loop."""
    return await asyncio.get_running_loop().run_in_executor(None, func)


async def test_every_verb_can_be_called_from_a_thread(sim):
    async with AsyncScheduler(clock=sim.clock) as s:

        def elsewhere():
            assert threading.current_thread() is not threading.main_thread()
            call = s.threadsafe.call
            call(s.add_interval_job, "beat", "", work, 10, tags=["a"])
            assert call(s.pause_job, "beat").paused
            call(s.resume_job, "beat")
            run_id = call(s.trigger_job, "beat")
            assert call(s.wait_for_job, "beat", run_id=run_id).run_id == run_id
            return call(s.get_job, "beat")

        info = await in_a_thread(elsewhere)
        assert (info.id, info.run_count, info.tags) == ("beat", 1, ("a",))


async def test_errors_come_back_as_they_are(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("beat", "", work, 10)
        with pytest.raises(JobNotFoundError):
            await in_a_thread(lambda: s.threadsafe.call(s.get_job, "nobody"))
        with pytest.raises(JobAlreadyExistsError):
            await in_a_thread(lambda: s.threadsafe.call(s.add_interval_job, "beat", "", work, 10))


async def test_a_declaration_from_a_thread_is_refused_and_forgotten(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        with pytest.raises(SchedulerRunningError, match=r"s\.threadsafe"):
            await in_a_thread(lambda: s.interval(10)(work))
        await s.add_interval_job("other", "", work, 10)
        await sim.settle()
        assert [job.id for job in await s.list_jobs()] == ["other"]


async def test_submit_does_not_wait(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("slow", "", sim.sleep, 10, args=(5,))
        future = await in_a_thread(lambda: s.threadsafe.submit(s.wait_for_job, "slow"))
        assert not future.done()
        await sim.advance(16)
        assert future.result(timeout=0).job_id == "slow"


async def test_many_threads_at_once(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        adding = (lambda n=n: s.threadsafe.call(s.add_interval_job, f"{n}", "", work, 10) for n in range(20))
        await asyncio.gather(*map(in_a_thread, adding))
        await sim.advance(10)
        assert [job.run_count for job in await s.list_jobs()] == [1] * 20


async def test_on_the_loops_own_thread_it_would_wait_for_ever(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        with pytest.raises(RuntimeError, match="await the verb instead"):
            s.threadsafe.call(s.list_jobs)


async def test_a_stopped_scheduler_has_no_loop_to_call(sim):
    s = AsyncScheduler(clock=sim.clock)
    with pytest.raises(SchedulerStoppedError):
        s.threadsafe.call(s.list_jobs)
    async with s:
        threadsafe = s.threadsafe
    for way_in in (s.threadsafe, threadsafe):
        with pytest.raises(SchedulerStoppedError):
            way_in.submit(s.list_jobs)


def test_a_loop_that_does_not_run_is_not_waited_for():
    """Who has started a scheduler and let its loop end would wait for ever."""
    s = AsyncScheduler()
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(s.start())
        with pytest.raises(SchedulerStoppedError, match="event loop does not run"):
            s.threadsafe.submit(s.list_jobs)
        loop.run_until_complete(s.stop())
    finally:
        loop.close()


async def test_one_that_is_taken_before_the_start_is_good_after_it(sim):
    s = AsyncScheduler(clock=sim.clock)
    threadsafe = s.threadsafe
    async with s:
        assert await in_a_thread(lambda: threadsafe.call(s.list_jobs)) == []


async def test_a_plain_job_may_use_it(sim):
    """It runs in a thread, so it cannot await."""

    async with AsyncScheduler(clock=sim.clock) as s:

        def last():
            s.threadsafe.call(s.pause_job, "it")

        await s.add_interval_job("it", "", last, 10)
        await sim.advance(60)
        info = await s.get_job("it")
    assert (info.paused, info.run_count) == (True, 1)


async def test_a_plain_job_may_stop_its_scheduler(sim):
    """The drain waits for that very job, so the call must not wait for the drain."""
    s = AsyncScheduler(clock=sim.clock)
    await s.add_one_shot_job("last", "", lambda: s.threadsafe.call(s.stop), 1)
    await s.run_forever(handle_signals=False)
    assert (await s.get_job("last")).run_count == 1


@pytest.mark.parametrize("verb", ["list_jobs", "stop", "start"])
async def test_a_verb_on_another_loop_is_refused(sim, verb):
    """Its tasks, locks and events belong to one loop; another one would break them without a word."""
    async with AsyncScheduler(clock=sim.clock) as s:

        def elsewhere():
            with pytest.raises(SchedulerRunningError, match=r"another event loop|is running"):
                asyncio.run(getattr(s, verb)())

        await in_a_thread(elsewhere)
        assert s.is_running
        assert await s.list_jobs() == []


def test_a_stopped_scheduler_may_go_on_on_another_loop():
    """As scripts that call asyncio.run twice do, and tests that have a loop each."""
    s = AsyncScheduler()

    async def live():
        async with s:
            await s.add_interval_job("beat", "", work, 10, replace=True)

    asyncio.run(live())
    assert [job.id for job in asyncio.run(s.list_jobs())] == ["beat"]
    asyncio.run(live())


def test_a_forked_child_cannot_touch_its_parents_scheduler():
    """It has a copy of everything, leases too; so it is told to make a scheduler of its own."""

    async def live():
        async with AsyncScheduler() as s:
            child = os.fork()
            if child == 0:
                os._exit(is_refused(s))
            _, status = await asyncio.to_thread(os.waitpid, child, 0)
            return os.waitstatus_to_exitcode(status)

    def is_refused(s):
        try:
            asyncio.new_event_loop().run_until_complete(s.list_jobs())
        except SchedulerRunningError:
            return 0
        return 1

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on: a fork beside the watchdog's thread
        assert asyncio.run(live()) == 0
