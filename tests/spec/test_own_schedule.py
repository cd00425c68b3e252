"""
A schedule of one's own: any object with `next(after)` works everywhere that ours do.
"""

from datetime import UTC, datetime, timedelta

import pytest

from chrono_async import (
    AsyncScheduler,
    InMemoryStorage,
    IntervalSchedule,
    Overlap,
    Schedule,
    ScheduleError,
    WindowedSchedule,
    occurrences,
)
from chrono_async.testing import Recorder

MINUTE = timedelta(minutes=1)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
WINDOWS = [{}, {"start_at": BEGIN}, {"end_at": BEGIN + 60 * MINUTE}]
"""None, and two that leave out none of the fire times that are asked for."""


class PrimeMinutes:
    """Fires at the minutes of an hour that are prime."""

    def next(self, after):
        moment = after.replace(second=0, microsecond=0) + MINUTE
        while moment.minute not in {2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59}:
            moment += MINUTE
        return moment


class Answers:
    """Gives the answer that it is told to give."""

    def __init__(self, answer):
        self.answer = answer

    def next(self, after):
        return self.answer(after)


def naive(after):
    return (after + MINUTE).replace(tzinfo=None)


def not_later(after):
    return after


def no_datetime(after):
    return "soon"


def broken(after):
    raise ZeroDivisionError


BAD = [naive, not_later, no_datetime, broken]


def test_it_is_a_schedule():
    assert isinstance(PrimeMinutes(), Schedule)
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    assert list(occurrences(PrimeMinutes(), begin, begin + 5 * MINUTE)) == [begin + n * MINUTE for n in (2, 3, 5)]


async def test_a_job_runs_by_it(sim):
    recorder, begin = Recorder(sim.clock), sim.now
    async with AsyncScheduler(clock=sim.clock) as s:
        schedule = PrimeMinutes()
        info = await s.add_job("prime", "", recorder.job, schedule)
        assert info.schedule is schedule
        await sim.advance(720)
    assert recorder.fire_times() == [begin + n * MINUTE for n in (2, 3, 5, 7, 11)]


async def test_it_may_come_to_an_end(sim):
    last = sim.now + 3 * MINUTE
    recorder = Recorder(sim.clock)
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_job("few", "", recorder.job, Answers(lambda after: after + MINUTE if after < last else None))
        await sim.advance(600)
        assert (await s.get_job("few")).next_run is None
    assert len(recorder.runs) == 3


async def test_every_option_and_every_verb_works_with_it(sim):
    recorder, begin = Recorder(sim.clock), sim.now
    async with AsyncScheduler(clock=sim.clock) as s:
        options = {"start_at": begin + 4 * MINUTE, "end_at": begin + 7 * MINUTE}
        assert (await s.add_job("prime", "", recorder.job, PrimeMinutes(), **options)).next_run == begin + 5 * MINUTE
        await s.pause_job("prime")
        await sim.advance(330)
        assert (await s.resume_job("prime")).next_run == begin + 7 * MINUTE
        await s.trigger_job("prime")
        await sim.advance(600)
        assert (await s.get_job("prime")).next_run is None
        await s.reschedule_job("prime", Answers(lambda after: after + MINUTE))
        await sim.advance(60)
    assert len(recorder.runs) == 3


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(
    ("options", "minutes"),
    [
        ({"misfire": "fire_once"}, [11, 13]),
        ({"misfire": "skip"}, [13]),
        ({"misfire": "fire_all"}, [2, 3, 5, 7, 11, 13]),
        ({"misfire": "fire_all", "max_catchup": 2}, [7, 11, 13]),
    ],
)
async def test_a_backlog_is_found_by_walking_over_it(sim, options, minutes, window):
    recorder = Recorder(sim.clock)
    s = AsyncScheduler(clock=sim.clock)
    await s.add_job("prime", "", recorder.job, PrimeMinutes(), misfire_grace=1, **options, **window)
    await sim.advance(750)
    async with s:
        await sim.advance(60)
    assert [(moment - BEGIN) / MINUTE for moment in recorder.fire_times()] == minutes


async def test_of_a_backlog_only_what_lies_in_the_window_counts(sim):
    recorder, window = Recorder(sim.clock), {"start_at": BEGIN + 3 * MINUTE, "end_at": BEGIN + 7 * MINUTE}
    s = AsyncScheduler(clock=sim.clock)
    for misfire in ("fire_once", "fire_all"):
        await s.add_job(misfire, "", recorder.job, PrimeMinutes(), misfire=misfire, max_catchup=2, **window)
    await sim.advance(3600)
    async with s:
        await sim.advance(60)
    assert recorder.fire_times("fire_once") == [BEGIN + 7 * MINUTE]
    assert recorder.fire_times("fire_all") == [BEGIN + 5 * MINUTE, BEGIN + 7 * MINUTE]


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(
    ("overlap", "minutes"),
    [
        (Overlap.SKIP, [2, 5, 11, 17, 23]),
        (Overlap.QUEUE, [2, 3, 7, 11, 13, 17, 19, 23]),
        (Overlap.CANCEL_RUNNING, [2, 3, 5, 7, 11, 13, 17, 19, 23]),
        (Overlap.ALLOW, [2, 3, 5, 7, 11, 13, 17, 19, 23]),
    ],
)
async def test_so_is_an_overlap(sim, overlap, minutes, window):
    recorder = Recorder(sim.clock)
    async with AsyncScheduler(clock=sim.clock) as s:
        await s.add_job("prime", "", recorder.job, PrimeMinutes(), overlap=overlap, args=(150,), **window)
        await sim.until(BEGIN + 26 * MINUTE)
    assert recorder.doubles() == []
    assert [(moment - BEGIN) / MINUTE for moment in recorder.fire_times()] == minutes


