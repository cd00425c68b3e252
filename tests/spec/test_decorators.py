"""
Jobs declared where their functions are written: `@s.cron("0 8 * * 1-5")`.
"""

import asyncio
import textwrap
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial, wraps
from types import ModuleType

import pytest

from chrono_async import (
    AsyncScheduler,
    CronSchedule,
    EmptyJobIDError,
    InvalidCronExprError,
    InvalidIntervalError,
    InvalidJobFuncError,
    InvalidOptionError,
    JobAlreadyExistsError,
    OneShotSchedule,
    ScheduleError,
    SystemClock,
    WindowedSchedule,
)
from chrono_async.testing import Recorder


async def work():
    """A job."""


async def test_they_declare_the_three_kinds_of_jobs_and_any_other(sim):
    ran = []
    s = AsyncScheduler(clock=sim.clock)

    @s.cron("*/5 * * * *")
    async def cleanup():
        ran.append("cleanup")

    @s.interval(timedelta(minutes=4))
    async def heartbeat():
        ran.append("heartbeat")

    @s.one_shot(5)
    async def init():
        ran.append("init")

    @s.job(CronSchedule("6 * * * *"))
    async def other():
        ran.append("other")

    async with s:
        await sim.advance(400)
    assert ran == ["init", "heartbeat", "cleanup", "other"]


def test_the_function_comes_back_unchanged():
    """So that it can be called, tested and imported as if nobody had decorated it."""
    s = AsyncScheduler()

    async def report():
        pass

    assert s.cron("@daily")(report) is report
    assert s.interval(5, id="b")(report) is report
    assert s.one_shot(5, id="c")(report) is report
    assert s.job(CronSchedule("@daily"), id="d")(report) is report


async def test_id_and_name_default_to_the_functions(sim):
    s = AsyncScheduler(clock=sim.clock)

    @s.cron("@daily")
    async def report():
        pass

    @s.cron("@daily", id="weekly-report", name="The report of the week")
    async def another():
        pass

    async with s:
        assert {job.id: job.name for job in await s.list_jobs()} == {
            "report": "report",
            "weekly-report": "The report of the week",
        }


async def test_options_are_those_of_all_jobs(sim):
    results = []
    s = AsyncScheduler(clock=sim.clock)

    @s.one_shot(1, timeout=10, max_retries=2, on_result=results.append, tags=["slow"])
    async def fetch():
        await sim.sleep(60)

    async with s:
        await sim.advance(60)
        assert (await s.get_job("fetch")).tags == ("slow",)
    assert [(result.retry_count, result.duration) for result in results] == [(2, timedelta(seconds=30))]


async def test_a_declared_delay_counts_from_the_start(sim):
    """Whenever the module was imported."""
    s = AsyncScheduler(clock=sim.clock)
    s.one_shot(5, id="init")(work)
    await sim.advance(3600)
    async with s:
        assert (await s.get_job("init")).next_run == sim.now + timedelta(seconds=5)


async def test_an_instant_is_the_instant(sim):
    at = datetime(2026, 12, 31, 23, 59, tzinfo=UTC)
    s = AsyncScheduler(clock=sim.clock)
    s.one_shot(at=at, id="eve")(work)
    async with s:
        assert (await s.get_job("eve")).next_run == at


@pytest.mark.parametrize("start_at", [None, datetime(2025, 1, 1, tzinfo=UTC)])
async def test_a_delay_in_a_schedule_counts_from_the_start_unless_it_says_when(sim, start_at):
    """Within a window too."""

    def declare(job_id, schedule):
        s.job(schedule if start_at is None else WindowedSchedule(schedule, start_at=start_at), id=job_id)(work)

    at = sim.now + timedelta(days=1)
    s = AsyncScheduler(clock=sim.clock)
    declare("init", OneShotSchedule(5))
    declare("eve", OneShotSchedule(5, at=at))
    declare("day", OneShotSchedule(at=at))
    await sim.advance(3600)
    async with s:
        due = {job.id: job.next_run for job in await s.list_jobs()}
    assert due == {"init": sim.now + timedelta(seconds=5), "eve": at, "day": at}


