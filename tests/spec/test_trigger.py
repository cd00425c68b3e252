"""
Triggering: one run now, whatever the schedule says.
"""

import asyncio
from datetime import timedelta

import pytest

from chrono_async import (
    AsyncScheduler,
    InMemoryStorage,
    IntervalSchedule,
    InvalidJobFuncError,
    InvalidOptionError,
    JobNotFoundError,
    JobStatus,
    Overlap,
    Retry,
    TriggerPendingError,
    current_run,
)
from chrono_async.testing import Fault, FaultyStorage, Recorder

SECOND = timedelta(seconds=1)


class QuietStorage(InMemoryStorage):
    """Gives no hints that anything has changed: only the poll would find it."""

    async def changes(self):
        await asyncio.Event().wait()
        yield


async def test_a_triggered_job_runs_at_once_and_keeps_its_next_run(sim):
    recorder = Recorder(sim.clock)
    async with AsyncScheduler(storage=QuietStorage(clock=sim.clock), clock=sim.clock) as s:
        due = (await s.add_interval_job("beat", "", recorder.job, 3600)).next_run
        await sim.advance(100)
        await s.trigger_job("beat")
        await sim.settle()
        assert [run.start for run in recorder.runs] == [sim.now]
        info = await s.get_job("beat")
    assert (info.next_run, info.run_count) == (due, 1)


async def test_a_request_that_is_written_is_no_error_because_the_job_cannot_be_read_after_it(sim):
    """Whoever was told that it failed would ask again, and the job would run twice."""
    recorder = Recorder(sim.clock)
    storage = FaultyStorage(QuietStorage(clock=sim.clock))
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        await s.add_interval_job("beat", "", recorder.job, 3600)
        await sim.advance(100)
        storage.fail(Fault.REFUSED, "get_job")
        run_id = await s.trigger_job("beat")
        await sim.advance(1)
        assert len(recorder.runs) == 1, "not at the next poll only"
        storage.heal()
        assert (await s.wait_for_job("beat", run_id=run_id)).status is JobStatus.COMPLETED


async def test_its_run_id_is_what_the_job_sees_and_what_one_waits_for(sim):
    async def report():
        seen.append(current_run().run_id)

    seen = []
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_cron_job("report", "", report, "@daily")
        run_id = await s.trigger_job("report")
        result = await s.wait_for_job("report", run_id=run_id)
        assert (result.run_id, result.status) == (run_id, JobStatus.COMPLETED)
        assert seen == [run_id]
        assert await s.wait_for_job("report", run_id=run_id) == result
        assert [(run.run_id, run.manual) for run in await s.list_runs("report")] == [(run_id, True)]


async def test_arguments_take_the_place_of_the_jobs_own(sim):
    calls = []

    async def greet(*args, **kwargs):
        calls.append((args, kwargs))

    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_cron_job("greet", "", greet, "@daily", args=("hello",), kwargs={"to": "all"})
        for arguments in ({}, {"args": ["hi", 2]}, {"kwargs": {"to": ["me", None]}}):
            await s.wait_for_job("greet", run_id=await s.trigger_job("greet", **arguments))
    assert calls == [(("hello",), {"to": "all"}), (("hi", 2), {}), ((), {"to": ["me", None]})]


@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan"), b"bytes"])
async def test_arguments_must_be_what_json_can_hold(sim, value):
    """The run may happen in another process."""
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_cron_job("greet", "", print, "@daily")
        with pytest.raises(InvalidOptionError, match="must be what JSON can hold"):
            await s.trigger_job("greet", args=[value])
        await sim.advance(1)
        assert (await s.get_job("greet")).run_count == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [("args", 0), ("args", 5), ("args", "hello"), ("args", b"hello"), ("args", ""),
     ("kwargs", [1]), ("kwargs", "to"), ("kwargs", {1: "me"}), ("kwargs", False)],
)  # fmt: skip
async def test_what_is_no_arguments_is_refused_by_name_when_triggered_and_when_added(sim, name, value):
    """A text is one argument: its letters, one by one, are what nobody means."""
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_cron_job("greet", "", print, "@daily")
        with pytest.raises(InvalidOptionError, match=f"^{name}="):
            await s.trigger_job("greet", **{name: value})
        with pytest.raises(InvalidOptionError, match=f"^{name}="):
            await s.add_cron_job("other", "", print, "@daily", **{name: value})
        await sim.advance(1)
        assert (await s.get_job("greet")).run_count == 0


