"""How runs end, and how schedulers do: retries, drains, and bodies that do what no body should."""

import asyncio
import threading
from contextvars import ContextVar

import pytest

from chrono_async import Retry, SchedulerRunningError, SchedulerStoppedError
from chrono_async.events import RunReleased, SchedulerStopped
from chrono_async.models import JobStatus, RunStatus
from chrono_async.testing import Fault, FaultyStorage
from tests.proof.kit import HOUR, KINDS, MINUTE, SECOND, START, World, grid

every_storage = pytest.mark.parametrize("kind", KINDS)
DUE = START + HOUR


class Flaky:
    """A body that fails so many times before it succeeds, and notes when it was tried."""

    def __init__(self, sim, failures, error=OSError):
        self.sim, self.left, self.error, self.tried = sim, failures, error, []

    async def __call__(self):
        self.tried.append((self.sim.now - DUE).total_seconds())
        self.left -= 1
        if self.left >= 0:
            raise self.error("not yet")


# ── retries ──────────────────────────────────────────────────────────────────────────────────────────────────────────

GIVEN_BACK = "given back while the pause outlasts the lease"
RETRIES = {
    "at once": (3, {}, [0, 0, 0, 0]),
    "with growing pauses": (Retry(max_retries=3, delay=2, backoff=3, jitter=False), {}, [0, 2, 8, 26]),
    "up to a ceiling": (Retry(max_retries=3, delay=2, backoff=3, max_delay=5, jitter=False), {}, [0, 2, 7, 12]),
    GIVEN_BACK: (
        Retry(max_retries=3, delay=100, backoff=1, jitter=False), {}, [0, 100, 200, 300]
    ),
    "at most once, kept however long the pause": (
        Retry(max_retries=3, delay=100, backoff=1, jitter=False), {"recovery": "skip"}, [0, 100, 200, 300]
    ),
}  # fmt: skip


class _Undecided(type):
    """Of a type that cannot say what is an instance of it."""

    def __instancecheck__(cls, instance):
        raise LookupError("nobody knows")


class Undecided(Exception, metaclass=_Undecided):  # noqa: N818
    pass


@every_storage
async def test_a_retry_that_cannot_tell_whether_it_is_wanted_costs_its_run_and_no_more(sim, kind):
    """The run has failed, and the next one comes."""
    body, errors = Flaky(sim, 1), []
    async with World(sim, kind=kind) as world:
        scheduler = await world.start()
        retry = Retry(max_retries=3, on=(Undecided,))
        await scheduler.add_interval_job(
            "a", "A", body, HOUR, max_retries=retry, on_error=lambda *told: errors.append(told)
        )
        await sim.until(DUE + HOUR + SECOND)
        assert body.tried == [0, 3600]
        assert [(job_id, type(error)) for job_id, error in errors] == [("a", LookupError)]
        assert world.record("a").run_count == 2


@every_storage
@pytest.mark.parametrize("way", RETRIES)
@pytest.mark.parametrize("failures", [3, 4])
async def test_a_failed_run_is_tried_again(sim, kind, way, failures):
    """Counted and told once, after the last try, whether the tries were in one claim or in several."""
    retry, options, tried = RETRIES[way]
    body, told = Flaky(sim, failures), []
    async with World(sim, kind=kind) as world:
        scheduler = await world.start()
        await scheduler.add_interval_job(
            "a", "A", body, HOUR, max_retries=retry, on_result=told.append,
            on_error=lambda _, error: told.append(error), on_success=told.append, **options,
        )  # fmt: skip
        await sim.until(DUE + 10 * MINUTE)
    assert [round(moment) for moment in body.tried] == tried
    [answer, result] = told
    assert result.retry_count == 3
    assert (answer == "a") is (failures == 3) is (result.status is JobStatus.COMPLETED)
    record = world.record("a")
    assert (record.run_count, record.error_count) == (1, failures - 3)
    assert record.next_run == DUE + HOUR
    assert len(world.claims) == (4 if way == GIVEN_BACK else 1)


