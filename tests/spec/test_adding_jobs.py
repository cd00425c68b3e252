"""
Adding jobs: `add_job` with any schedule, and a verb for each kind. Id, name, function, schedule, then options.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from chrono_async import (
    AsyncScheduler,
    CronSchedule,
    EmptyJobIDError,
    InMemoryStorage,
    IntervalSchedule,
    InvalidCronExprError,
    InvalidDelayError,
    InvalidIntervalError,
    InvalidJobFuncError,
    InvalidOptionError,
    JobAlreadyExistsError,
    JobInfo,
    JobNotFoundError,
    JobStatus,
    OneShotSchedule,
    ScheduleError,
)
from chrono_async.testing import Recorder, YieldingStorage


async def work(*args):
    """A job."""


class QuietStorage(InMemoryStorage):
    """Gives no hints that anything has changed: only the poll would find it."""

    async def changes(self):
        await asyncio.Event().wait()
        yield


async def test_the_three_kinds_of_jobs(sim):
    ran = []

    def job(name):
        async def run():
            ran.append((name, sim.now.strftime("%M:%S")))

        return run

    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_cron_job("cleanup", "Temp Cleanup", job("cleanup"), "*/5 * * * *")
        await s.add_interval_job("heartbeat", "Heartbeat", job("heartbeat"), timedelta(minutes=4))
        await s.add_one_shot_job("init", "Initialize Cache", job("init"), timedelta(seconds=5))
        await sim.advance(600)
    assert ran == [
        ("init", "00:05"),
        ("heartbeat", "04:00"),
        ("cleanup", "05:00"),
        ("heartbeat", "08:00"),
        ("cleanup", "10:00"),
    ]


@pytest.mark.parametrize(
    ("schedule", "seconds"),
    [(CronSchedule("*/10 * * * *"), 600), (IntervalSchedule(timedelta(minutes=5)), 300)],
)
async def test_any_schedule_can_be_added(sim, schedule, seconds):
    async with AsyncScheduler(clock=sim.clock) as s:
        info = await s.add_job("my-job", "My Job", work, schedule)
    assert info.next_run == sim.now + timedelta(seconds=seconds)


async def test_a_one_shot_job_can_name_its_instant(sim):
    at = datetime(2026, 12, 31, 23, 59, tzinfo=UTC)
    async with AsyncScheduler(clock=sim.clock) as s:
        assert (await s.add_one_shot_job("eve", "", work, at=at)).next_run == at
        assert (await s.add_job("too", "", work, OneShotSchedule(at=at))).next_run == at


async def test_what_comes_back_tells_all_of_the_job(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        info = await s.add_interval_job("beat", "Heartbeat", work, 30, tags=["infra"])
        assert info == await s.get_job("beat")
        assert info == JobInfo(
            id="beat",
            name="Heartbeat",
            status=JobStatus.PENDING,
            paused=False,
            schedule=IntervalSchedule(30, start=sim.now),
            last_run=None,
            next_run=sim.now + timedelta(seconds=30),
            run_count=0,
            error_count=0,
            last_error="",
            last_success=None,
            tags=("infra",),
        )


async def test_and_it_tells_what_the_runs_have_left(sim):
    async def flaky():
        if sim.now.second != 30:
            raise ValueError("not now")

    async with AsyncScheduler(clock=sim.clock) as s:
        begin = sim.now
        await s.add_interval_job("flaky", "", flaky, 30)
        await sim.advance(60)
        info = await s.get_job("flaky")
    assert (info.status, info.run_count, info.error_count) == (JobStatus.FAILED, 2, 1)
    assert info.last_error == "ValueError: not now"
    assert info.last_run == begin + timedelta(seconds=60)
    assert info.last_success == begin + timedelta(seconds=30)


async def test_while_it_runs_its_status_says_so(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("slow", "", sim.sleep, 1, args=(10,))
        await sim.advance(5)
        assert (await s.get_job("slow")).status is JobStatus.RUNNING
        await sim.advance(10)
        assert (await s.get_job("slow")).status is JobStatus.COMPLETED


async def test_all_jobs_are_listed(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        assert await s.list_jobs() == []
        for job_id in ("a", "b"):
            await s.add_interval_job(job_id, "", work, 30)
        assert sorted(job.id for job in await s.list_jobs()) == ["a", "b"]


async def test_who_is_not_there_is_not_found(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        with pytest.raises(JobNotFoundError, match="no job has the id 'nobody'"):
            await s.get_job("nobody")


async def test_before_the_start_jobs_wait_for_it(sim):
    ran = []

    async def beat():
        ran.append(sim.now)

    s = AsyncScheduler(clock=sim.clock)
    await s.add_interval_job("beat", "", beat, 10)
    await sim.advance(5)
    assert ran == []
    async with s:
        await sim.advance(5)
        assert len(ran) == 1


async def test_while_it_runs_a_new_job_is_on_time(sim):
    """The loop is woken; nobody waits for the next poll."""
    ran = []

    async def now():
        ran.append(sim.now)

    async with AsyncScheduler(storage=QuietStorage(clock=sim.clock), clock=sim.clock, storage_poll_interval=3600) as s:
        await sim.advance(100)
        await s.add_one_shot_job("now", "", now, 0.25)
        due = sim.now + timedelta(seconds=0.25)
        await sim.advance(1)
    assert ran == [due]


async def test_a_name_may_be_empty(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        assert (await s.add_interval_job("beat", "", work, 30)).name == ""


async def test_an_id_must_not_be_empty(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        with pytest.raises(EmptyJobIDError):
            await s.add_interval_job("", "Heartbeat", work, 30)


@pytest.mark.parametrize("job_id", [None, 7, b"beat"])
async def test_an_id_must_be_a_string(sim, job_id):
    async with AsyncScheduler(clock=sim.clock) as s:
        with pytest.raises(TypeError, match="a job's id must be a string"):
            await s.add_interval_job(job_id, "", work, 30)
        assert await s.list_jobs() == []


@pytest.mark.parametrize("name", [None, 7])
async def test_a_name_must_be_a_string(sim, name):
    async with AsyncScheduler(clock=sim.clock) as s:
        with pytest.raises(TypeError, match="name"):
            await s.add_interval_job("beat", name, work, 30)
        assert await s.list_jobs() == []


@pytest.mark.parametrize("func", [None, "work", 7])
async def test_a_function_must_be_one(sim, func):
    async with AsyncScheduler(clock=sim.clock) as s:
        with pytest.raises(InvalidJobFuncError, match="must be callable"):
            await s.add_interval_job("beat", "", func, 30)
        assert await s.list_jobs() == []


async def test_a_coroutine_in_its_place_is_refused_with_advice(sim):
    """It would run once, and never again."""
    async with AsyncScheduler(clock=sim.clock) as s:
        with pytest.raises(InvalidJobFuncError, match="pass the function itself, without calling it"):
            await s.add_interval_job("beat", "", work(), 30)


@pytest.mark.parametrize(
    "options",
    [{"args": (1, 2)}, {"args": ()}, {"args": (1,), "kwargs": {"colour": "red"}}, {"kwargs": {"first": 1, "nr": 2}}],
)
async def test_arguments_that_do_not_fit_are_refused(sim, options):
    """Better now than at three in the morning."""

    async def one(first):
        pass

    async with AsyncScheduler(clock=sim.clock) as s:
        with pytest.raises(InvalidJobFuncError, match="cannot be called with the job's args and kwargs"):
            await s.add_interval_job("beat", "", one, 30, **options)


async def _gives_one_by_one():
    yield 1


def _gives_lazily():
    yield 1


class _Gives:
    async def __call__(self):
        yield 1


@pytest.mark.parametrize("func", [_gives_one_by_one, _gives_lazily, partial(_gives_lazily), _Gives()])
async def test_a_generator_function_is_refused(sim, func):
    """Calling it runs nothing of it."""
    async with AsyncScheduler(clock=sim.clock) as s:
        with pytest.raises(InvalidJobFuncError, match="must not be a generator function"):
            await s.add_interval_job("beat", "", func, 30)
        assert await s.list_jobs() == []


@pytest.mark.parametrize("func", [partial(work, 1), print, type("Callable", (), {"__call__": work})()])
async def test_anything_that_can_be_called_will_do(sim, func):
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_one_shot_job("it", "", func, 1)
        assert (await s.wait_for_job("it")).status is JobStatus.COMPLETED


@pytest.mark.parametrize(
    ("verb", "value", "error"),
    [
        ("add_cron_job", "bad cron", InvalidCronExprError),
        ("add_cron_job", "0 24 * * *", InvalidCronExprError),
        ("add_cron_job", 5, InvalidCronExprError),
        ("add_interval_job", 0, InvalidIntervalError),
        ("add_interval_job", timedelta(seconds=-1), InvalidIntervalError),
        ("add_interval_job", "often", InvalidIntervalError),
        ("add_one_shot_job", 0, InvalidDelayError),
        ("add_one_shot_job", -5, InvalidDelayError),
        ("add_one_shot_job", "later", InvalidDelayError),
        ("add_one_shot_job", None, ScheduleError),
        ("add_one_shot_job", timedelta.max, InvalidDelayError),
        ("add_job", "*/5 * * * *", ScheduleError),
        ("add_job", None, ScheduleError),
        ("add_job", CronSchedule, ScheduleError),
    ],
)
async def test_a_schedule_that_cannot_be_is_refused_and_changes_nothing(sim, verb, value, error):
    async with AsyncScheduler(clock=sim.clock) as s:
        with pytest.raises(error):
            await getattr(s, verb)("beat", "", work, value)
        assert await s.list_jobs() == []


@pytest.mark.parametrize(
    ("verb", "schedule"),
    [
        ("cron", CronSchedule("@daily")),
        ("interval", IntervalSchedule(60)),
        ("one_shot", OneShotSchedule(60)),
    ],
)
async def test_a_schedule_has_a_verb_of_its_own(sim, verb, schedule):
    """The others make one of what they are given, and say which verb takes it as it is."""
    async with AsyncScheduler(clock=sim.clock) as s:
        with pytest.raises(ScheduleError, match="that is a schedule: use add_job"):
            await getattr(s, f"add_{verb}_job")("beat", "", work, schedule)
        with pytest.raises(ScheduleError, match="that is a schedule: use job"):
            getattr(s, verb)(schedule)


@pytest.mark.parametrize("option", ["jitter", "misfire_grace"])
async def test_a_length_that_would_lead_off_the_calendar_is_refused_and_changes_nothing(sim, option):
    async with AsyncScheduler(clock=sim.clock) as s:
        with pytest.raises(InvalidOptionError, match="must not be longer than a century"):
            await s.add_one_shot_job("past", "", work, at=sim.now - timedelta(days=1), **{option: timedelta.max})
        assert await s.list_jobs() == []


async def test_one_may_be_due_when_the_calendar_ends(sim):
    """However much later it might start."""
    last = datetime.max.replace(tzinfo=UTC)
    async with AsyncScheduler(clock=sim.clock) as s:
        assert (await s.add_one_shot_job("last", "", work, at=last, jitter=60, misfire_grace=60)).next_run == last


async def test_an_option_that_does_not_exist_is_refused(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        with pytest.raises(InvalidOptionError, match="retries=3: there is no such option"):
            await s.add_interval_job("beat", "", work, 30, retries=3)


async def test_an_id_is_taken_once(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("beat", "first", work, 30)
        with pytest.raises(JobAlreadyExistsError, match=r"'beat'.*replace=True"):
            await s.add_cron_job("beat", "second", work, "@daily")
        assert (await s.get_job("beat")).name == "first"


async def test_also_when_two_ask_for_it_at_once(sim):
    """Nothing of the one that is refused may reach the storage."""
    s = AsyncScheduler(storage=YieldingStorage(InMemoryStorage(clock=sim.clock)), clock=sim.clock)
    adding = (s.add_interval_job("beat", name, work, 30) for name in ("first", "second"))
    first, second = await asyncio.gather(*adding, return_exceptions=True)
    assert isinstance(second, JobAlreadyExistsError)
    assert await s.get_job("beat") == first


@pytest.mark.parametrize("replace", ["no", 1, None])
async def test_whether_to_replace_is_a_truth_value(sim, replace):
    """A text that says no would be taken for a yes."""
    async with AsyncScheduler(clock=sim.clock) as s:
        before = await s.add_interval_job("beat", "", work, 30)
        with pytest.raises(InvalidOptionError, match=r"^replace=.*must be True or False"):
            await s.add_interval_job("beat", "", work, 10, replace=replace)
        assert await s.get_job("beat") == before


async def test_replacing_swaps_function_name_and_schedule_and_keeps_the_counters(sim):
    ran = []

    async def old():
        ran.append("old")

    async def new():
        ran.append("new")

    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_interval_job("beat", "old", old, 30)
        await sim.advance(30)
        info = await s.add_interval_job("beat", "new", new, 20, replace=True)
        assert (info.name, info.run_count) == ("new", 1)
        assert info.next_run == sim.now + timedelta(seconds=20)
        await sim.advance(40)
    assert ran == ["old", "new", "new"]


async def test_replacing_with_the_same_schedule_moves_no_fire_time(sim):
    """A deployment that declares what it always declared must not push its jobs back."""
    async with AsyncScheduler(clock=sim.clock) as s:
        before = await s.add_interval_job("beat", "", work, 30)
        await sim.advance(20)
        assert await s.add_interval_job("beat", "", work, 30, replace=True) == before


async def test_a_delay_that_is_given_again_with_replace_counts_from_then(sim):
    """Put off before its time, or wanted once more after it; whoever only starts again joins what is stored."""
    storage, recorder = InMemoryStorage(clock=sim.clock), Recorder(sim.clock)
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        begin = sim.now
        await s.add_one_shot_job("it", "", recorder.job, 60)
        await sim.advance(30)
        info = await s.add_one_shot_job("it", "", recorder.job, 60, replace=True)
        assert info.next_run == begin + timedelta(seconds=90)
        await sim.advance(170)
        await s.add_one_shot_job("it", "", recorder.job, 60, replace=True)
        await sim.advance(100)
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        info = await s.add_one_shot_job("it", "", recorder.job, 60, replace=True)
        assert (info.status, info.next_run) == (JobStatus.COMPLETED, None)
        await sim.advance(100)
    assert recorder.fire_times() == [begin + timedelta(seconds=90), begin + timedelta(seconds=260)]


async def test_the_zone_of_a_cron_job_is_its_own_or_the_schedulers(sim):
    async with AsyncScheduler(clock=sim.clock, timezone="Asia/Tokyo") as s:
        tokyo = await s.add_cron_job("tokyo", "", work, "0 8 * * *")
        london = await s.add_cron_job("london", "", work, "0 8 * * *", timezone="Europe/London")
    assert tokyo.next_run == datetime(2026, 1, 1, 23, tzinfo=UTC)
    assert london.next_run == datetime(2026, 1, 1, 8, tzinfo=UTC)


async def test_the_other_words_of_cron_are_understood_here_too(sim):
    async with AsyncScheduler(clock=sim.clock) as s:
        both = await s.add_cron_job("both", "", work, "0 0 13 * 5", day_match="both")
        last = await s.add_cron_job("last", "", work, "0 0 L * *", dialect="extended")
    assert both.next_run == datetime(2026, 2, 13, tzinfo=UTC)
    assert last.next_run == datetime(2026, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(("ago", "runs"), [(1, 1), (29, 1), (31, 0)])
async def test_a_one_shot_whose_moment_has_only_just_gone_by_still_runs(sim, ago, runs):
    """A slow start must not lose it; but a date of last year, still in the code, must not run at every start."""
    ran = []

    async def job():
        ran.append(sim.now)

    async with AsyncScheduler(clock=sim.clock, storage_poll_interval=30) as s:
        await s.add_one_shot_job("once", "", job, at=sim.now - timedelta(seconds=ago))
        await sim.sleep(60)
    assert len(ran) == runs


async def test_a_job_that_will_never_run_is_told_of_and_no_other(sim, caplog):
    """One that came due while nobody looked runs at once when it is added again, and later it has run its course."""
    ran, storage, at = [], InMemoryStorage(clock=sim.clock), sim.now + timedelta(minutes=5)

    async def note():
        ran.append(sim.now)

    for minutes in (0, 10, 10):
        await sim.advance(timedelta(minutes=minutes))
        async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
            await s.add_one_shot_job("once", "", note, at=at)
            await sim.advance(1)
    assert (len(ran), caplog.messages) == (1, [])
    await AsyncScheduler(storage=storage, clock=sim.clock).add_one_shot_job("late", "", note, at=at)
    assert caplog.messages == ["job 'late' has no fire time ahead: it will never run by itself"]
