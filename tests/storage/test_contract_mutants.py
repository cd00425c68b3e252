"""
The contract's comparison with memory sees a storage that breaks a rule, and tells how; a missing tool is said.

Each mutant breaks one rule that memory keeps. It is asked on a clock that stands; where tokens are the matter, on one
that goes on and can be set, as those of servers do.
"""

import asyncio
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from chrono_async.clock import Clock, SystemClock
from chrono_async.models import JobRecord
from chrono_async.storage import InMemoryStorage, as_leasing
from chrono_async.storage._table import endings
from chrono_async.storage._table.table import Table
from chrono_async.testing.contract import SteppedClock, StorageContract

from .eight_methods import EightMethodStorage

pytestmark = pytest.mark.long


class Contract(StorageContract):
    __test__ = False
    model_examples = 60  # three times as many as it takes, whatever the seed
    model_patience = 0.0  # the first difference will do


async def compare(storage: Any, clock: Clock, contract: type[StorageContract] = Contract, another: Any = None) -> None:
    leasing = as_leasing(storage, clock=clock)
    await contract().test_it_answers_as_memory_does(storage, leasing, another, clock)


# ── with the leasing verbs ───────────────────────────────────────────────────────────────────────────────────────────


class ChecksNoToken(Table):
    def _settle(self, outcome: Any, at: Any) -> Any:
        record = self.records.get(outcome.lease.job_id)
        if record is not None and record.owner is not None:
            lease = outcome.lease._replace(token=record.token, owner=record.owner)
            outcome = outcome._replace(lease=lease)
        return super()._settle(outcome, at)


class RestartsTokens(Table):
    def delete(self, job_id: str) -> None:
        floor = self.token_floor
        super().delete(job_id)
        self.token_floor = floor


class RunsWhatIsPaused(Table):
    def due_records(self, now: datetime) -> list[JobRecord]:
        paused = [record for record in self.records.values() if record.paused]
        return super().due_records(now) + [r for r in paused if r.next_run is not None and r.next_run <= now]


class MovesAPointerThatAUserHasMoved(Table):
    def _settle(self, outcome: Any, at: Any) -> Any:
        record = self.records.get(outcome.lease.job_id)
        if record is not None and outcome.move is not None:
            move = outcome.move._replace(revision=record.revision, expected=record.next_run)
            outcome = outcome._replace(move=move)
        return super()._settle(outcome, at)


class CountsWhatIsAskedAgain(Table):
    def _settle_other(self, record: JobRecord, outcome: Any, at: Any) -> Any:
        if outcome.lease.token == record.settled_token:
            endings.settle(record, outcome._replace(move=None))
        return super()._settle_other(record, outcome, at)


class LeavesLeasesWhenGivenBack(Table):
    def _let_go(self, record: JobRecord, given: Any) -> bool:
        lock = self.locks.get(record.id)
        is_let_go = super()._let_go(record, given)
        if is_let_go and lock is not None:
            self.locks[record.id] = lock
        return is_let_go


class MovesBackAPointerThatHasGoneOn(Table):
    def _let_go(self, record: JobRecord, given: Any) -> bool:
        is_let_go = super()._let_go(record, given)
        if is_let_go and given.move is not None:
            record.next_run = given.move.next_run
        return is_let_go


class RenewsWhatIsLost(Table):
    def renew(self, leases: Any, ttl: timedelta, at: Any) -> list[Any]:
        super().renew(leases, ttl, at)
        return []


class Broken(InMemoryStorage):
    def __init__(self, table: Table, clock: Clock) -> None:
        super().__init__(clock=clock)
        self._kept = table


@pytest.mark.parametrize(
    "mutant",
    [
        RunsWhatIsPaused,
        MovesAPointerThatAUserHasMoved,
        MovesBackAPointerThatHasGoneOn,
        CountsWhatIsAskedAgain,
        LeavesLeasesWhenGivenBack,
        RenewsWhatIsLost,
    ],
)
async def test_a_storage_that_breaks_a_rule_is_seen(mutant: type[Table]) -> None:
    clock = SteppedClock()
    with pytest.raises(AssertionError, match="==") as seen:
        await compare(Broken(mutant(), clock), clock)
    assert "What was asked, and what memory answered:" in seen.value.__notes__[-1]


class SetClock(SystemClock):
    """The machine's, as far ahead as it is set; leases end by wall time."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.ahead

    def boot(self) -> float:
        return super().boot() + self.ahead.total_seconds()

    def step(self, by: timedelta) -> None:
        self.ahead += by


class OnARunningClock(Contract):
    __test__ = False
    leases_by_boot_clock = False


class Short(OnARunningClock):
    __test__ = False
    model_examples = 5


@pytest.mark.parametrize("mutant", [ChecksNoToken, RestartsTokens])
async def test_one_that_breaks_a_rule_of_tokens_is_seen_though_the_clock_goes_on(mutant: type[Table]) -> None:
    """Where tokens are not memory's own, and moments are not quite."""
    clock = SetClock()
    with pytest.raises(AssertionError, match="=="):
        await compare(Broken(mutant(), clock), clock, OnARunningClock)


