"""
A job that blocks the event loop is found out: its name, and the line.

In real time, since simulated time cannot be blocked; and for a few tenths of a second only.
"""

import asyncio
import inspect
import time
from pathlib import Path

from chrono_async import AsyncScheduler
from chrono_async.events import LoopBlocked


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
