"""
The crash points of one run, as docs/guarantees.md lists them: a process dies just there, and what follows elsewhere.

Where `test_every_step` dies at every step and asks for what always holds, here each point is named, and what is seen
of it: how often the body was run, what the history says, and when somebody else begins.
"""

import asyncio

import pytest

from chrono_async import Retry
from chrono_async.engine import current_run
from chrono_async.models import JobStatus, RunStatus
from chrono_async.testing import Fault, FaultyStorage
from tests.proof.kit import HOUR, KINDS, POLL, SECOND, START, TTL, World

DUE = START + HOUR
LOOK_AGAIN = 5 * SECOND  # at a lock whose end cannot be seen, on the portable path

every_storage = pytest.mark.parametrize("kind", KINDS)
every_recovery = pytest.mark.parametrize("recovery", ["rerun", "skip"])


class DyingStorage(FaultyStorage):
    """A way to the storage on which the process dies when a certain answer has arrived: nothing is done with it."""

    def __init__(self, inner, world):
        super().__init__(inner)
        self.world, self.dies_after, self.death = world, None, None

    async def _call(self, name, call):
        answer = await super()._call(name, call)
        if name == self.dies_after:
            self.dies_after = None
            self.death = asyncio.ensure_future(self.world.kill())  # before whatever the answer sets in motion
        return answer


class Crash(World):
    """One instance with a job that is due in an hour, and another one as soon as the first is dead."""

    def __init__(self, sim, kind, recovery="rerun", *, lasts=0, **options):
        super().__init__(sim, kind=kind, wrap=self._way)
        self.lasts, self.options = lasts, {"recovery": recovery} | options
        self.effects, self.told = [], []
        self.way = None

    def _way(self, storage):
        way = DyingStorage(storage, self)
        self.way = self.way or way
        return way

    async def body(self):
        """Wait, and then have an effect."""
        self.recorder._begin()
        await asyncio.sleep(self.lasts)
        self.effects.append((current_run().instance_id, current_run().attempt))

    async def begin(self, body=None, **options):
        """Let the first instance have its job."""
        self.first = await self.start("one", **options)
        await self.add(self.first, body)

    async def add(self, scheduler, body=None):
        await scheduler.add_interval_job("a", "A", body or self.body, HOUR, on_result=self.told.append, **self.options)

    async def dies(self, at):
        """Let the first instance die at this moment, unless it has by then."""
        await self.sim.until(at)
        await self.kill()
        self.died = at

    async def elsewhere(self, body=None, **options):
        """Let another instance see to what is left."""
        self.second = await self.start("two", **options)
        await self.add(self.second, body)
        await self.sim.settle()

    async def takes_over(self):
        """Let the dead one's lease end, see nobody begin before, and somebody within a poll after that, if at all."""
        await self.sim.until(DUE + TTL - SECOND)
        assert self.effects_of("two") == []
        await self.sim.until(self.died + TTL + POLL + (LOOK_AGAIN if self.kind == "eight methods" else 0 * SECOND))

    def effects_of(self, name):
        return [attempt for who, attempt in self.effects if who == name]

    async def rows(self):
        """Return what the history says of the occurrence, the oldest first."""
        return [row.status for row in await self.second.list_runs("a") if row.fire_time == DUE][::-1]

    async def is_abandoned(self):
        """See that the run is shown as abandoned and counted by nobody, and that the job goes on at its next time."""
        if self.kind == "memory":  # with eight methods nobody looks for the dead before the next claim
            assert await self.rows() == [RunStatus.ABANDONED]
        assert self.record("a").run_count == 0
        await self.sim.until(DUE + HOUR + 30 * SECOND)
        assert await self.rows() == [RunStatus.ABANDONED]
        assert self.effects_of("two") == [1]

    async def is_done_again(self, *attempts):
        """See the occurrence run elsewhere, and counted once."""
        assert self.effects_of("two") == list(attempts)
        assert await self.rows() == [RunStatus.ABANDONED, RunStatus.COMPLETED]
        assert self.record("a").run_count == 1

    async def is_done(self):
        """See that nobody runs it again, and that it is counted once."""
        await self.sim.until(DUE + TTL + POLL + LOOK_AGAIN)
        assert self.effects == [("one", 1)]
        assert (self.record("a").run_count, self.record("a").next_run) == (1, DUE + HOUR)
        assert self.record("a").status is JobStatus.COMPLETED


