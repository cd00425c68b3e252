"""
A pause, a removal, a cancellation, a death: at every step of the loop between a fire time and the settled outcome.

Each scenario is lived through once for every step at which it can strike. Nothing in it sleeps, so that a step of the
test is a step of everybody's.
"""

import asyncio
from datetime import timedelta
from itertools import groupby

import pytest

from chrono_async import IntervalSchedule, JobNotFoundError, Retry
from chrono_async.claims import SettleVerdict
from chrono_async.engine import current_run
from chrono_async.models import JobStatus
from tests.proof.kit import KINDS, SECOND, START, World, grid, steps_of

EVERY, TTL, POLL = 40 * SECOND, 30 * SECOND, 3 * SECOND
LOOK_AGAIN = 5 * SECOND  # at a lock whose end cannot be seen, on the portable path
DUE = START + EVERY
every_storage = pytest.mark.parametrize("kind", KINDS)


class Scenario:
    """A job every 40 s whose run takes a few steps of the loop, and the test at one of these steps."""

    def __init__(self, sim, step, kind, **options):
        self.sim, self.step, self.options = sim, step, options
        self.world = World(sim, kind=kind, next_run_may_go_back=True)
        self.ran, self.ended = [], []

    async def job(self):
        here = current_run()
        self.ran.append((here.fire_time, here.attempt, here.instance_id))
        for _ in range(4):
            await asyncio.sleep(0)
        self.ended.append(here.fire_time)

    async def __aenter__(self):
        await self.world.__aenter__()
        self.scheduler = await self._start()
        await self.scheduler.add_interval_job("a", "A", self.job, EVERY, **self.options)
        await self.sim.until(DUE - timedelta(microseconds=1))
        await self.sim.sleep(timedelta(microseconds=1))
        for _ in range(self.step):
            await asyncio.sleep(0)
        self.is_over = not self.scheduler._state.runs and bool(self.ended)
        return self

    async def __aexit__(self, *error):
        await self.world.__aexit__(*error)

    async def _start(self, name="one"):
        return await self.world.start(name, lock_ttl=TTL, storage_poll_interval=POLL)

    def record(self):
        return self.world.record("a")

    def settled(self, manual=False):
        self.world.observe()
        return sorted(settle.fire_time for settle in self.world.settles.values() if settle.manual is manual)

    async def take_over(self):
        """Let another instance see to what is left, within a lease and a poll."""
        other = await self._start("two")
        await other.add_interval_job("a", "A", self.job, EVERY, **self.options)
        await self.sim.advance(TTL + POLL + LOOK_AGAIN + SECOND)
        return other


@every_storage
def test_a_pause_at_any_step_lasts(kind):
    """A run that has begun may end, and its outcome is written beside the pause, not over it."""

    async def simulate(sim, step):
        async with Scenario(sim, step, kind) as at:
            await at.scheduler.pause_job("a")
            claimed = len(at.world.claims)
            await sim.advance(3 * EVERY)
            assert len(at.world.claims) == claimed
            assert at.record().paused
            assert at.settled() == [DUE] * claimed
            info = await at.scheduler.resume_job("a")
            assert info.next_run == DUE + 4 * EVERY
            await sim.advance(EVERY)
            assert at.settled() == [DUE] * claimed + [DUE + 4 * EVERY]
        return not at.is_over

    assert steps_of(simulate) > 6


@every_storage
def test_a_removal_at_any_step_is_final(kind):
    """No body goes on, no outcome brings the job back, and a new life begins from nothing."""

    async def simulate(sim, step):
        async with Scenario(sim, step, kind) as at:
            at.world.removed.add("a")
            await at.scheduler.remove_job("a")
            await sim.settle()
            ran, ended = len(at.ran), len(at.ended)
            assert not list(at.world.records())
            assert not at.scheduler._state.runs
            with pytest.raises(JobNotFoundError):
                await at.scheduler.get_job("a")
            info = await at.scheduler.add_interval_job("a", "A", at.job, EVERY)
            assert info.run_count == 0
            await sim.advance(EVERY + SECOND)
            assert (len(at.ran), len(at.ended)) == (ran + 1, ended + 1)
            assert at.record().run_count == 1
        return not at.is_over

    assert steps_of(simulate) > 6


