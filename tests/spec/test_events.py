"""
Events: what the engine tells of what goes on. They decide nothing.
"""

import asyncio
from contextlib import suppress
from datetime import UTC, timedelta

import pytest

from chrono_async import AsyncScheduler, InMemoryStorage, InvalidOptionError, JobStatus, OneShotSchedule, current_run
from chrono_async.events import (
    Event,
    EventsDropped,
    JobAdded,
    JobEvent,
    JobPaused,
    JobRemoved,
    JobRescheduled,
    JobResumed,
    LeaseLost,
    RunFinished,
    RunStarted,
    SchedulerStarted,
    SchedulerStopped,
)
from chrono_async.testing import Fault, FaultyStorage


async def work():
    """A job."""


async def test_a_life_is_told_in_order(sim):
    told = []
    s = AsyncScheduler(clock=sim.clock)
    s.subscribe(told.append)
    async with s:
        await sim.settle()
        await s.add_interval_job("beat", "", work, 10)
        await sim.advance(15)
        await s.pause_job("beat")
        await s.resume_job("beat")
        await s.reschedule_job("beat", OneShotSchedule(at=sim.now + timedelta(hours=1)))
        await s.remove_job("beat")
    await sim.settle()
    assert [type(event) for event in told] == [
        SchedulerStarted,
        JobAdded,
        RunStarted,
        RunFinished,
        JobPaused,
        JobResumed,
        JobRescheduled,
        JobRemoved,
        SchedulerStopped,
    ]
    assert {event.job_id for event in told if isinstance(event, JobEvent)} == {"beat"}
    assert all(event.at.tzinfo is UTC for event in told)


async def test_a_listener_may_be_a_function_or_a_coroutine_function(sim):
    told = []

    async def listen(event):
        await sim.sleep(1)
        told.append(("coroutine", type(event).__name__))

    async with AsyncScheduler(clock=sim.clock) as s:
        s.subscribe(lambda event: told.append(("function", type(event).__name__)), JobAdded)
        s.subscribe(listen, JobAdded)
        await s.add_interval_job("beat", "", work, 10)
        await sim.advance(2)
    assert told == [("function", "JobAdded"), ("coroutine", "JobAdded")]


async def test_only_what_is_asked_for_is_told(sim):
    """A type stands for those below it too."""
    finished, jobs = [], []
    async with AsyncScheduler(clock=sim.clock) as s:
        s.subscribe(finished.append, RunFinished)
        s.subscribe(jobs.append, JobEvent)
        await s.add_interval_job("beat", "", work, 10)
        await sim.advance(25)
    assert [event.result.status for event in finished] == [JobStatus.COMPLETED] * 2
    assert [type(event) for event in jobs] == [JobAdded, RunStarted, RunFinished, RunStarted, RunFinished]


async def test_a_closed_subscription_hears_no_more(sim):
    told = []
    async with AsyncScheduler(clock=sim.clock) as s:
        subscription = s.subscribe(told.append, RunFinished)
        await s.add_interval_job("beat", "", work, 10)
        await sim.advance(15)
        subscription.close()
        await sim.advance(60)
    assert len(told) == 1


