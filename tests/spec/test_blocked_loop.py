"""
A job that blocks the event loop is found out: its name, and the line.

In real time, since simulated time cannot be blocked; and for a few tenths of a second only.
"""

import asyncio
import inspect
import threading
import time
from functools import partial
from pathlib import Path

from chrono_async import AsyncScheduler, RunStatus, current_run
from chrono_async.events import LeaseLost, LoopBlocked
from chrono_async.storage import SQLiteStorage


async def rude():
    time.sleep(0.3)  # noqa: ASYNC251  # that is the point


LINE = inspect.getsourcelines(rude)[1] + 1


async def reports_of(func, threshold):
    """Run `func` once as a job, and return what was told of the loop."""
    async with AsyncScheduler(blocked_loop_threshold=threshold) as s:
        with s.events(LoopBlocked) as events:
            await s.add_one_shot_job("the-job", "", func, 0.01)
            await s.wait_for_job("the-job", timeout=10)
            await asyncio.sleep(0.05)
        return [event async for event in events]


async def test_it_is_told_which_job_and_where(caplog):
    report = next(r for r in await reports_of(rude, threshold=0.05) if r.job_id == "the-job")
    assert report.where == f"{Path(__file__)}:{LINE} in rude"
    assert 0.05 <= report.seconds <= 5
    assert "blocked for more than 0.05 s by job 'the-job' at" in caplog.text
    assert "move blocking work into a plain function" in caplog.text


async def test_a_plain_function_blocks_nothing():
    assert await reports_of(lambda: time.sleep(0.6), threshold=0.4) == []


async def test_a_job_that_awaits_blocks_nothing():
    assert await reports_of(lambda: asyncio.sleep(0.6), threshold=0.4) == []


async def test_the_watch_can_be_left_out(caplog):
    assert await reports_of(rude, threshold=None) == []
    assert "blocked" not in caplog.text


async def test_where_no_thread_is_to_be_had_nobody_watches(caplog, monkeypatch):
    """Jobs run all the same, and the log says what is missing."""

    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert await reports_of(partial(asyncio.sleep, 0), threshold=1) == []
    assert "nobody will tell what blocks the event loop: can't start new thread" in caplog.text


async def test_one_that_blocks_for_longer_than_its_lease_loses_it(tmp_path):
    """Nothing can be renewed on a loop that stands still: another instance runs the occurrence, and that is counted."""
    has_begun, is_taken_over, lost = threading.Event(), threading.Event(), []

    async def blocks():
        has_begun.set()
        assert is_taken_over.wait(60)

    async def takes_over():
        is_taken_over.set()
        return current_run()

    def instance(name):
        storage = SQLiteStorage(tmp_path / "jobs.db")
        s = AsyncScheduler(storage=storage, instance_id=name, lock_ttl=0.6, storage_poll_interval=0.1)
        return s, storage

    async def live():
        s, storage = instance("blocked")
        s.subscribe(lost.append, LeaseLost)
        async with s:
            await s.add_one_shot_job("it", "", blocks, 0.01)
            await asyncio.to_thread(is_taken_over.wait, 60)
        await storage.close()

    blocked = asyncio.create_task(asyncio.to_thread(asyncio.run, live()))
    assert await asyncio.to_thread(has_begun.wait, 60)
    s, storage = instance("other")
    async with s:
        await s.add_one_shot_job("it", "", takes_over, 0.01)
        result = await s.wait_for_job("it", timeout=60)
        await blocked
        rows = await s.list_runs("it")
        assert (await s.get_job("it")).run_count == 1
    await storage.close()
    assert [(row.status, row.instance_id, row.attempt) for row in rows] == [
        (RunStatus.COMPLETED, "other", 2), (RunStatus.ABANDONED, "blocked", 1)
    ]  # fmt: skip
    assert result.error is None
    assert [event.job_id for event in lost] == ["it"]