@every_storage
def test_a_new_schedule_at_any_step_wins(kind):
    """The end of the run does not move the pointer that the user has set."""

    async def simulate(sim, step):
        async with Scenario(sim, step, kind) as at:
            info = await at.scheduler.reschedule_job("a", IntervalSchedule(27))
            assert info.next_run > DUE
            await sim.advance(20)
            assert at.record().next_run == info.next_run
            await sim.advance(35)
            claimed = [claim.fire_time for claim in at.world.claims.values()]
            assert claimed == [DUE] * (claimed[0] == DUE) + grid(info.next_run, 27 * SECOND, 2)
            assert at.settled() == claimed
        return not at.is_over

    assert steps_of(simulate) > 6


@every_storage
def test_a_manual_request_at_any_step_is_one_more_run(kind):
    """Beside the scheduled one, never instead of it."""

    async def simulate(sim, step):
        async with Scenario(sim, step, kind) as at:
            run_id = await at.scheduler.trigger_job("a")
            result = await at.scheduler.wait_for_job("a", run_id=run_id, timeout=10)
            assert result.run_id == run_id
            await sim.advance(5)
            assert at.settled() == [DUE]
            assert len(at.settled(manual=True)) == 1
            assert at.record().run_count == 2
            assert at.record().scheduled_runs == 1
        return not at.is_over

    assert steps_of(simulate) > 6


@every_storage
@pytest.mark.parametrize("options", [{}, {"timeout": 10, "max_retries": 2}, {"recovery": "skip"}, {"overlap": "allow"}])
def test_a_cancelled_run_at_any_step_is_settled_once(kind, options):
    """Whoever cancels it: its lease is given back, and the job goes on."""

    async def simulate(sim, step):
        async with Scenario(sim, step, kind, **options) as at:
            tasks = [run.task for run in at.scheduler._state.runs if run.task is not None]
            for task in tasks:
                task.cancel()
            await sim.advance(5)
            assert not at.scheduler._state.runs
            assert at.settled() == [DUE]
            assert at.record().owner is None
            await sim.advance(EVERY)
            assert at.settled() == [DUE, DUE + EVERY]
        return not at.is_over

    assert steps_of(simulate) > 6


@every_storage
def test_each_of_several_runs_that_are_cancelled_at_any_step_is_settled(kind):
    """Those that were started together take their first steps one after the other."""

    async def simulate(sim, step):
        async with Scenario(sim, 0, kind) as at:
            for job_id in "bcde":
                await at.scheduler.add_interval_job(job_id, "A", at.job, EVERY)
            await sim.until(DUE + EVERY - timedelta(microseconds=1))
            at.ended.clear()
            await sim.sleep(timedelta(microseconds=1))
            for _ in range(step):
                await asyncio.sleep(0)
            is_over = len(at.ended) == 5
            for run in at.scheduler._state.runs:
                if run.task is not None:
                    run.task.cancel()
            await sim.advance(5)
            assert not at.scheduler._state.runs
            assert [record.owner for record in at.world.records()] == [None] * 5
        return not is_over

    assert steps_of(simulate) > 6


@every_storage
def test_who_stops_waiting_for_the_stop_at_any_step_ends_nothing(kind):
    """The drain goes on without its caller; what runs finishes, what is claimed is settled or given back."""

    async def simulate(sim, step):
        async with Scenario(sim, 0, kind) as at:
            stop = asyncio.create_task(at.scheduler.stop())
            for _ in range(step + 1):
                await asyncio.sleep(0)
            was_done = stop.done()
            stop.cancel()
            await asyncio.wait([stop])
            await sim.advance(5)
            assert not at.scheduler.is_running
            assert at.record().owner is None
            await at.take_over()
            assert at.settled()[:1] == [DUE]
        return not was_done

    assert steps_of(simulate) > 3


@every_storage
@pytest.mark.parametrize("timeout", [None, 0])
def test_a_stop_at_any_step_leaves_nothing_behind(kind, timeout):
    """No task, no lease; what was cancelled is due for the next one, at once and as its first attempt."""

    async def simulate(sim, step):
        async with Scenario(sim, step, kind) as at:
            await at.scheduler.stop(timeout)
            assert not at.world.living_tasks("one")
            assert at.record().owner is None
            assert all(run.end is not None for run in at.world.recorder.runs)
            other = await at._start("two")
            await other.add_interval_job("a", "A", at.job, EVERY)
            await sim.advance(SECOND)
            assert at.settled() == [DUE]
            assert all(attempt == 1 for _, attempt, _ in at.ran)
        return not at.is_over

    assert steps_of(simulate) > 6


