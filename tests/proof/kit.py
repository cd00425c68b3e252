"""
A world to prove things in: several instances on one storage, in simulated time, and a witness of what they do.

The witness stands right before the storage and sees each claim and each settle that takes effect. `World` lets
instances live and die, and when it ends it asks for what must hold whatever has happened: the invariants.
"""

import asyncio
import random
import types
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Self

from chrono_async import AsyncScheduler
from chrono_async.claims import Granted, SettleVerdict
from chrono_async.models import JobRecord, RunRecord
from chrono_async.storage import InMemoryStorage, as_leasing
from chrono_async.testing import Recorder, Simulation, YieldingStorage
from tests.storage.eight_methods import EightMethodStorage

SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=n) for n in (1, 60, 3600, 86400))
START = datetime(2026, 1, 1, tzinfo=UTC)
TTL, POLL = timedelta(seconds=60), timedelta(seconds=10)

KINDS = ("memory", "eight methods")

_instance: ContextVar[str | None] = ContextVar("instance", default=None)


def grid(first: datetime, every: timedelta, count: int) -> list[datetime]:
    """The fire times of an interval."""
    return [first + n * every for n in range(count)]


def at(*seconds: float) -> list[datetime]:
    """Instants, by the seconds since the beginning."""
    return [START + timedelta(seconds=n) for n in seconds]


def steps_of(simulate: Callable[[Simulation, int], Any], *, start: datetime = START) -> int:
    """Run a scenario once for each step of the loop at which it can strike, until it says that all is over; count."""
    for step in range(400):
        with Simulation(start=start) as sim:
            if not sim.run(simulate(sim, step)):
                return step
    raise AssertionError("the scenario has no end")


class Claim(NamedTuple):
    job_id: str
    fire_time: datetime
    token: int
    attempt: int
    owner: str
    manual: bool
    now: datetime


class Settle(NamedTuple):
    job_id: str
    fire_time: datetime
    token: int
    manual: bool


class Witness(YieldingStorage):
    """Writes down what takes effect, at the very moment at which it does."""

    def __init__(self, inner: Any, world: "World") -> None:
        super().__init__(inner, yields=0)
        self._world = world

    async def _call(self, name: str, call: Any) -> Any:
        self._world.calls[name] += 1
        try:
            return await super()._call(name, call)
        finally:
            self._world.observe()

    async def claim(self, requests: Any, owner_id: str, ttl: timedelta) -> Any:
        answer = await self._call("claim", self.inner.claim(requests, owner_id, ttl))
        for request, verdict in zip(requests, answer.verdicts, strict=True):
            if isinstance(verdict, Granted):
                token, attempt = verdict.lease.token, verdict.attempt
                job_id, fire_time = request.job_id, request.fire_time
                self._world.note_claim(Claim(job_id, fire_time, token, attempt, owner_id, request.manual, answer.now))
                if not request.frees:
                    self._world.note_lease(job_id, token, ttl)
        return answer

    async def renew(self, leases: Any, ttl: timedelta) -> Any:
        answer = await self._call("renew", self.inner.renew(leases, ttl))
        for lease in leases:
            if lease not in answer.lost and self._world.leases.get(lease.job_id, (None,))[0] == lease.token:
                self._world.note_lease(lease.job_id, lease.token, ttl)
        return answer

    async def settle(self, outcomes: Any) -> Any:
        answer = await self._call("settle", self.inner.settle(outcomes))
        for outcome, settled in zip(outcomes, answer.settled, strict=True):
            self._world.note_settle(outcome.run, settled.verdict)
        return answer


class Gate:
    """What a process's tasks must pass at each of their steps; shut, while the process is frozen."""

    def __init__(self) -> None:
        self._opened: asyncio.Future[None] | None = None

    def shut(self) -> None:
        self._opened = asyncio.get_running_loop().create_future()

    def open(self) -> None:
        assert self._opened is not None
        self._opened.set_result(None)
        self._opened = None

    async def held(self, work: Any) -> Any:
        """Do what a coroutine does, one step after the other, each when the gate is open."""
        return await self._step_by_step(work)

    @types.coroutine
    def _step_by_step(self, work: Any) -> Any:
        error: BaseException | None = None
        while True:
            while self._opened is not None:
                try:
                    yield from self._opened
                except BaseException as arrived:  # noqa: BLE001 - it is for the process, when it goes on
                    error = arrived
            try:
                waits_for = work.send(None) if error is None else work.throw(error)
            except StopIteration as end:
                return end.value
            error = None
            try:
                yield waits_for
            except BaseException as arrived:  # noqa: BLE001 - and this too
                error = arrived