async def test_only_the_exceptions_that_were_named_are_tried_again(sim):
    """A defect is not cured by repetition."""
    body = Flaky(sim, 2, KeyError)
    async with World(sim) as world:
        scheduler = await world.start()
        await scheduler.add_interval_job("a", "A", body, HOUR, max_retries=Retry(on=(OSError,), delay=0))
        await sim.until(DUE + SECOND)
    assert len(body.tried) == 1
    assert world.record("a").error_count == 1


@every_storage
async def test_a_drain_does_not_wait_for_a_pause_between_tries(sim, kind):
    """The run is given back with its tries; the next instance goes on where this one stopped."""
    body = Flaky(sim, 1)
    async with World(sim, kind=kind) as world:
        scheduler = await world.start()
        retry = Retry(max_retries=1, delay=50, jitter=False)
        await scheduler.add_interval_job("a", "A", body, HOUR, max_retries=retry)
        released = scheduler.events(RunReleased)
        await sim.until(DUE + 5 * SECOND)
        await scheduler.stop()
        assert sim.now - DUE < 6 * SECOND
        released.close()
        assert [event.fire_time async for event in released] == [DUE]
        other, results = await world.start("two"), []
        await other.add_interval_job("a", "A", body, HOUR, max_retries=retry, on_result=results.append)
        await sim.until(DUE + 2 * MINUTE)
    assert [round(moment) for moment in body.tried] == [0, 50]
    assert [(result.retry_count, result.status) for result in results] == [(1, JobStatus.COMPLETED)]
    assert [claim.attempt for claim in world.claims.values()] == [1, 1]


async def test_a_run_that_is_given_back_before_it_begins_keeps_its_tries(sim):
    """Its claim was answered when its instance drained already: two tries are two, whoever makes them."""
    body, faulty, retry = Flaky(sim, 9), [], Retry(max_retries=1, delay=100, jitter=False)

    def wrap(storage):
        faulty.append(FaultyStorage(storage, delay=5))
        return faulty[-1]

    async def begin(name):
        scheduler = await world.start(name)
        await scheduler.add_interval_job("a", "A", body, HOUR, max_retries=retry)
        return scheduler

    async with World(sim, wrap=wrap) as world:
        one = await begin("one")
        await sim.until(DUE + 10 * SECOND)
        await one.stop()
        two = await begin("two")
        faulty[-1].plan = {("claim", 0): Fault.SLOW}
        await sim.until(DUE + 102 * SECOND)
        await two.stop()
        assert len(world.claims) == 2
        await begin("three")
        await sim.until(DUE + 10 * MINUTE)
    assert len(body.tried) == 2
    assert world.record("a").error_count == 1


@every_storage
async def test_a_removal_ends_the_run_that_is_going(sim, kind):
    """At once; and nobody tries to write down how it ended."""
    async with World(sim, kind=kind) as world:
        world.removed.add("a")
        scheduler = await world.start()
        await scheduler.add_interval_job("a", "A", world.recorder.job, HOUR, args=(900,))
        await sim.until(DUE + 10 * SECOND)
        await scheduler.remove_job("a")
        await sim.settle()
        [run] = world.recorder.runs
        assert (run.was_cancelled, run.end) == (True, sim.now)
    assert not world.verdicts


# ── the end of a scheduler ───────────────────────────────────────────────────────────────────────────────────────────


@every_storage
async def test_a_stop_lets_what_runs_finish(sim, kind):
    """And claims nothing more meanwhile."""
    async with World(sim, kind=kind) as world:
        scheduler = await world.start()
        await scheduler.add_interval_job("long", "", world.recorder.job, HOUR, args=(900,))
        await scheduler.add_interval_job("short", "", world.recorder.job, MINUTE)
        await sim.until(DUE + SECOND)
        await scheduler.stop()
        assert sim.now - DUE >= 15 * MINUTE
    assert [run.was_cancelled for run in world.recorder.of("long")] == [False]
    assert world.recorder.fire_times("short")[-1] == DUE
    assert world.record("long").status is JobStatus.COMPLETED