@every_storage
@pytest.mark.parametrize("options", [{"recovery": "skip"}, {"overlap": "allow"}])
def test_a_stop_at_any_step_loses_nothing_that_has_not_begun(kind, options):
    """What has begun is not begun again; the rest is given back, as if it had not been claimed."""

    async def simulate(sim, step):
        async with Scenario(sim, step, kind, **options) as at:
            await at.scheduler.stop(timeout=0)
            assert at.record().owner is None
            assert not at.record().flights
            other = await at._start("two")
            await other.add_interval_job("a", "A", at.job, EVERY, **options)
            await sim.advance(SECOND)
            assert [fire_time for fire_time, *_ in at.ran] == [DUE]
            assert at.settled() == [DUE]
            assert at.record().scheduled_runs == at.record().run_count == 1
            assert at.record().next_run == DUE + EVERY
        return not at.is_over

    assert steps_of(simulate) > 6


@every_storage
def test_a_stop_at_any_step_before_another_try_keeps_the_tries_it_has_had(kind):
    """What had been given back for a later try, was claimed again and has not begun is given back as it was."""
    ways = []

    async def simulate(sim, step):
        async with Scenario(sim, 0, kind) as at:
            await at.scheduler.pause_job("a")
            tries, retry = [], Retry(max_retries=1, delay=2 * TTL, jitter=False)

            async def fails():
                tries.append(current_run().instance_id)
                await asyncio.sleep(1)
                raise ValueError

            begin = sim.now
            await at.scheduler.add_one_shot_job("b", "B", fails, 1, max_retries=retry)
            await sim.until(begin + 2 * SECOND + 2 * TTL - timedelta(microseconds=1))
            assert tries == ["one"]
            await sim.sleep(timedelta(microseconds=1))
            for _ in range(step):
                await asyncio.sleep(0)
            await at.scheduler.stop(timeout=0)
            other = await at._start("two")
            await other.add_one_shot_job("b", "B", fails, 1, max_retries=retry)
            await sim.advance(3 * TTL)
            assert at.world.record("b").run_count == 1
            ways.append(tries)
        return len(tries) == 2

    assert steps_of(simulate) > 1
    assert [way for way, _ in groupby(ways)] == [["one", "two"], ["one", "one", "two", "two"]]


@every_storage
@pytest.mark.parametrize("options", [{}, {"recovery": "skip"}, {"overlap": "allow"}])
def test_a_process_that_dies_at_any_step_costs_a_lease_and_a_poll(kind, options):
    """Then somebody else has run the occurrence, and it is counted once; at most once means that nobody has."""

    async def simulate(sim, step):
        async with Scenario(sim, step, kind, **options) as at:
            await at.world.kill()
            has_moved_on = at.record().next_run != DUE
            await at.take_over()
            assert at.world.verdicts[SettleVerdict.STALE] == 0
            if options and has_moved_on:
                assert len(at.ran) <= 1
                assert at.record().next_run == DUE + EVERY
            else:
                assert at.settled() == [DUE]
                assert at.record().run_count == 1
            await sim.advance(EVERY)
            assert at.settled()[-1] == DUE + EVERY
            assert at.record().owner is None
            assert not at.record().flights
            assert at.record().status is JobStatus.COMPLETED
        return not at.is_over

    assert steps_of(simulate) > 6


@every_storage
def test_a_process_that_dies_at_any_step_of_its_stop_costs_no_more(kind):
    """A drain that is cut short is a death like any other."""

    async def simulate(sim, step):
        async with Scenario(sim, 8, kind) as at:
            stop = asyncio.create_task(at.scheduler.stop(timeout=0))
            for _ in range(step):
                await asyncio.sleep(0)
            was_done = stop.done()
            await at.world.kill()
            stop.cancel()
            await at.take_over()
            assert at.settled() == [DUE]
        return not was_done

    assert steps_of(simulate) > 3


@every_storage
def test_a_loop_that_cancels_everything_at_any_step_leaks_nothing(kind):
    """As `asyncio.run` does at its end: all tasks end, without a complaint, and the leases run out."""

    async def simulate(sim, step):
        async with Scenario(sim, step, kind) as at:
            tasks = at.world.living_tasks("one")
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            assert not at.scheduler.is_running
            assert not at.scheduler.health().ok
            await at.take_over()
            assert at.settled() == [DUE]
        return not at.is_over

    assert steps_of(simulate) > 6