@every_storage
@every_recovery
async def test_before_the_claim_is_asked_for(sim, kind, recovery):
    """Nobody has it: others claim it, at once."""
    async with Crash(sim, kind, recovery) as world:
        await world.begin()
        world.way.plan["claim", 0] = Fault.HANGS
        await world.dies(DUE + SECOND)
        await world.elsewhere()
        await sim.advance(0.1)
        assert world.effects == [("two", 1)]
        assert await world.rows() == [RunStatus.COMPLETED]


@every_storage
@every_recovery
async def test_the_claim_was_granted_its_answer_not_yet_read(sim, kind, recovery):
    """The storage holds a lease of which nobody knows."""
    async with Crash(sim, kind, recovery) as world:
        await world.begin()
        world.way.plan["claim", 0] = Fault.DONE_THEN_HANGS
        await world.dies(DUE + SECOND)
        await world.elsewhere()
        await world.takes_over()
        assert world.effects_of("one") == []
        await (world.is_done_again(2) if recovery == "rerun" else world.is_abandoned())


@every_storage
@every_recovery
async def test_claimed_the_function_not_yet_called(sim, kind, recovery):
    """Attempt 1 has had no effect."""
    async with Crash(sim, kind, recovery) as world:
        await world.begin()
        world.way.dies_after = "claim"
        await world.dies(DUE + SECOND)
        assert world.recorder.runs == []
        await world.elsewhere()
        await world.takes_over()
        await (world.is_done_again(2) if recovery == "rerun" else world.is_abandoned())


@every_storage
@every_recovery
async def test_inside_the_function(sim, kind, recovery):
    """It has begun, and nobody knows how far it came."""
    async with Crash(sim, kind, recovery, lasts=4) as world:
        await world.begin()
        await world.dies(DUE + SECOND)
        assert len(world.recorder.runs) == 1
        await world.elsewhere()
        await world.takes_over()
        await (world.is_done_again(2) if recovery == "rerun" else world.is_abandoned())
    assert world.effects_of("one") == []


@every_storage
@every_recovery
async def test_the_function_has_returned_nothing_written_yet(sim, kind, recovery):
    """This is why at least once is not once: the effect is there, and nobody else can know."""
    async with Crash(sim, kind, recovery) as world:
        await world.begin()
        world.way.plan["settle", 0] = Fault.HANGS
        await world.dies(DUE + SECOND)
        assert world.effects == [("one", 1)]
        await world.elsewhere()
        await world.takes_over()
        await (world.is_done_again(2) if recovery == "rerun" else world.is_abandoned())
    assert world.effects[0] == ("one", 1)


@every_storage
@every_recovery
async def test_written_the_answer_not_yet_read(sim, kind, recovery):
    """It is done, whether or not its process came to know."""
    async with Crash(sim, kind, recovery) as world:
        await world.begin()
        world.way.plan["settle", 0] = Fault.DONE_THEN_HANGS
        await world.dies(DUE + SECOND)
        await world.elsewhere()
        await world.is_done()


@every_storage
@every_recovery
async def test_before_the_callbacks(sim, kind, recovery):
    """They are the dead process's to call: nobody else makes up for them."""
    async with Crash(sim, kind, recovery) as world:
        await world.begin()
        world.way.dies_after = "settle"
        await world.dies(DUE + SECOND)
        await world.elsewhere()
        await world.is_done()
    assert world.told == []


class Failing:
    """A body that always fails, and notes when, and by whom, it was tried."""

    def __init__(self, sim):
        self.sim, self.tried = sim, []

    async def __call__(self):
        self.tried.append((current_run().instance_id, current_run().attempt, round((self.sim.now - DUE) / SECOND)))
        raise OSError