async def test_on_a_running_scheduler_the_loop_registers_the_job(sim):
    ran = []
    async with AsyncScheduler(clock=sim.clock, storage_poll_interval=3600) as s:
        await sim.advance(60)

        @s.interval(10)
        async def beat():
            ran.append(sim.now)

        await sim.advance(10)
    assert len(ran) == 1


class Notebook:
    """Runs cells as a notebook does: each is compiled anew, as a file that is named after what it says."""

    def __init__(self, **names):
        self.names = {"__name__": "__main__"} | names

    def run(self, cell):
        exec(compile(textwrap.dedent(cell), f"<cell {cell!r}>", "exec"), self.names)  # noqa: S102  # that is a notebook


async def test_a_cell_of_a_notebook_that_is_run_again_replaces_its_job(sim):
    s, ran = AsyncScheduler(clock=sim.clock), []
    notebook = Notebook(s=s, ran=ran)

    cell = """
        @s.interval(10)
        async def beat():
            ran.append(1)
    """
    for _ in range(2):
        notebook.run(cell)
    async with s:
        await sim.advance(10)
        notebook.run(cell.replace("10", "5").replace("1)", "2)"))
        await sim.advance(10)
        notebook.run(cell)
        await sim.advance(10)
    assert ran == [1, 2, 2, 1]


@pytest.mark.parametrize(
    ("others", "cell"),
    [
        ("", "s.interval(5, id='it')(lambda: None)"),
        ("", "\n\ns.interval(5, id='it')(lambda: 1 + 1)"),
        ("async def work(n): ...", "s.interval(5, id='it')(partial(work, 1))"),
        ("", "async def work(n): ...\ns.interval(5, id='it')(partial(work, 1))"),
        ("log = lambda f: wraps(f)(lambda: f())", "@s.interval(5, id='it')\n@log\ndef work(): ..."),
        ("class Shop:\n  def poll(self): ...\nshop = Shop()", "s.interval(5, id='it')(shop.poll)"),
        ("", "class Shop:\n  def poll(self): ...\ns.interval(5, id='it')(Shop().poll)"),
    ],
)
@pytest.mark.parametrize("is_running", [False, True])
async def test_so_does_a_cell_that_declares_what_has_no_name_of_its_own(sim, others, cell, is_running):
    """A lambda, a partial, a wrapper, a method; as it was, or edited."""
    s = AsyncScheduler(clock=sim.clock)
    notebook = Notebook(s=s, partial=partial, wraps=wraps)
    notebook.run(others)
    async with s if is_running else nullcontext():
        for again in (cell, cell, f"# edited\n{cell}"):
            notebook.run(again)
            await sim.settle()


def test_a_module_that_is_loaded_again_replaces_its_jobs():
    """Wherever its functions have moved to."""
    module, text = ModuleType("jobs_of_mine"), "@s.interval(5)\ndef beat(): ...\n"
    module.s = AsyncScheduler()
    for edited in (text, text, f"# edited\n\n{text}"):
        exec(compile(edited, "jobs_of_mine.py", "exec"), vars(module))  # noqa: S102  # as importlib does


def by_a_factory(s):
    def poll(shop):
        @s.interval(60)
        async def poll_shop():
            return shop

    for shop in ("london", "paris"):
        poll(shop)


def by_a_loop(s):
    for shop in ("london", "paris"):

        @s.interval(60)
        @wraps(work)
        async def poll(shop=shop):
            return shop


def by_partials(s):
    for shop in ("london", "paris"):
        s.interval(60, id="poll")(partial(asyncio.sleep, 1, shop))


def by_methods(s):
    for _ in range(2):
        s.interval(60)(Recorder(SystemClock()).job)


def by_two_lambdas(s):
    s.interval(60)(lambda: 1)
    s.interval(60)(lambda: 2)


@pytest.mark.parametrize("declare", [by_a_factory, by_a_loop, by_partials, by_methods, by_two_lambdas])
@pytest.mark.parametrize("is_running", [False, True])
async def test_what_a_loop_or_a_factory_declares_again_needs_an_id_of_its_own(sim, declare, is_running):
    """Each would end the one before, and of all these jobs only the last would run."""
    s = AsyncScheduler(clock=sim.clock)
    async with s if is_running else nullcontext():
        with pytest.raises(JobAlreadyExistsError):
            declare(s)


