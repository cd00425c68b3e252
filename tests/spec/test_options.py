"""
The options of a job: the same for every verb and every decorator.
"""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from chrono_async import AsyncScheduler, JobStatus, Retry, current_run
from chrono_async.testing import Recorder

SECOND = timedelta(seconds=1)


class Flaky:
    """A job that fails so often before it works; `tries` holds when it was called."""

    def __init__(self, clock, failures, error=None):
        self.clock, self.failures, self.error, self.tries = clock, failures, error or ValueError("oh"), []

    async def job(self):
        self.tries.append(self.clock.now())
        if len(self.tries) <= self.failures:
            raise self.error

    def pauses(self):
        return [(later - sooner) / SECOND for sooner, later in zip(self.tries, self.tries[1:], strict=False)]


# ── timeout ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_timeout_ends_a_try(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("slow", "", sim.sleep, 1, args=(60,), timeout=5)
        result = await s.wait_for_job("slow")
    assert (result.status, result.duration) == (JobStatus.FAILED, 5 * SECOND)
    assert isinstance(result.error, TimeoutError)
    assert str(result.error) == "job 'slow' was not done within 5 s"


async def test_it_bounds_each_try_and_not_all_together(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("slow", "", sim.sleep, 1, args=(60,), timeout=timedelta(seconds=5), max_retries=2)
        result = await s.wait_for_job("slow")
    assert (result.retry_count, result.duration) == (2, 15 * SECOND)


async def test_a_body_that_swallows_its_cancellation_has_timed_out_all_the_same(sim):
    async def stubborn():
        try:
            await sim.sleep(60)
        except asyncio.CancelledError:
            return

    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("it", "", stubborn, 1, timeout=5)
        assert isinstance((await s.wait_for_job("it")).error, TimeoutError)


# ── retries ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_max_retries_is_how_many_more_tries_follow_at_once(sim):
    flaky = Flaky(sim.clock, failures=9)
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("it", "", flaky.job, 1, max_retries=3)
        result = await s.wait_for_job("it")
    assert flaky.pauses() == [0, 0, 0]
    assert (result.status, result.retry_count) == (JobStatus.FAILED, 3)


async def test_a_try_that_works_is_the_last(sim):
    flaky = Flaky(sim.clock, failures=1)
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("it", "", flaky.job, 1, max_retries=3)
        result = await s.wait_for_job("it")
        info = await s.get_job("it")
    assert (result.status, result.error, result.retry_count) == (JobStatus.COMPLETED, None, 1)
    assert (info.run_count, info.error_count, info.last_error) == (1, 0, "")


async def test_a_run_counts_once_however_many_tries_it_took(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("it", "", Flaky(sim.clock, failures=9).job, 1, max_retries=3)
        await s.wait_for_job("it")
        info = await s.get_job("it")
    assert (info.run_count, info.error_count) == (1, 1)


async def test_a_retry_may_wait_longer_each_time_up_to_a_ceiling(sim):
    flaky = Flaky(sim.clock, failures=9)
    retry = Retry(max_retries=5, delay=1, backoff=3, max_delay=10, jitter=False)
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("it", "", flaky.job, 1, max_retries=retry)
        await s.wait_for_job("it")
    assert flaky.pauses() == [1, 3, 9, 10, 10]


async def test_a_pause_that_is_longer_than_the_usual_ceiling_is_kept(sim):
    flaky = Flaky(sim.clock, failures=9)
    retry = Retry(max_retries=3, delay=3600, jitter=False)
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("it", "", flaky.job, 1, max_retries=retry)
        await s.wait_for_job("it")
    assert flaky.pauses() == [3600, 3600, 3600]


async def test_tries_at_once_leave_the_loop_to_others_in_between(sim):
    """Although the function fails before it has awaited anything."""
    tries, seen = [], []

    async def fails():
        tries.append(None)
        asyncio.get_running_loop().call_soon(lambda: seen.append(len(tries)))
        raise ValueError

    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("it", "", fails, 1, max_retries=2)
        await s.wait_for_job("it")
    assert seen == [1, 2, 3]


async def test_jitter_spreads_the_pauses_below_that(sim):
    flaky = Flaky(sim.clock, failures=50)
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("it", "", flaky.job, 1, max_retries=Retry(max_retries=50, delay=10, backoff=1))
        await s.wait_for_job("it")
    assert all(0 <= pause <= 10 for pause in flaky.pauses())
    assert len(set(flaky.pauses())) > 40


async def test_only_what_is_worth_it_is_tried_again(sim):
    flaky, broken = Flaky(sim.clock, 1, ConnectionError()), Flaky(sim.clock, 1, KeyError())
    retry = Retry(max_retries=3, delay=0, on=(ConnectionError, TimeoutError))
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("flaky", "", flaky.job, 1, max_retries=retry)
        await s.add_one_shot_job("broken", "", broken.job, 1, max_retries=retry)
        await s.add_one_shot_job("slow", "", sim.sleep, 1, args=(60,), timeout=5, max_retries=retry)
        results = [await s.wait_for_job(job_id) for job_id in ("flaky", "broken", "slow")]
    assert [result.retry_count for result in results] == [1, 0, 3]


async def test_a_pause_longer_than_the_lease_gives_the_run_back(sim):
    """Nobody holds a lease for hours to do nothing; the tries are counted on, and so is the run, once."""
    flaky = Flaky(sim.clock, failures=2)
    retry = Retry(max_retries=5, delay=3600, backoff=1, max_delay=7200, jitter=False)
    async with AsyncScheduler(clock=sim.clock, lock_ttl=60) as s:
        await s.add_one_shot_job("it", "", flaky.job, 1, max_retries=retry)
        await sim.advance(10)
        assert (await s.get_job("it")).status is JobStatus.PENDING
        result = await s.wait_for_job("it")
        assert (result.status, result.retry_count) == (JobStatus.COMPLETED, 2)
        assert (await s.get_job("it")).run_count == 1
    assert flaky.pauses() == [3600, 3600]


async def test_a_drain_does_not_wait_for_the_next_try(sim):
    """It is left to the next start, which does not begin to count from the first."""
    flaky, results = Flaky(sim.clock, failures=2), []
    retry = Retry(max_retries=5, delay=100, backoff=1, jitter=False)
    s = AsyncScheduler(clock=sim.clock)
    await s.add_one_shot_job("it", "", flaky.job, 1, max_retries=retry, on_result=results.append)
    await s.start()
    await sim.advance(2)
    begin = sim.now
    await s.stop()
    assert sim.now == begin
    assert results == []
    async with s:
        await sim.advance(300)
    assert [(result.status, result.retry_count) for result in results] == [(JobStatus.COMPLETED, 2)]
    assert flaky.pauses() == [100, 100]


# ── callbacks ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["plain", "coroutine"])
async def test_callbacks_come_once_a_run_after_its_last_try(sim, kind):
    calls = []

    def callback(name):
        def plain(*args):
            calls.append((name, *args))

        async def coroutine(*args):
            await sim.sleep(1)
            calls.append((name, *args))

        return plain if kind == "plain" else coroutine

    callbacks = {name: callback(name) for name in ("on_success", "on_error", "on_result")}
    error = ValueError("oh")
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("bad", "", Flaky(sim.clock, 9, error).job, 1, max_retries=2, **callbacks)
        bad = await s.wait_for_job("bad")
        await sim.advance(5)
        assert calls == [("on_error", "bad", error), ("on_result", bad)]
        calls.clear()
        await s.add_one_shot_job("good", "", Flaky(sim.clock, 1).job, 1, max_retries=2, **callbacks)
        good = await s.wait_for_job("good")
        await sim.advance(5)
        assert calls == [("on_success", "good"), ("on_result", good)]


async def test_a_drain_waits_for_them(sim):
    calls = []

    async def slow(result):
        await sim.sleep(5)
        calls.append(result.status)

    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("it", "", Flaky(sim.clock, 0).job, 1, on_result=slow)
        await s.wait_for_job("it")
    assert calls == [JobStatus.COMPLETED]


@pytest.mark.parametrize("error", [ZeroDivisionError("in the callback"), SystemExit(1), asyncio.CancelledError()])
async def test_one_that_raises_is_logged_and_harms_nothing(sim, caplog, error):
    results = []

    def raises(job_id):
        raise error

    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("it", "", Flaky(sim.clock, 0).job, 10, on_success=raises, on_result=results.append)
        await sim.advance(20)
        assert (await s.get_job("it")).error_count == 0
    assert len(results) == 2
    assert "raises" in caplog.text


async def test_a_cancelled_run_is_neither_success_nor_error_but_it_is_a_result(sim):
    calls = []
    recorder = Recorder(sim.clock)
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job(
            "slow",
            "",
            recorder.job,
            10,
            args=(15,),
            overlap="cancel_running",
            on_success=calls.append,
            on_error=lambda job_id, error: calls.append(error),
            on_result=lambda result: calls.append(result.status),
        )
        await sim.advance(21)
        assert calls == [JobStatus.CANCELLED]


# ── when ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_start_at_and_end_at_bound_the_fire_times(sim):
    """And an interval's grid begins at its `start_at`."""
    recorder, begin = Recorder(sim.clock), sim.now
    async with AsyncScheduler(clock=sim.clock) as s:
        info = await s.add_interval_job(
            "beat", "", recorder.job, 10, start_at=begin + 5 * SECOND, end_at=begin + 25 * SECOND
        )
        assert info.next_run == begin + 5 * SECOND
        await sim.advance(60)
        assert (await s.get_job("beat")).next_run is None
    assert recorder.fire_times() == [begin + n * SECOND for n in (5, 15, 25)]


async def test_they_bound_a_cron_job_too(sim):
    recorder, begin = Recorder(sim.clock), sim.now
    async with AsyncScheduler(clock=sim.clock) as s:
        start_at, end_at = datetime(2026, 1, 1, 0, 2, tzinfo=UTC), datetime(2026, 1, 1, 0, 4, 59, tzinfo=UTC)
        await s.add_cron_job("tick", "", recorder.job, "* * * * *", start_at=start_at, end_at=end_at)
        await sim.advance(600)
    assert recorder.fire_times() == [begin + n * 60 * SECOND for n in (2, 3, 4)]


async def test_after_max_runs_the_job_is_finished(sim):
    recorder = Recorder(sim.clock)
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("beat", "", recorder.job, 10, max_runs=3)
        await sim.advance(300)
        info = await s.get_job("beat")
    assert (info.run_count, info.next_run, info.status) == (3, None, JobStatus.COMPLETED)
    assert len(recorder.runs) == 3


async def test_max_runs_outlives_a_restart(sim):
    recorder = Recorder(sim.clock)
    s = AsyncScheduler(clock=sim.clock)
    for _ in range(3):
        async with s:
            await s.add_interval_job("beat", "", recorder.job, 10, max_runs=3, replace=True)
            await sim.advance(20)
    assert len(recorder.runs) == 3


async def test_jitter_starts_a_run_later_and_changes_nothing_else(sim):
    recorder = Recorder(sim.clock)
    async with AsyncScheduler(clock=sim.clock) as s:
        begin = sim.now
        await s.add_interval_job("beat", "", recorder.job, 100, jitter=20)
        await sim.advance(1050)
    assert recorder.fire_times() == [begin + n * 100 * SECOND for n in range(1, 11)]
    late = [run.lateness for run in recorder.runs]
    assert all(timedelta(0) <= lateness <= 20 * SECOND for lateness in late)
    assert len(set(late)) == 10


async def test_jitter_is_the_same_on_every_instance(sim):
    """It is hashed from job and fire time, so that a run that another one takes over starts when it would have."""
    here, there = Recorder(sim.clock), Recorder(sim.clock)
    async with AsyncScheduler(clock=sim.clock) as s, AsyncScheduler(clock=sim.clock) as other:
        await s.add_interval_job("beat", "", here.job, 100, jitter=20)
        await other.add_interval_job("beat", "", there.job, 100, jitter=20)
        await other.add_interval_job("another", "", there.job, 100, jitter=20)
        await sim.advance(550)
    lateness = [run.lateness for run in here.runs]
    assert lateness == [run.lateness for run in there.of("beat")]
    assert lateness != [run.lateness for run in there.of("another")]


async def test_run_immediately_makes_the_first_run_due_at_once(sim):
    recorder, begin = Recorder(sim.clock), sim.now
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("beat", "", recorder.job, 10, run_immediately=True)
        await sim.advance(10)
    assert recorder.fire_times() == [begin, begin + 10 * SECOND]


async def test_but_only_at_creation(sim):
    """A restart is no reason to run."""
    recorder, begin = Recorder(sim.clock), sim.now
    s = AsyncScheduler(clock=sim.clock)
    for _ in range(2):
        async with s:
            await s.add_interval_job("beat", "", recorder.job, 10, run_immediately=True, replace=True)
            await sim.advance(5)
    assert recorder.fire_times() == [begin, begin + 10 * SECOND]


# ── what ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_args_and_kwargs_go_to_the_function(sim):
    calls = []

    async def work(*args, **kwargs):
        calls.append((args, kwargs))

    thing = object()
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("it", "", work, 1, args=[thing], kwargs={"colour": "red"})
        await s.wait_for_job("it")
    assert calls == [((thing,), {"colour": "red"})]


async def test_tags_are_kept_with_the_job(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("it", "", print, 10, tags=["nightly", "money"])
        (job,) = await s.list_jobs()
    assert job.tags == ("nightly", "money")


async def test_recovery_decides_whether_a_run_cut_short_is_repeated(sim):
    seen = []

    async def job():
        seen.append((current_run().job_id, current_run().fire_time))
        await sim.sleep(5)

    s = AsyncScheduler(clock=sim.clock)
    for recovery in ("rerun", "skip"):
        await s.add_one_shot_job(recovery, "", job, 1, recovery=recovery)
    await s.start()
    await sim.advance(2)
    await s.stop(timeout=0)
    async with s:
        await sim.advance(10)
    assert sorted(job_id for job_id, _ in seen) == ["rerun", "rerun", "skip"]