@every_storage
async def test_a_stop_with_a_timeout_cancels_and_leaves_due(sim, kind):
    """The row says cancelled; the next start runs the same occurrence, as a first attempt."""
    async with World(sim, kind=kind) as world:
        scheduler = await world.start()
        await scheduler.add_interval_job("a", "A", world.recorder.job, HOUR, args=(90,))
        await sim.until(DUE + SECOND)
        await scheduler.stop(timeout=10)
        assert sim.now - DUE < 12 * SECOND
        assert world.record("a").status is JobStatus.CANCELLED
        assert world.record("a").next_run == DUE
        [row] = await scheduler.list_runs("a")
        assert row.status is RunStatus.CANCELLED
        await sim.advance(MINUTE)
        await world.inside("one", scheduler.start)
        await sim.advance(2 * MINUTE)
    assert [(run.fire_time, run.attempt, run.was_cancelled) for run in world.recorder.runs] == [
        (DUE, 1, True), (DUE, 1, False)
    ]  # fmt: skip
    assert world.record("a").run_count == 1


@every_storage
async def test_a_stop_with_a_timeout_settles_what_is_at_most_once(sim, kind):
    """It is not left due: it would run twice."""
    async with World(sim, kind=kind) as world:
        scheduler = await world.start()
        await scheduler.add_interval_job("a", "A", world.recorder.job, HOUR, args=(90,), recovery="skip")
        await sim.until(DUE + SECOND)
        await scheduler.stop(timeout=1)
    assert world.record("a").next_run == DUE + HOUR
    assert world.record("a").run_count == 1


async def test_start_and_stop_take_turns(sim):
    """What runs cannot be started, what does not run cannot be stopped, and what was stopped can be started."""
    async with World(sim) as world:
        scheduler = world.new()
        with pytest.raises(SchedulerStoppedError):
            await scheduler.stop()
        for _ in range(3):
            await scheduler.start()
            with pytest.raises(SchedulerRunningError):
                await scheduler.start()
            await scheduler.stop()
            with pytest.raises(SchedulerStoppedError):
                await scheduler.stop()


async def test_of_two_starts_at_once_one_wins(sim):
    """Two lives of one scheduler would run each job twice, and only one of them could be stopped."""
    async with World(sim) as world:
        scheduler = world.new()

        @scheduler.interval(MINUTE)
        async def job():
            await world.recorder.job()

        answers = await asyncio.gather(scheduler.start(), scheduler.start(), return_exceptions=True)
        assert [type(answer) for answer in answers].count(SchedulerRunningError) == 1
        await sim.until(START + MINUTE + SECOND)
        await scheduler.stop()
    assert len(world.recorder.runs) == 1


async def test_a_start_that_failed_can_be_repeated(sim):
    """The storage was down when a declared job was to be registered."""
    faulty = []
    async with World(sim, wrap=lambda storage: faulty.append(FaultyStorage(storage)) or faulty[0]) as world:
        scheduler = world.new()
        scheduler.interval(MINUTE, id="a")(world.recorder.job)
        faulty[0].fail(Fault.REFUSED)
        with pytest.raises(OSError, match="refused"):
            await scheduler.start()
        assert not scheduler.is_running
        faulty[0].heal()
        await scheduler.start()
        await sim.advance(MINUTE + SECOND)
    assert len(world.recorder.runs) == 1


@every_storage
async def test_two_stops_at_once_both_see_the_end(sim, kind):
    """The sooner timeout counts."""
    async with World(sim, kind=kind) as world:
        scheduler = await world.start()
        await scheduler.add_interval_job("a", "A", world.recorder.job, HOUR, args=(900,))
        await sim.until(DUE + SECOND)
        await asyncio.gather(scheduler.stop(), scheduler.stop(timeout=5), scheduler.stop(timeout=500))
        assert sim.now - DUE < 8 * SECOND
    assert world.recorder.runs[0].was_cancelled


@every_storage
async def test_a_job_may_stop_its_scheduler(sim, kind):
    """It does not wait for its own end; the drain does."""
    async with World(sim, kind=kind) as world:
        scheduler = await world.start()

        async def last():
            await scheduler.stop()
            await world.recorder.job(5)

        await scheduler.add_interval_job("a", "A", last, HOUR)
        await asyncio.wait_for(scheduler.run_forever(handle_signals=False), 2 * 3600)
        assert sim.now == DUE + 5 * SECOND
    assert world.record("a").status is JobStatus.COMPLETED


