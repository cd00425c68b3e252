"""
Tests of jobs, in virtual time: `pytest -p chrono_async.testing.pytest_plugin examples/test_jobs.py`.

A project would have `pytest_plugins = ["chrono_async.testing.pytest_plugin"]` in its conftest instead.
"""

from datetime import UTC, datetime, timedelta

from chrono_async import AsyncScheduler, JobStatus, current_run
from chrono_async.testing import Simulation


async def test_the_report_runs_on_weekdays_at_eight(sim: Simulation) -> None:
    """A week passes in some milliseconds."""
    days = []

    async def report() -> None:
        days.append(current_run().fire_time.strftime("%a"))

    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_cron_job("report", "", report, "0 8 * * 1-5")
        await sim.until(datetime(2026, 1, 8, tzinfo=UTC))
    assert days == ["Thu", "Fri", "Mon", "Tue", "Wed"]


async def test_a_slow_fetch_is_timed_out(sim: Simulation) -> None:
    """Nobody waits for the ten seconds."""

    async def fetch() -> None:
        await sim.sleep(timedelta(hours=1))

    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("fetch", "", fetch, 1, timeout=10)
        result = await s.wait_for_job("fetch")
    assert result.status is JobStatus.FAILED
    assert isinstance(result.error, TimeoutError)
    assert result.duration == timedelta(seconds=10)