async def test_nor_does_it_take_the_place_of_what_an_earlier_cell_declared(sim):
    """The first that it declares does, and waits for its registration when the second comes."""
    factory = """
        def make():
            @s.interval(60)
            async def poll(): ...
        make()
    """
    async with AsyncScheduler(clock=sim.clock) as s:
        notebook = Notebook(s=s)
        notebook.run(factory)
        await sim.settle()
        with pytest.raises(JobAlreadyExistsError):
            notebook.run(factory + "    make()")


async def test_but_each_start_may_declare_its_jobs(sim):
    """As the lifespan of a service does, which a test of it starts more than once."""
    s, ran = AsyncScheduler(clock=sim.clock), []

    async def lifespan(number):
        @s.interval(60)
        async def beat():
            ran.append(number)

        async with s:
            await sim.advance(60)

    await lifespan(1)
    await lifespan(2)
    assert ran == [1, 2]


async def test_the_very_same_function_may_be_declared_again(sim):
    s, recorder = AsyncScheduler(clock=sim.clock), Recorder(sim.clock)
    for every in (60, 30):
        s.interval(every, id="function")(work)
        s.interval(every, id="method")(recorder.job)
    async with s:
        await sim.advance(30)
    assert len(recorder.runs) == 1


async def test_another_function_of_the_same_name_is_refused(sim):
    """Two modules that both have a `report` would take turns otherwise."""
    s = AsyncScheduler(clock=sim.clock)

    @s.cron("@daily")
    async def report():
        pass

    first = report

    def elsewhere():
        @s.cron("@hourly")
        async def report():
            pass

    with pytest.raises(JobAlreadyExistsError, match="report"):
        elsewhere()
    async with s:
        with pytest.raises(JobAlreadyExistsError, match="report"):
            elsewhere()
        assert str((await s.get_job("report")).schedule) == "@daily"
    assert first is report


async def test_a_name_is_free_again_when_its_job_was_removed(sim):
    s = AsyncScheduler(clock=sim.clock)
    s.cron("@daily", id="report")(work)
    async with s:
        await s.remove_job("report")
        s.cron("@hourly", id="report", args=(1,))(sim.sleep)
        await sim.settle()
        assert str((await s.get_job("report")).schedule) == "@hourly"


@pytest.mark.parametrize(
    ("declare", "error"),
    [
        (lambda s: s.cron("0 24 * * *"), InvalidCronExprError),
        (lambda s: s.interval(0), InvalidIntervalError),
        (lambda s: s.one_shot(), ScheduleError),
        (lambda s: s.job("* * * * *")(print), ScheduleError),
        (lambda s: s.interval(5)("print"), InvalidJobFuncError),
        (lambda s: s.interval(5, id="")(print), EmptyJobIDError),
        (lambda s: s.interval(5, id=7)(print), TypeError),
        (lambda s: s.interval(5, name=7)(print), TypeError),
        (lambda s: s.interval(5, max_retries=-1)(print), InvalidOptionError),
        (lambda s: s.interval(5, nice=True)(print), InvalidOptionError),
        (
            lambda s: s.interval(5, start_at=datetime(2026, 1, 2, tzinfo=UTC), end_at=datetime(2026, 1, 1, tzinfo=UTC))(
                print
            ),
            InvalidOptionError,
        ),
    ],
)
async def test_what_cannot_be_is_refused_where_it_is_written(declare, error):
    """Not later, at the start, where nobody would know which one it was."""
    s = AsyncScheduler()
    with pytest.raises(error):
        declare(s)
    async with s:
        assert await s.list_jobs() == []


async def test_what_cannot_be_registered_on_a_running_scheduler_is_logged_and_harms_no_other(sim, caplog):
    class Broken:
        def next(self, after):
            raise ZeroDivisionError

    async with AsyncScheduler(clock=sim.clock) as s:
        s.job(Broken(), id="broken")(work)
        s.interval(5, id="sound")(work)
        await sim.advance(1)
        assert [job.id for job in await s.list_jobs()] == ["sound"]
    assert "job 'broken' cannot be registered" in caplog.text