@pytest.mark.parametrize("where", ["on_success", "on_result", "a listener"])
async def test_a_callback_may_stop_its_scheduler(sim, where):
    """Nobody waits for whom he keeps waiting."""
    async with World(sim) as world:
        scheduler = await world.start()
        stopped = []

        async def stop(_):
            await scheduler.stop()
            stopped.append(sim.now)

        options = {} if where == "a listener" else {where: stop}
        if where == "a listener":
            from chrono_async.events import RunFinished

            scheduler.subscribe(stop, RunFinished)
        await scheduler.add_interval_job("a", "A", world.recorder.job, HOUR, **options)
        await asyncio.wait_for(scheduler.run_forever(handle_signals=False), 2 * 3600)
        await sim.settle()
        assert sim.now - DUE < SECOND
        assert len(stopped) == 1


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.HANGS, Fault.ODD_ERROR, Fault.CANCELS_ITSELF])
async def test_a_stop_ends_also_while_the_storage_is_down(sim, fault):
    """What could not be written down is run again by whoever comes next."""
    faulty = []
    async with World(sim, wrap=lambda storage: faulty.append(FaultyStorage(storage)) or faulty[-1]) as world:
        scheduler = await world.start(storage_timeout=5)
        await scheduler.add_interval_job("a", "A", world.recorder.job, MINUTE, args=(20,))
        await sim.until(START + MINUTE + 19 * SECOND)
        faulty[0].fail(fault)
        await scheduler.stop(timeout=10)
        assert sim.now < START + MINUTE + 40 * SECOND
        assert not world.living_tasks("one")
        other = await world.start("two")
        await other.add_interval_job("a", "A", world.recorder.job, MINUTE, args=(20,))
        await sim.advance(3 * MINUTE)
    assert [run.attempt for run in world.recorder.runs][:2] == [1, 2]


async def test_a_job_declared_while_the_storage_is_down_does_not_outlive_the_stop(sim):
    """Its registration is repeated until it succeeds, or until the scheduler ends."""
    faulty = []
    async with World(sim, wrap=lambda storage: faulty.append(FaultyStorage(storage)) or faulty[-1]) as world:
        scheduler = await world.start()
        faulty[0].fail(Fault.REFUSED)
        await world.inside("one", _call(lambda: scheduler.interval(MINUTE, id="a")(world.recorder.job)))
        await sim.advance(5 * MINUTE)
        await scheduler.stop()
        assert not world.living_tasks("one")
        faulty[0].heal()
        await scheduler.start()
        await sim.advance(MINUTE + SECOND)
    assert len(world.recorder.runs) == 1


def _call(function):
    async def call():
        return function()

    return call


async def test_a_stop_does_not_wait_for_a_leader_who_does_not_answer(sim):
    """Nor does the rest of the scheduler."""

    class Silent:
        async def is_leader(self):
            await asyncio.Event().wait()

    async with World(sim) as world:
        scheduler = await world.start(leader=Silent())
        await scheduler.add_interval_job("a", "A", world.recorder.job, MINUTE)
        await sim.until(START + 5 * MINUTE + SECOND)
        asked = sim.now
        await scheduler.stop(timeout=1)
        assert sim.now - asked <= 15 * SECOND
    assert not world.recorder.runs


# ── bodies ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _two_jobs(world, body, **options):
    """One with that body, and one that must not notice."""
    scheduler = await world.start()
    await scheduler.add_interval_job("odd", "", body, MINUTE, **options)
    await scheduler.add_interval_job("other", "", world.recorder.job, MINUTE)
    return scheduler