async def test_events_can_be_iterated_over(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("beat", "", work, 10)
        seen = []
        with s.events(RunFinished) as events:
            async for event in events:
                seen.append(event.result.fire_time)
                if len(seen) == 3:
                    break
        assert sim.now == seen[-1]


async def test_closing_ends_the_iteration_after_what_is_in_the_buffer(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        events = s.events(RunFinished)
        await s.add_interval_job("beat", "", work, 10)
        await sim.advance(25)
        events.close()
        assert len([event async for event in events]) == 2
        assert [event async for event in events] == []


async def test_who_waits_for_an_event_hears_of_the_close(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        events = s.events(RunFinished)
        waiting = asyncio.create_task(anext(events, "the end"))
        await sim.settle()
        events.close()
        assert await waiting == "the end"


async def test_a_full_buffer_drops_the_oldest_and_says_how_many(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        events = s.events(RunFinished, buffer=3)
        begin = sim.now
        await s.add_interval_job("beat", "", work, 10)
        await sim.advance(105)
        events.close()
        first, *rest = [event async for event in events]
    assert isinstance(first, EventsDropped)
    assert first.count == 7
    assert [event.result.fire_time for event in rest] == [begin + timedelta(seconds=n) for n in (80, 90, 100)]


@pytest.mark.parametrize("error", [ZeroDivisionError("in the listener"), SystemExit(1), asyncio.CancelledError()])
async def test_a_listener_that_raises_harms_nobody(sim, caplog, error):
    told = []

    def raises(event):
        raise error

    async with AsyncScheduler(clock=sim.clock) as s:
        s.subscribe(raises)
        s.subscribe(told.append, RunFinished)
        await s.add_interval_job("beat", "", work, 10)
        await sim.advance(25)
        assert (await s.get_job("beat")).error_count == 0
    assert len(told) == 2
    assert "a listener failed on RunFinished" in caplog.text


async def test_a_run_that_never_begins_is_not_told_to_start(sim):
    """The answer to its claim came when its lease was trusted no more."""
    storage, told = FaultyStorage(InMemoryStorage(clock=sim.clock)), []
    async with AsyncScheduler(storage=storage, clock=sim.clock, lock_ttl=3) as s:
        await s.add_one_shot_job("late", "", work, 1)
        storage.plan[("claim", 0)] = Fault.SLOW
        storage.fail(Fault.REFUSED, "renew")
        s.subscribe(told.append, RunStarted, LeaseLost)
        await sim.advance(4.5)
    assert [type(event) for event in told] == [LeaseLost]


@pytest.mark.parametrize("is_taken_over", [False, True])
async def test_a_run_that_has_lost_its_lease_counts_if_nobody_has_taken_over(sim, is_taken_over):
    """Who hears of the loss alone does not know yet: a `RunFinished` tells."""

    async def body():
        try:
            await sim.sleep(300)
        except asyncio.CancelledError:
            await sim.sleep(120 if is_taken_over else 1)
            raise ValueError("in the cleanup") from None

    inner, told = InMemoryStorage(clock=sim.clock), []
    storage = FaultyStorage(inner)
    async with AsyncScheduler(storage=storage, clock=sim.clock, lock_ttl=30) as s:
        s.subscribe(told.append, LeaseLost, RunFinished)
        await s.add_one_shot_job("it", "", body, 10)
        await sim.advance(15)
        storage.fail(Fault.REFUSED, "renew", "claim")
        async with AsyncScheduler(storage=inner, clock=sim.clock) as other:
            if is_taken_over:
                await other.add_one_shot_job("it", "", work, 10)
            await sim.advance(180)
        run_count = (await s.get_job("it")).run_count
    assert [type(event) for event in told] == [LeaseLost, LeaseLost if is_taken_over else RunFinished]
    assert run_count == 1


async def test_a_slow_listener_delays_only_itself(sim):
    slow, quick = [], []

    async def listen(event):
        await sim.sleep(100)
        slow.append(event)

    async with AsyncScheduler(clock=sim.clock) as s:
        s.subscribe(listen, RunFinished, buffer=2)
        s.subscribe(quick.append, RunFinished)
        await s.add_interval_job("beat", "", work, 10)
        await sim.advance(55)
        assert (len(slow), len(quick)) == (0, 5)
        await s.pause_job("beat")
        await sim.advance(1000)
    assert [getattr(event, "count", None) for event in slow] == [None, 2, None, None]


async def test_an_event_of_a_run_comes_after_the_storage_has_it(sim):
    """Whoever hears of it and looks, sees it."""
    seen = []

    async def listen(event):
        seen.append((await s.get_job(event.job_id)).status)

    async with AsyncScheduler(clock=sim.clock) as s:
        s.subscribe(listen, RunFinished)
        await s.add_one_shot_job("once", "", work, 1)
        await sim.advance(2)
    assert seen == [JobStatus.COMPLETED]


async def test_a_listener_is_in_no_run(sim):
    """It is called as whoever subscribed, not as the run that is told of, or one that was told of before."""
    seen = []

    async def listen(event):
        with suppress(LookupError):
            seen.append(current_run())
        await sim.sleep(1)

    async with AsyncScheduler(clock=sim.clock) as s:
        s.subscribe(listen, RunStarted, RunFinished)
        await s.add_interval_job("beat", "", work, 10)
        await sim.advance(60)
    assert seen == []


@pytest.mark.parametrize("types", [(print,), ("RunFinished",), (int,), (RunFinished, None)])
async def test_what_is_no_type_of_event_is_refused(sim, types):
    """At once, and not when the first event comes: that one is the engine's."""
    async with AsyncScheduler(clock=sim.clock) as s:
        with pytest.raises(TypeError, match="is no type of event"):
            s.subscribe(print, *types)
        with pytest.raises(TypeError, match="is no type of event"):
            s.events(*types)


@pytest.mark.parametrize("listener", [None, "print", RunFinished])
async def test_what_cannot_listen_is_refused(sim, listener):
    """A type in its place means that somebody has mixed up the order."""
    async with AsyncScheduler(clock=sim.clock) as s:
        with pytest.raises(TypeError, match="listener="):
            s.subscribe(listener)


@pytest.mark.parametrize("buffer", [0, -1, None, 1.5, True])
async def test_a_buffer_that_holds_nothing_is_refused(sim, buffer):
    async with AsyncScheduler(clock=sim.clock) as s:
        with pytest.raises(InvalidOptionError, match="buffer="):
            s.events(Event, buffer=buffer)