async def test_a_paused_job_can_be_triggered_and_stays_paused(sim):
    recorder = Recorder(sim.clock)
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("beat", "", recorder.job, 10)
        await s.pause_job("beat")
        await s.trigger_job("beat")
        await sim.advance(60)
        assert (await s.get_job("beat")).paused
    assert len(recorder.runs) == 1


async def test_a_pause_holds_up_no_request_that_waits(sim):
    """Not even until the next poll."""
    recorder = Recorder(sim.clock)
    async with AsyncScheduler(storage=QuietStorage(clock=sim.clock), clock=sim.clock) as s:
        await s.add_interval_job("beat", "", recorder.job, 3600)
        await sim.advance(10)
        await s.trigger_job("beat")
        await s.pause_job("beat")
        await sim.settle()
        assert [run.start for run in recorder.runs] == [sim.now]


@pytest.mark.parametrize("overlap", Overlap)
async def test_nor_does_it_end_the_run_behind_which_one_waits(sim, overlap):
    """Not even one that the next fire time would have cancelled: there is none while the job is paused."""
    recorder, begin = Recorder(sim.clock), sim.now
    async with AsyncScheduler(storage=QuietStorage(clock=sim.clock), clock=sim.clock) as s:
        await s.add_interval_job("slow", "", recorder.job, 10, args=(15,), overlap=overlap)
        await sim.advance(12)
        await s.trigger_job("slow")
        await s.pause_job("slow")
        await sim.advance(60)
    assert not recorder.runs[0].was_cancelled
    starts = [(run.start - begin) / timedelta(seconds=1) for run in recorder.runs]
    assert starts == ([10, 12] if overlap is Overlap.ALLOW else [10, 25])


@pytest.mark.parametrize("is_triggered", [True, False])
async def test_it_leaves_a_scheduled_run_its_tries_and_the_pause_before_its_retry(sim, is_triggered):
    """A pause that outlasts the lease holds up no request."""

    async def flaky():
        run = current_run()
        runs.append((run.run_id.endswith("!"), (sim.now - begin) / SECOND))
        if not runs[-1][0]:
            raise ConnectionError

    runs, begin = [], sim.now
    retry = Retry(max_retries=2, delay=100, backoff=1, jitter=False)
    async with AsyncScheduler(clock=sim.clock, lock_ttl=60) as s:
        await s.add_interval_job("flaky", "", flaky, 1000, max_retries=retry)
        await sim.advance(1050)
        if is_triggered:
            await s.trigger_job("flaky")
        await sim.advance(900)
    assert [at for is_manual, at in runs if not is_manual] == [1000, 1100, 1200]
    assert [at for is_manual, at in runs if is_manual] == [1050] * is_triggered


async def test_it_has_tries_and_pauses_of_its_own_and_goes_before_the_scheduled_runs(sim):
    """From its first try to its last, whatever becomes of the schedule meanwhile."""

    async def flaky():
        runs.append(("manual" if current_run().run_id.endswith("!") else "scheduled", (sim.now - begin) / SECOND))
        if len(runs) < 3:
            raise ConnectionError

    runs, begin = [], sim.now
    retry = Retry(max_retries=5, delay=100, backoff=1, jitter=False)
    async with AsyncScheduler(clock=sim.clock, lock_ttl=60) as s:
        await s.add_interval_job("flaky", "", flaky, 1000, max_retries=retry)
        await sim.advance(10)
        await s.trigger_job("flaky")
        await sim.advance(10)
        await s.reschedule_job("flaky", IntervalSchedule(50))
        await sim.advance(240)
    assert runs == [("manual", 10), ("manual", 110), ("manual", 210), ("scheduled", 210), ("scheduled", 220)]