@every_storage
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SystemExit, JobStatus.FAILED),
        (KeyboardInterrupt, JobStatus.FAILED),
        (GeneratorExit, JobStatus.FAILED),
        (BaseException, JobStatus.FAILED),
        (BaseExceptionGroup("several", [SystemExit()]), JobStatus.FAILED),
        (StopIteration, JobStatus.FAILED),
        (TimeoutError, JobStatus.FAILED),
        (asyncio.CancelledError, JobStatus.CANCELLED),
    ],
)
@pytest.mark.parametrize("options", [{}, {"timeout": 5}, {"max_retries": 1}])
async def test_whatever_a_body_raises_harms_only_itself(sim, kind, error, status, options):
    """It is recorded, the job goes on at its next fire time, and so do the others."""

    async def odd():
        await asyncio.sleep(1)
        raise error

    async with World(sim, kind=kind) as world:
        await _two_jobs(world, odd, **options)
        await sim.until(START + 3 * MINUTE + 10 * SECOND)
    record = world.record("odd")
    assert (record.run_count, record.status) == (3, status)
    assert len(world.recorder.of("other")) == 3


class UnspeakableError(Exception):
    """An exception that cannot even be shown."""

    def __str__(self):
        raise ValueError


async def test_an_exception_without_words_is_recorded_all_the_same(sim):
    """By its name."""

    async def odd():
        raise UnspeakableError

    async with World(sim) as world:
        await _two_jobs(world, odd)
        await sim.until(START + MINUTE + SECOND)
    assert "UnspeakableError" in world.record("odd").last_error


@every_storage
async def test_a_body_that_swallows_its_cancellation_is_left_behind_and_said(sim, kind):
    """The stop returns, the event names the job, and the lease runs out by itself."""

    async def stubborn():
        world.recorder._begin()
        while True:
            try:
                await asyncio.sleep(HOUR.total_seconds())
            except asyncio.CancelledError:
                if over.is_set():
                    raise

    over = asyncio.Event()
    async with World(sim, kind=kind) as world:
        scheduler = await _two_jobs(world, stubborn)
        told = scheduler.events(SchedulerStopped)
        await sim.until(START + MINUTE + SECOND)
        await scheduler.stop(timeout=1)
        assert sim.now - START < MINUTE + 20 * SECOND
        told.close()
        assert [event.leaked async for event in told] == [("odd",)]
        over.set()
        for task in world.living_tasks("one"):
            task.cancel()
        await sim.settle()


async def test_a_removed_body_that_ends_only_after_a_restart_is_nobodys_trouble(sim):
    """It belonged to a life that is over."""
    let_go = asyncio.Event()

    async def stubborn():
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue
        raise asyncio.CancelledError

    async with World(sim) as world:
        world.removed.add("odd")
        scheduler = await _two_jobs(world, stubborn)
        await sim.until(START + MINUTE + SECOND)
        await scheduler.remove_job("odd")
        await scheduler.stop(timeout=1)
        await scheduler.start()
        let_go.set()
        await sim.advance(2 * MINUTE)
        assert scheduler.health().running == 0


@every_storage
@pytest.mark.parametrize("makes_of_it", ["an end", "an error", "a longer life"])
async def test_a_timeout_is_a_timeout_whatever_the_body_makes_of_it(sim, kind, makes_of_it):
    """The error is a `TimeoutError`, the run counts as failed."""
    ended = []

    async def late():
        try:
            await asyncio.sleep(50)
        except asyncio.CancelledError:
            if makes_of_it == "an error":
                raise ValueError("never mind") from None
            if makes_of_it == "a longer life":
                await asyncio.sleep(20)
        ended.append(sim.now)

    async with World(sim, kind=kind) as world:
        results = []
        await _two_jobs(world, late, timeout=10, on_result=results.append)
        await sim.until(START + MINUTE + 45 * SECOND)
    [result] = results
    assert (result.status, type(result.error)) == (JobStatus.FAILED, TimeoutError)
    assert "10 s" in str(result.error)
    assert world.record("odd").error_count == 1