def _tries_of(body, name):
    return [(attempt, at) for who, attempt, at in body.tried if who == name]


@every_storage
@every_recovery
async def test_in_a_pause_before_a_retry(sim, kind, recovery):
    """A pause within the lease: the tries were the dead process's own knowledge, attempt 2 has them all."""
    async with Crash(sim, kind, recovery, max_retries=Retry(max_retries=2, delay=20, backoff=1, jitter=False)) as world:
        body = Failing(sim)
        await world.begin(body)
        await world.dies(DUE + 30 * SECOND)
        assert _tries_of(body, "one") == [(1, 0), (1, 20)]
        await world.elsewhere(body)
        await sim.until(DUE + TTL + 100 * SECOND)
    (first, *more) = _tries_of(body, "two") or [None]
    if recovery == "skip":
        assert first is None
    else:
        attempt, begin = first
        assert 60 <= begin <= 30 + 60 + 10 + 5
        assert [attempt, *more] == [2, (2, begin + 20), (2, begin + 40)]
        assert [result.retry_count for result in world.told] == [2]


@every_storage
@every_recovery
async def test_in_a_pause_before_a_retry_that_outlasts_the_lease(sim, kind, recovery):
    """The run was given back together with its tries: others go on with them, and wait for no lease; or never do."""
    retry = Retry(max_retries=2, delay=100, backoff=1, jitter=False)
    async with Crash(sim, kind, recovery, max_retries=retry) as world:
        body = Failing(sim)
        await world.begin(body)
        await world.dies(DUE + 50 * SECOND)
        await world.elsewhere(body)
        await sim.until(DUE + 250 * SECOND)
    assert _tries_of(body, "one") == [(1, 0)]
    assert _tries_of(body, "two") == ([(1, 100), (1, 200)] if recovery == "rerun" else [])
    assert [result.retry_count for result in world.told] == ([2] if recovery == "rerun" else [])


@every_storage
@every_recovery
async def test_draining_a_run_still_going(sim, kind, recovery):
    """A drain that does not come to its end gives nothing back."""
    async with Crash(sim, kind, recovery, lasts=4) as world:
        await world.begin()
        await sim.until(DUE + SECOND)
        stop = asyncio.create_task(world.first.stop())
        await world.dies(DUE + 2 * SECOND)
        assert not stop.done()
        stop.cancel()
        await world.elsewhere()
        await world.takes_over()
        await (world.is_done_again(2) if recovery == "rerun" else world.is_abandoned())


@every_storage
@every_recovery
@pytest.mark.parametrize("fault", [Fault.HANGS, Fault.DONE_THEN_HANGS])
async def test_in_the_middle_of_adding(sim, kind, recovery, fault):
    """The job is there, or it is not; who adds it again has one job, which runs once."""
    async with Crash(sim, kind, recovery) as world:
        world.first = await world.start("one")
        world.way.plan["register", 0] = fault
        adding = asyncio.create_task(world.add(world.first))
        await world.dies(START + SECOND)
        adding.cancel()
        assert len(list(world.records())) == (fault is Fault.DONE_THEN_HANGS)
        await world.elsewhere()
        await sim.until(DUE + 2 * SECOND)
    assert world.effects == [("two", 1)]


@every_storage
async def test_with_the_settings_that_nobody_has_changed_it_takes_five_minutes_and_a_half(sim, kind):
    """At the most, from the death on: a lease that was renewed just before it, and a poll."""
    async with Crash(sim, kind, lasts=400) as world:
        defaults = {"lock_ttl": 300, "storage_poll_interval": 30}
        await world.begin(**defaults)
        await world.dies(DUE + 205 * SECOND)
        await world.elsewhere(**defaults)
        while len(world.recorder.runs) < 2:
            await sim.advance(1)
        begun = world.recorder.runs[1].start - world.died
        assert 200 * SECOND < begun <= 330 * SECOND
        await sim.advance(500)
    assert world.effects == [("two", 2)]
