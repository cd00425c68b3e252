"""Tests of jobs, in virtual time: `pytest examples/test_jobs.py`. The fixture `sim` comes with the package."""

from datetime import UTC, datetime, timedelta

from chrono_async import AsyncScheduler, CronSchedule, JobStatus, current_run
from chrono_async.testing import Simulation

WEEKDAYS_AT_EIGHT = CronSchedule("0 8 * * 1-5")


def test_the_report_is_due_on_weekdays_at_eight() -> None:
    """A schedule is a value: it can be asked without a scheduler."""
    week = WEEKDAYS_AT_EIGHT.occurrences(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 8, tzinfo=UTC))
    assert [time.strftime("%a %H:%M") for time in week] == [
        f"{day} 08:00" for day in ("Thu", "Fri", "Mon", "Tue", "Wed")
    ]


async def test_an_hour_of_cleaning(sim: Simulation) -> None:
    """It passes in some milliseconds."""
    times = []

    async def cleanup() -> None:
        times.append(current_run().fire_time.minute)

    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_cron_job("cleanup", "", cleanup, "*/15 * * * *")
        await sim.advance(timedelta(hours=1))
    assert times == [15, 30, 45, 0]


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