@every_storage
async def test_a_body_that_ignores_its_timeout_keeps_its_lease_until_it_ends(sim, kind):
    """Many leases long: it goes on, so nobody else may begin."""
    began = []

    async def stubborn():
        began.append(sim.now)
        while sim.now < DUE + 10 * MINUTE:
            try:
                await asyncio.sleep((DUE + 10 * MINUTE - sim.now).total_seconds())
            except asyncio.CancelledError:
                continue

    async with World(sim, kind=kind) as world:
        for name in ("one", "two"):
            scheduler = await world.start(name)
            await scheduler.add_interval_job("a", "A", stubborn, HOUR, timeout=10)
        await sim.until(DUE + 9 * MINUTE)
        assert world.record("a").owner is not None
        await sim.advance(2 * MINUTE)
        assert world.record("a").owner is None
    assert began == [DUE]
    assert (world.record("a").run_count, world.record("a").status) == (1, JobStatus.FAILED)


@every_storage
async def test_each_try_has_its_own_timeout(sim, kind):
    """Not the run as a whole."""
    tried = []

    async def late():
        tried.append((sim.now - DUE).total_seconds())
        await asyncio.sleep(8 if len(tried) < 3 else 4)

    async with World(sim, kind=kind) as world:
        scheduler = await world.start()
        await scheduler.add_interval_job("a", "A", late, HOUR, timeout=5, max_retries=2)
        await sim.until(DUE + MINUTE)
    assert [round(moment) for moment in tried] == [0, 5, 10]
    assert world.record("a").status is JobStatus.COMPLETED


# ── plain functions, in threads ──────────────────────────────────────────────────────────────────────────────────────


async def test_a_plain_function_runs_beside_the_loop_and_sees_its_context(sim):
    """With `current_run()` and the caller's context variables."""
    from chrono_async import current_run

    colour = ContextVar("colour", default="none")
    seen = []

    def plain(word, *, number):
        seen.append((word, number, current_run().fire_time, threading.current_thread() is threading.main_thread()))
        assert colour.get() == "none"

    async with World(sim) as world:
        scheduler = await world.start()
        await scheduler.add_interval_job("a", "A", plain, HOUR, args=("word",), kwargs={"number": 7})
        await sim.until(DUE + SECOND)
    assert seen == [("word", 7, DUE, False)]
    assert world.record("a").status is JobStatus.COMPLETED


@every_storage
async def test_a_thread_that_outlives_its_timeout_keeps_its_lease_and_is_not_tried_again(sim, kind):
    """It cannot be stopped: so nobody else may begin before it has ended."""
    began = []

    def plain():
        began.append(sim.now)
        sim.sleep_in_thread(5 * MINUTE)

    async with World(sim, kind=kind) as world:
        results = []
        schedulers = [await world.start("one"), await world.start("two")]
        for scheduler in schedulers:
            await scheduler.add_interval_job("a", "A", plain, HOUR, timeout=10, max_retries=5, on_result=results.append)
        await sim.until(DUE + 4 * MINUTE)
        assert world.record("a").owner is not None
        await sim.advance(2 * MINUTE)
    assert began == [DUE]
    [result] = results
    assert (result.status, type(result.error), result.retry_count) == (JobStatus.FAILED, TimeoutError, 0)
    assert world.record("a").run_count == 1


async def test_a_stop_leaves_a_thread_behind_that_does_not_end(sim):
    """After the last words; the process would end it."""
    may_end = threading.Event()

    def plain():
        sim.sleep_in_thread(30 * MINUTE)
        may_end.wait(10)

    async with World(sim) as world:
        scheduler = await world.start()
        told = scheduler.events(SchedulerStopped)
        await scheduler.add_interval_job("a", "A", plain, HOUR)
        await sim.until(DUE + SECOND)
        await scheduler.stop(timeout=2)
        assert sim.now - DUE < 20 * SECOND
        told.close()
        assert [event.leaked async for event in told] == [("a",)]
        may_end.set()
        await sim.advance(HOUR)


async def test_more_plain_functions_than_threads_wait_their_turn(sim):
    """None is lost."""
    ran = []

    def plain(n):
        sim.sleep_in_thread(10)
        ran.append(n)

    async with World(sim) as world:
        scheduler = await world.start(max_threads=2)
        for n in range(6):
            await scheduler.add_interval_job(f"job {n}", "", plain, HOUR, args=(n,))
        await sim.until(DUE + 31 * SECOND)
    assert sorted(ran) == list(range(6))
    assert grid(START, HOUR, 2)[1] == DUE