async def test_a_request_joins_the_one_that_waits(sim):
    """Ten impatient clicks are one run; after it has begun, a click is a new one."""
    recorder = Recorder(sim.clock)
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_cron_job("slow", "", recorder.job, "@daily", args=(10,))
        first = {await s.trigger_job("slow") for _ in range(10)}
        await sim.advance(1)
        second = {await s.trigger_job("slow") for _ in range(10)}
        await sim.advance(60)
    assert len(first) == len(second) == 1
    assert first != second
    assert [run.end - run.start for run in recorder.runs] == [timedelta(seconds=10)] * 2
    assert recorder.most_at_once() == 1


@pytest.mark.parametrize("overlap", Overlap)
async def test_one_with_other_arguments_is_refused_until_that_has_begun(sim, overlap):
    """Nobody is told that what was never called is done."""
    exported = []
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_cron_job("export", "", exported.append, "@yearly", args=("nobody",), overlap=overlap)
        first = await s.trigger_job("export", args=["ann"])
        assert await s.trigger_job("export", args=["ann"]) == first
        for others in ({"args": ["bob"]}, {}):
            with pytest.raises(TriggerPendingError, match="'export' waits already") as refused:
                await s.trigger_job("export", **others)
            assert (refused.value.job_id, refused.value.run_id) == ("export", first)
        await s.wait_for_job("export", run_id=refused.value.run_id)
        await s.wait_for_job("export", run_id=await s.trigger_job("export", args=["bob"]))
    assert exported == ["ann", "bob"]


async def test_manual_runs_do_not_count_towards_max_runs(sim):
    recorder = Recorder(sim.clock)
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("twice", "", recorder.job, 10, max_runs=2)
        for _ in range(3):
            await s.wait_for_job("twice", run_id=await s.trigger_job("twice"))
        await sim.advance(60)
        info = await s.get_job("twice")
    assert (info.run_count, info.next_run) == (5, None)


async def test_a_finished_one_shot_can_be_triggered(sim):
    recorder = Recorder(sim.clock)
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("once", "", recorder.job, 1)
        await sim.advance(1)
        await s.trigger_job("once")
        await sim.advance(1)
        assert (await s.get_job("once")).next_run is None
    assert len(recorder.runs) == 2


async def test_before_the_start_a_request_waits_for_it(sim):
    recorder = Recorder(sim.clock)
    s = AsyncScheduler(clock=sim.clock)
    await s.add_cron_job("report", "", recorder.job, "@daily")
    first = await s.trigger_job("report")
    await sim.advance(60)
    assert await s.trigger_job("report") == first
    assert recorder.runs == []
    async with s:
        await sim.advance(1)
    assert len(recorder.runs) == 1


async def test_it_works_for_jobs_whose_function_lives_elsewhere(sim):
    storage, calls = InMemoryStorage(clock=sim.clock), []

    async def greet(name):
        calls.append((name, current_run().instance_id))

    async with AsyncScheduler(storage=storage, clock=sim.clock, instance_id="worker") as worker:
        await worker.add_cron_job("greet", "", greet, "@daily", args=("nobody",))
        console = AsyncScheduler(storage=storage, clock=sim.clock)
        run_id = await console.trigger_job("greet", args=["you"])
        result = await console.wait_for_job("greet", run_id=run_id)
    assert calls == [("you", "worker")]
    assert result.run_id == run_id


async def test_who_is_not_there_cannot_be_triggered(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        with pytest.raises(JobNotFoundError):
            await s.trigger_job("nobody")


async def test_arguments_that_the_function_cannot_take_are_refused_at_once(sim):
    """Rather than failing a run that somebody waits for."""

    async def greet(name):
        pass

    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("greet", "", greet, 60, args=["you"])
        with pytest.raises(InvalidJobFuncError, match="cannot be called"):
            await s.trigger_job("greet", args=["you", "me"])
        run_id = await s.trigger_job("greet", kwargs={"name": "me"})
        assert (await s.wait_for_job("greet", run_id=run_id)).status is JobStatus.COMPLETED
