"""What a notebook shows of a scheduler, its jobs and its history."""

from datetime import datetime, timedelta

from chrono_async import AsyncScheduler
from chrono_async.testing import Simulation

SCRIPT = "<script>alert('x')</script>"


async def scheduler_with_an_evil_job(sim: Simulation) -> AsyncScheduler:
    async def fail() -> None:
        raise ValueError(SCRIPT)

    s = AsyncScheduler(clock=sim.clock, instance_id=SCRIPT)
    await s.start()
    await s.add_interval_job(f"id {SCRIPT}", SCRIPT, fail, timedelta(seconds=1))
    await s.add_cron_job("nightly", "", fail, "0 3 * * *", timezone="Europe/London", end_at=sim.now + timedelta(days=9))
    await s.add_one_shot_job("once", "", fail, 3600)
    await sim.advance(2)
    return s


async def test_jobs_are_shown_as_a_table_and_escaped(sim: Simulation) -> None:
    """A job's name is somebody's input, and so is the text of an exception."""
    s = await scheduler_with_an_evil_job(sim)
    html = (await s.list_jobs())._repr_html_()  # type: ignore[attr-defined]  # the list is typed as any list
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "<td>0 3 * * * (Europe/London)</td>" in html
    assert "<td>every 0:00:01</td>" in html
    assert "<td>once, at 2026-01-01 01:00:00 UTC</td>" in html
    await s.stop()


async def test_the_history_is_shown_as_a_table_and_escaped(sim: Simulation) -> None:
    """The same for runs."""
    s = await scheduler_with_an_evil_job(sim)
    html = (await s.list_runs())._repr_html_()  # type: ignore[attr-defined]
    assert html.count("<td>failed</td>") == 2
    assert "<script" not in html
    assert "ValueError: &lt;script&gt;" in html
    await s.stop()


async def test_a_scheduler_shows_how_it_is_doing_and_its_jobs(sim: Simulation) -> None:
    """Without asking the storage: a notebook cannot await here."""
    s = await scheduler_with_an_evil_job(sim)
    html = s._repr_html_()
    assert "<td>running</td>" in html
    assert "<script" not in html
    assert "in memory, for one process" in html
    await s.stop()
    assert "<td>not running</td>" in s._repr_html_()


async def test_a_schedule_of_ones_own_is_shown_as_its_author_says(sim: Simulation) -> None:
    """Not as what it is wrapped in here."""

    class EveryFullMoon:
        def next(self, after: datetime) -> datetime:
            return after + timedelta(days=29)

        def __str__(self) -> str:
            return "every full moon"

    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_job("tide", "", print, EveryFullMoon())
        await s.add_job("high tide", "", print, EveryFullMoon(), end_at=sim.now + timedelta(days=99))
        for html in (s._repr_html_(), (await s.list_jobs())._repr_html_()):  # type: ignore[attr-defined]
            assert html.count("<td>every full moon</td>") == 2


async def test_a_long_list_is_cut(sim: Simulation) -> None:
    """A notebook with a hundred thousand rows would be of no use."""
    async with AsyncScheduler(clock=sim.clock) as s:
        for number in range(101):
            await s.add_interval_job(f"job {number}", "", print, 60)
        assert "<p>and 1 more</p>" in (await s.list_jobs())._repr_html_()  # type: ignore[attr-defined]
        assert "<p>and 1 more</p>" in s._repr_html_()