@pytest.mark.parametrize("clock", [SetClock(), SystemClock()], ids=["set", "unset"])
async def test_a_clock_that_goes_on_is_no_difference(clock: Clock) -> None:
    """Memory beside a memory that is asked a moment later."""
    await compare(InMemoryStorage(clock=clock), clock, Short)


class RemembersItsOwn(EightMethodStorage):
    """Reads what it has once read, whatever another writes."""

    async def get_job(self, job_id: str) -> JobRecord:
        remembered = self.__dict__.setdefault("remembered", {})
        if job_id not in remembered:
            remembered[job_id] = await super().get_job(job_id)
        return remembered[job_id].copy()


async def test_what_one_of_two_objects_does_not_see_is_seen() -> None:
    clock = SteppedClock()
    storage, another = RemembersItsOwn(clock), EightMethodStorage(clock)
    another.jobs, another.locks = storage.jobs, storage.locks
    with pytest.raises(AssertionError, match="=="):
        await compare(storage, clock, another=another)


class LeavesTheLock(EightMethodStorage):
    async def delete_job(self, job_id: str) -> None:
        lock = self.locks.get(job_id)
        await super().delete_job(job_id)
        if lock is not None:
            self.locks[job_id] = lock


class LendsTheLock(EightMethodStorage):
    async def acquire_lock(self, job_id: str, owner_id: str, ttl: timedelta) -> bool:
        await super().acquire_lock(job_id, owner_id, ttl)
        return True


class ShowsWhatIsPaused(EightMethodStorage):
    async def get_due_jobs(self, now: datetime) -> list[JobRecord]:
        return [record for record in await self.list_jobs() if record.next_run is not None and record.next_run <= now]


@pytest.mark.parametrize("mutant", [LeavesTheLock, LendsTheLock, ShowsWhatIsPaused])
async def test_one_of_eight_methods_that_breaks_a_rule_is_seen(mutant: Callable[[Clock], EightMethodStorage]) -> None:
    clock = SteppedClock()
    with pytest.raises(AssertionError, match="=="):
        await compare(mutant(clock), clock)


class BrokenError(Exception):
    """What a storage of the test's fails with."""


class Failing(EightMethodStorage):
    async def get_job(self, job_id: str) -> JobRecord:
        raise BrokenError(job_id)


async def test_the_shortest_series_is_told() -> None:
    """An error counts as a difference; it takes a call or two to see this one."""

    class Patient(Contract):
        __test__ = False
        model_patience = 5.0

    clock = SteppedClock()
    with pytest.raises(BrokenError) as seen:
        await compare(Failing(clock), clock, Patient)
    (told,) = seen.value.__notes__
    assert [line.partition("(")[0] for line in told.splitlines()[1:]].count("get_job") == 1
    assert told.count("\n") < 10


async def test_the_same_seed_tries_the_same_and_another_others() -> None:
    """So that what has failed fails again."""
    asked = [await _asked(seed) for seed in (0, 0, 1)]
    assert asked[0] == asked[1] != asked[2]


async def _asked(of_seed: int) -> list[str]:
    class Seeded(Contract):
        __test__ = False
        model_seed = of_seed
        model_examples = 3

    class Noting(EightMethodStorage):
        async def acquire_lock(self, job_id: str, owner_id: str, ttl: timedelta) -> bool:
            asked.append(f"{job_id} {owner_id} {ttl}")
            return await super().acquire_lock(job_id, owner_id, ttl)

    asked: list[str] = []
    clock = SteppedClock()
    await compare(Noting(clock), clock, Seeded)
    return asked


async def test_without_hypothesis_the_comparison_fails_and_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is not left out unasked."""
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    monkeypatch.setitem(sys.modules, "hypothesis.strategies", None)
    clock = SteppedClock()
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'chrono-async\[testing\]'.*model_examples = 0"):
        await compare(InMemoryStorage(clock=clock), clock)


async def test_who_wants_to_can_leave_it_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hypothesis.strategies", None)

    class Without(Contract):
        __test__ = False
        model_examples = 0

    clock = SteppedClock()
    with pytest.raises(pytest.skip.Exception, match="model_examples is 0"):
        await compare(InMemoryStorage(clock=clock), clock, Without)


async def test_the_loop_goes_on_meanwhile() -> None:
    """A connection that is bound to it is asked on it, and others of its tasks are served."""
    loops = set()

    class Bound(EightMethodStorage):
        async def get_job(self, job_id: str) -> JobRecord:
            loops.add(asyncio.get_running_loop())
            return await super().get_job(job_id)

    clock = SteppedClock()
    await compare(Bound(clock), clock, Short)
    assert loops == {asyncio.get_running_loop()}