class Mortal(YieldingStorage):
    """An instance's own way to the storage: when the instance is dead, nothing it says arrives."""

    is_dead = False

    async def _call(self, name: str, call: Any) -> Any:
        if self.is_dead:
            call.close()
            await asyncio.get_running_loop().create_future()
        answer = await super()._call(name, call)
        if self.is_dead:
            await asyncio.get_running_loop().create_future()
        return answer


class World:
    """Instances on one storage. `storage` may hand each of them its way to it, faults and all."""

    def __init__(
        self,
        sim: Simulation,
        *,
        kind: str = "memory",
        base: Any = None,
        wrap: Callable[[Any], Any] = lambda storage: storage,
        wrap_eight: Callable[[Any], Any] = lambda storage: storage,
        yields: int = 1,
        next_run_may_go_back: bool = False,
        may_freeze: bool = False,
        is_witnessed: bool = True,
    ) -> None:
        random.seed(sim.seed or 0)  # the pauses and the polls are drawn: the same each time
        self.sim, self.kind, self._wrap, self._wrap_eight, self.yields = sim, kind, wrap, wrap_eight, yields
        if base is None:
            eight = EightMethodStorage(sim.clock) if kind == "eight methods" else None
            base = eight or InMemoryStorage(clock=sim.clock, history=10_000, total_history=1_000_000)
        self.base = base
        self.recorder = Recorder(sim.clock)
        self.schedulers: dict[str, AsyncScheduler] = {}
        self.ways: dict[str, Mortal] = {}
        self.claims: dict[tuple[str, int], Claim] = {}
        self.leases: dict[str, tuple[int, float]] = {}
        self.settles: dict[tuple[str, int], Settle] = {}
        self.done: Counter[tuple[str, int]] = Counter()
        self.verdicts: Counter[SettleVerdict] = Counter()
        self.calls: Counter[str] = Counter()
        self.seen: dict[str, JobRecord] = {}
        self.broken: list[str] = []
        self.problems: list[dict[str, Any]] = []
        self.removed: set[str] = set()
        self._is_witnessed = is_witnessed
        self._may_go_back, self._may_freeze = next_run_may_go_back, may_freeze
        self._tasks: dict[str, set[asyncio.Task[Any]]] = defaultdict(set)
        self.gates: dict[str, Gate] = defaultdict(Gate)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(self._make_task)
        loop.set_exception_handler(lambda _, context: self.problems.append(context))
        self._before = asyncio.all_tasks()
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        self.observe()
        for name, scheduler in self.schedulers.items():
            if error is None and scheduler.is_running and not self.ways[name].is_dead:
                await scheduler.stop(timeout=0)
        await self.sim.settle()
        asyncio.get_running_loop().set_task_factory(None)
        if error is None:
            self.check()

    # ── instances ────────────────────────────────────────────────────────────────────────────────────────────────────

    def way_to_storage(self) -> Any:
        base = self.base
        if self.kind == "eight methods":
            base = as_leasing(self._wrap_eight(base), clock=self.sim.clock)
        return self._wrap(YieldingStorage(Witness(base, self) if self._is_witnessed else base, yields=self.yields))

    def new(self, name: str = "one", **options: Any) -> AsyncScheduler:
        """Make an instance; it has to be started."""
        self.ways[name] = way = Mortal(self.way_to_storage(), yields=0)
        settings: dict[str, Any] = {"lock_ttl": TTL, "storage_poll_interval": POLL, "clock": self.sim.clock} | options
        self.schedulers[name] = scheduler = AsyncScheduler(storage=way, instance_id=name, **settings)
        return scheduler

    async def start(self, name: str = "one", **options: Any) -> AsyncScheduler:
        """Make an instance and start it."""
        scheduler = self.new(name, **options)
        await self.inside(name, scheduler.start)
        return scheduler

    async def inside(self, name: str, call: Callable[[], Any]) -> Any:
        """Call something as the process of that instance: its tasks are that process's."""
        token = _instance.set(name)
        try:
            return await call()
        finally:
            _instance.reset(token)

    def _make_task(self, loop: Any, coro: Any, **options: Any) -> asyncio.Task[Any]:
        context = options.get("context")
        name = _instance.get() if context is None else context.get(_instance)
        task: asyncio.Task[Any]
        work = self.gates[name].held(coro) if name is not None and self._may_freeze else coro
        task = asyncio.Task(work, loop=loop, **options)
        if name is not None:
            self._tasks[name].add(task)
        return task

    def living_tasks(self, name: str) -> list[asyncio.Task[Any]]:
        return [task for task in self._tasks[name] if not task.done()]

    async def kill(self, name: str = "one") -> None:
        """Let the process of an instance die: its tasks are gone, and nothing of it reaches the storage any more."""
        self.ways[name].is_dead = True
        while tasks := self.living_tasks(name):
            for task in tasks:
                task.cancel()
            await asyncio.sleep(0)
        self.problems.clear()  # what dies so does not die in order

    # ── what the witness writes down ─────────────────────────────────────────────────────────────────────────────────

    def note_claim(self, claim: Claim) -> None:
        before = self.claims.setdefault((claim.job_id, claim.token), claim)
        if before.owner != claim.owner:
            self.broken.append(f"token {claim.token} was granted to {before.owner} and to {claim.owner}")
        if claim.now < claim.fire_time:
            self.broken.append(f"{claim} is early")

    def note_lease(self, job_id: str, token: int, ttl: timedelta) -> None:
        now = self.sim.loop.time()
        holder, until = self.leases.get(job_id, (token, now))
        if holder != token and now < until:
            self.broken.append(f"{job_id} was granted under token {token} while the lease of {holder} lives")
        self.leases[job_id] = token, now + ttl.total_seconds()

    def note_settle(self, run: RunRecord, verdict: SettleVerdict) -> None:
        self.verdicts[verdict] += 1
        self.done[run.job_id, run.token] += verdict is SettleVerdict.DONE
        if verdict is not SettleVerdict.STALE:
            self.settles[run.job_id, run.token] = Settle(run.job_id, run.fire_time, run.token, run.manual)

    def records(self) -> Iterable[JobRecord]:
        return (
            self.base.jobs.values() if isinstance(self.base, EightMethodStorage) else self.base._kept.records.values()
        )

    def record(self, job_id: str) -> JobRecord:
        return next(record for record in self.records() if record.id == job_id)

    def observe(self) -> None:
        held = {record.id for record in self.records() if record.owner is not None}
        self.leases = {job_id: lease for job_id, lease in self.leases.items() if job_id in held}
        for record in self.records():
            before = self.seen.get(record.id)
            if before is not None and before.token > record.token:
                self.broken.append(f"the token of {record.id} went back")
            if before is not None and record.id not in self.removed and record.run_count < before.run_count:
                self.broken.append(f"the run count of {record.id} went back")
            if before is not None and not self._may_go_back and _is_back(before.next_run, record.next_run):
                self.broken.append(f"the next run of {record.id} went from {before.next_run} back to {record.next_run}")
            claim = self.claims.get((record.id, record.settled_token))
            if claim is not None and (record.id, record.settled_token) not in self.settles:  # its answer never came
                self.settles[record.id, claim.token] = Settle(record.id, claim.fire_time, claim.token, claim.manual)
            self.seen[record.id] = record.copy()

    def check(self) -> None:
        """Ask for what must hold, whatever has happened."""
        assert not self.broken, self.broken
        assert not self.problems, self.problems
        ended = [task for tasks in self._tasks.values() for task in tasks if task.done() and not task.cancelled()]
        assert not (failed := [task for task in ended if task.exception()]), failed
        assert not (left := asyncio.all_tasks() - self._before - {asyncio.current_task()}), left
        if self._is_witnessed:
            self._check_tokens()
            self._check_settles()

    def _check_tokens(self) -> None:
        tokens: dict[str, int] = defaultdict(int)
        for claim in self.claims.values():
            assert claim.token > tokens[claim.job_id], f"{claim} has no greater token than {tokens[claim.job_id]}"
            tokens[claim.job_id] = claim.token

    def _check_settles(self) -> None:
        occurrences = Counter((settle.job_id, settle.fire_time, settle.manual) for settle in self.settles.values())
        doubles = {occurrence: times for occurrence, times in occurrences.items() if times > 1}
        assert not doubles, f"settled more than once: {doubles}"
        assert all(times <= 1 for times in self.done.values()), self.done
        for record in self.records():
            if record.id not in self.removed:
                assert record.run_count == sum(job_id == record.id for job_id, _ in self.settles), record


def _is_back(before: datetime | None, after: datetime | None) -> bool:
    return after is not None and (before is None or after < before)