async def test_elsewhere_it_is_not_known_what_it_is(sim):
    """It stays in its process: what goes into the storage is its name."""
    storage = InMemoryStorage(clock=sim.clock)
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        await s.add_job("prime", "", print, PrimeMinutes())
        await s.add_job("window", "", print, PrimeMinutes(), end_at=sim.now + 60 * MINUTE)
        elsewhere = AsyncScheduler(storage=storage, clock=sim.clock)
        assert (await elsewhere.get_job("prime")).schedule is None
        for job_id in ("prime", "window"):
            definition = (await storage.get_job(job_id)).schedule
            assert "PrimeMinutes" in definition.bound


async def test_the_same_class_again_is_the_same_definition(sim):
    storage = InMemoryStorage(clock=sim.clock)
    for _ in range(2):
        async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
            info = await s.add_job("prime", "", print, PrimeMinutes())
            assert info.next_run == datetime(2026, 1, 1, 0, 2, tzinfo=UTC)
            await sim.advance(30)


@pytest.mark.parametrize("answer", BAD)
async def test_a_bad_answer_is_refused_when_the_job_is_added(sim, answer):
    async with AsyncScheduler(clock=sim.clock) as s:
        with pytest.raises(ZeroDivisionError if answer is broken else ScheduleError):
            await s.add_job("odd", "", print, Answers(answer))
        assert await s.list_jobs() == []


async def test_a_subclass_of_ours_is_held_to_its_word_too(sim):
    class Naive(IntervalSchedule):
        def next(self, after):
            return naive(after)

    async with AsyncScheduler(clock=sim.clock) as s:
        with pytest.raises(ScheduleError, match="no aware datetime"):
            await s.add_job("odd", "", print, Naive(10))


async def test_a_subclass_of_an_interval_keeps_its_grid_after_a_downtime(sim):
    class Mine(IntervalSchedule):
        """As the original."""

    recorder, s = Recorder(sim.clock), AsyncScheduler(clock=sim.clock)
    begin = sim.now
    await s.add_job("mine", "", recorder.job, Mine(60))
    await sim.advance(60 * 7 + 17)
    await s.start()
    await sim.advance(60)
    await s.stop()
    assert recorder.fire_times() == [begin + 7 * MINUTE, begin + 8 * MINUTE]


@pytest.mark.parametrize("answer", BAD)
async def test_and_when_it_is_rescheduled(sim, answer):
    async with AsyncScheduler(clock=sim.clock) as s:
        before = await s.add_job("odd", "", print, IntervalSchedule(10))
        with pytest.raises(ZeroDivisionError if answer is broken else ScheduleError):
            await s.reschedule_job("odd", Answers(answer))
        assert await s.get_job("odd") == before


@pytest.mark.parametrize("answer", BAD)
async def test_and_when_it_is_resumed(sim, answer):
    async with AsyncScheduler(clock=sim.clock) as s:
        schedule = Answers(lambda after: after + MINUTE)
        await s.add_job("odd", "", print, schedule)
        await s.pause_job("odd")
        schedule.answer = answer
        with pytest.raises(ZeroDivisionError if answer is broken else ScheduleError):
            await s.resume_job("odd")
        assert (await s.get_job("odd")).paused


@pytest.mark.parametrize("overlap", Overlap)
@pytest.mark.parametrize("answer", BAD)
async def test_later_it_harms_only_its_own_job(sim, answer, overlap, caplog):
    recorder = Recorder(sim.clock)
    async with AsyncScheduler(clock=sim.clock) as s:
        schedule = Answers(lambda after: after + MINUTE)
        await s.add_job("odd", "", recorder.job, schedule, overlap=overlap)
        await s.add_interval_job("sound", "", recorder.job, 30)
        await sim.advance(70)
        schedule.answer = answer
        await sim.advance(600)
        assert s.health().ok
    assert len(recorder.of("sound")) == 22
    assert len(recorder.of("odd")) <= 2
    assert "the schedule of job 'odd' failed" in caplog.text


async def test_it_may_be_put_into_a_window(sim):
    begin = sim.now
    window = WindowedSchedule(PrimeMinutes(), start_at=begin + 10 * MINUTE)
    async with AsyncScheduler(clock=sim.clock) as s:
        assert (await s.add_job("prime", "", print, window)).next_run == begin + 11 * MINUTE


async def test_in_a_window_it_is_given_back_as_it_was_given(sim):
    schedule, end = PrimeMinutes(), BEGIN + 60 * MINUTE
    async with AsyncScheduler(clock=sim.clock) as s:
        infos = [await s.add_job("prime", "", print, schedule, end_at=end)]
        infos += [await s.get_job("prime"), *await s.list_jobs()]
        infos.append(await s.reschedule_job("prime", WindowedSchedule(schedule, end_at=end)))
    assert [type(info.schedule) for info in infos] == [WindowedSchedule] * 4
    assert all(info.schedule.schedule is schedule for info in infos)
    assert all(info.schedule.end_at == end for info in infos)
