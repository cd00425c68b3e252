"""
A world of instances on one storage, in which whatever can go wrong does, and then nothing more.

First the storm: faults, and users who change jobs all the while. Then the calm: all that was wrong is healed, whoever
died is started again, and after a while all must be well. One seed decides everything, each concern with dice of its
own.
"""

import asyncio
import contextlib
import itertools
import logging
import random
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

from chrono_async import AsyncScheduler, ChronoError, InMemoryStorage, JobNotFoundError
from chrono_async.errors import SchedulerStoppedError, StorageError
from chrono_async.storage import as_leasing
from chrono_async.testing import VirtualClock
from tests.storage.eight_methods import EightMethodStorage

from .client import EightMethodClient, LeasingClient, NotingStorage
from .faults import Nemesis
from .history import Defect, History, Lived, Stepped
from .jobs import Deploys, Place, body_of, draw_jobs
from .ledger import LedgerClient, RowServer
from .loop import ProcessLoop, spawn
from .network import Network
from .server import TTL, ServerStorage
from .users import Users
from .witness import NOTED, Witness

POLL, PATIENCE = 2.0, 2.0
STORM, RECOVERY, CALM = 50.0, 45.0, 12.0
"""Seconds of faults, of recovering from them, and of peace in which all must be well."""
_A_LEDGERS_MOMENT = 0.3
"""By how many seconds more things may be late where a verb takes several messages."""

_LOGGER = logging.getLogger("chrono_async")


class Process:
    """One life of an instance."""

    def __init__(self, world: "World", name: str, number: int) -> None:
        self.world, self.name, self.who = world, name, f"{name}{number}"
        self.clock: VirtualClock = world.clocks[name]
        self.is_dead = self.is_stopped = False
        self.scheduler = AsyncScheduler(
            storage=world.way_to_storage(self),
            instance_id=name,
            lock_ttl=TTL,
            storage_poll_interval=POLL,
            storage_timeout=PATIENCE,
            max_concurrent_runs=world.places[name],
            clock=self.clock,
        )
        self.jobs = world.deploys.jobs_at(world.loop.time())
        self.has_started = False
        self.is_gone = asyncio.Event()

    @property
    def is_living(self) -> bool:
        """Whether it does anything, or would if it were not frozen."""
        return not (self.is_dead or self.is_stopped)

    def begin(self) -> None:
        """Be started, and declare all jobs, as a service does."""
        self.world.note(Lived, self.who, "born")
        self.do(self._begin())

    def do(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Let the process do something."""
        return spawn(self.who, self.world.loop, lambda: work)

    async def _begin(self) -> None:
        await self.scheduler.start()
        self.has_started = True
        for job in self.jobs:
            await self._declare(job)

    async def _declare(self, job_id: str) -> None:
        for _ in range(200):
            with contextlib.suppress(StorageError):
                await self.add(job_id)
                return
            await asyncio.sleep(0.3)

    async def add(self, job_id: str) -> None:
        """Add a job as this process's code has it, with its copy of the function."""
        world, job = self.world, self.jobs[job_id]
        means = world.loop, world.history, world.dice["bodies"], world.numbers
        place = Place(self.who, *means, self.die, lambda: world.is_calm, lambda: world.is_over)
        function = body_of(job, place)
        if isinstance(job.schedule, float):
            await self.scheduler.add_one_shot_job(job.id, "", function, job.schedule, replace=True, **job.options)
        else:
            await self.scheduler.add_job(job.id, "", function, job.schedule, replace=True, **job.options)

    def die(self) -> None:
        """Be gone: none of its tasks ever goes on, and nothing that it says arrives any more."""
        if self.is_living:
            self.is_dead = True
            self.is_gone.set()
            self.world.loop.freeze(self.who)
            self.world.note(Lived, self.who, "died")

    async def stop(self, timeout: float | None) -> None:
        """Stop in order, and note what is left."""
        self.world.note(Lived, self.who, "stopping")
        with contextlib.suppress(SchedulerStoppedError):
            await self.scheduler.stop(timeout)
        self.is_stopped = True
        self.is_gone.set()
        await asyncio.sleep(0)
        left = sorted(_name_of(task) for task in self.world.loop.tasks_left(self.who))
        self.world.note(Lived, self.who, "stopped", tuple(name for name in left if not name.startswith(_OURS)))


_OURS = ("Users.", "Process.")  # what the world's people do, not the engine


def _name_of(task: "asyncio.Task[Any]") -> str:
    return str(getattr(task.get_coro(), "__qualname__", "?"))


class World:
    """Instances, their storage, and what befalls them."""

    def __init__(self, seed: int, *, eight_methods: bool = False, on_rows: bool = False) -> None:
        self.seed, self.has_eight_methods, self.is_on_rows = seed, eight_methods, on_rows
        concerns = ("world", "network", "nemesis", "users", "bodies", "server", "deploys", "drivers")
        self.dice = {concern: random.Random(f"{seed} {concern}") for concern in concerns}
        self.loop = ProcessLoop(seed=seed)
        self.history = History(TTL, POLL, PATIENCE, has_eight_methods=eight_methods, is_on_rows=on_rows)
        self.history.moment = _A_LEDGERS_MOMENT if on_rows else 0.0
        self.is_calm = self.is_over = False
        self.numbers = itertools.count()
        self.server_clock, self._ahead = VirtualClock(loop=self.loop), 0.0
        self.network = Network(self.loop, self.history, self.dice["network"])
        if self.dice["drivers"].random() < 0.2:
            self.network.drivers = self.dice["drivers"]
        self._make_storage()
        self._draw()
        self.processes: dict[str, Process] = {}
        self._lives: dict[str, int] = {}

    def _make_storage(self) -> None:
        self.storage: Any
        self.sets_clock = not self.has_eight_methods and self.dice["server"].random() < 0.2
        if self.has_eight_methods:
            self.storage = EightMethodStorage(self.server_clock)
            at_storage = Witness(self.history, self.server_clock, lambda: self.storage.jobs, notes=frozenset())
        elif self.is_on_rows:
            self.storage = RowServer(self.server_clock)
            records = self.storage.records
            at_storage = Witness(self.history, self.server_clock, lambda: records, notes=NOTED)
        else:
            kind = ServerStorage if self.sets_clock else InMemoryStorage
            self.storage = kind(clock=self.server_clock, history=1000)
            records = self.storage._kept.records
            at_storage = Witness(self.history, self.server_clock, lambda: records, notes=NOTED)
        self.witness = at_storage

    def _draw(self) -> None:
        dice = self.dice["world"]
        self.names = list("abcde"[: dice.randint(2, 5)])
        most = 0.3 if self.has_eight_methods else 300.0
        self.clocks = {n: self.server_clock.skewed(timedelta(seconds=dice.uniform(-most, most))) for n in self.names}
        self.places = {n: None if n == "a" else dice.choice((None, None, 3)) for n in self.names}
        self.history.bounded = frozenset(name for name, most in self.places.items() if most is not None)
        self.jobs = draw_jobs(dice)
        self.deploys = Deploys(self.jobs, self.dice["deploys"], STORM)
        self.history.traits = {job.id: job.traits for job in self.jobs}
        self.history.skew = timedelta(seconds=2 * most) if self.has_eight_methods else timedelta(0)

    def way_to_storage(self, process: Process) -> Any:
        """Return what an instance calls its storage."""
        if self.is_on_rows:
            return LedgerClient(process.who, self.network, self.witness, self.storage, process.clock)
        kind = EightMethodClient if self.has_eight_methods else LeasingClient
        client = kind(process.who, self.network, self.witness, self.storage)
        if not self.has_eight_methods:
            return client
        portable = as_leasing(client, clock=process.clock)
        own = Witness(self.history, self.server_clock, lambda: self.storage.jobs, notes=NOTED, looks=False)
        return NotingStorage(process.who, own, portable)

    def note(self, kind: Any, *values: Any) -> None:
        """Write down what happens now."""
        if not self.is_over:
            self.history.events.append(kind(self.loop.time(), *values))

    def set_clock(self, ahead: float) -> None:
        """Let the storage's clock be ahead by so many seconds."""
        self.note(Stepped, ahead)
        self.server_clock.step(timedelta(seconds=ahead - self._ahead))
        self._ahead = ahead

    def living(self) -> list[Process]:
        """Return the processes that are there."""
        return [process for process in self.processes.values() if process.is_living]

    def start(self, name: str) -> None:
        """Begin a new life of an instance, under its old name."""
        self._lives[name] = self._lives.get(name, 0) + 1
        self.processes[name] = process = Process(self, name, self._lives[name])
        process.begin()

    async def live(self) -> None:
        """Live through storm and calm."""
        for name in self.names:
            self.start(name)
        nemesis, users = Nemesis(self, STORM), Users(self)
        storm = [asyncio.ensure_future(work) for work in (nemesis.rage(), users.meddle())]
        await asyncio.sleep(STORM - self.loop.time())
        for task in storm:
            task.cancel()
        await asyncio.wait(storm)  # or a strike that begins at this very moment outlasts the healing
        nemesis.heal()
        self.is_calm = True
        self.history.storm_ends = self.loop.time()
        self.history.judged_from = self.loop.time() + RECOVERY
        if self.sets_clock:
            self.set_clock(0)
            self.mending = asyncio.ensure_future(users.begin_anew())
        await self._be_calm()

    async def _be_calm(self) -> None:
        await self._keep_alive_until(self.history.judged_from + CALM)
        self.history.ended = self.loop.time()
        stops = [process.do(process.stop(3)) for process in self.living()]
        await asyncio.wait(stops)

    async def _keep_alive_until(self, end: float) -> None:
        """Start again whoever dies: a fatal job kills in the calm too."""
        while self.loop.time() < end:
            for name in self.names:
                if not self.processes[name].is_living:
                    self.start(name)
            await asyncio.sleep(1)

    async def clear_away(self) -> None:
        """End everything: what is done from here on is not part of the history."""
        self.is_over = self.network.is_over = True
        self.loop.thaw_all()
        mine = asyncio.current_task()
        while left := [task for task in asyncio.all_tasks() if task is not mine]:
            for task in left:
                task.cancel()
            await asyncio.sleep(0)


class _Listener(logging.Handler):
    """Takes down what the engine logs as an error: it has found a defect of its own."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.ERROR)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "chrono_async.jobs":  # what bodies raise is meant to be
            return
        cause = record.exc_info[1] if record.exc_info else None
        self._world.note(Defect, f"{record.getMessage()}: {cause!r}")


@contextlib.contextmanager
def _listening(world: World) -> Any:
    listener, level = _Listener(world), _LOGGER.level
    propagates, state = _LOGGER.propagate, random.getstate()
    random.seed(f"{world.seed} engine")  # the engine draws its pauses from there
    _LOGGER.addHandler(listener)
    _LOGGER.setLevel(logging.ERROR)
    _LOGGER.propagate = False
    world.loop.set_exception_handler(lambda _, context: world.note(Defect, str(context.get("message"))))
    try:
        yield
    finally:
        random.setstate(state)
        _LOGGER.removeHandler(listener)
        _LOGGER.setLevel(level)
        _LOGGER.propagate = propagates


def simulate(seed: int, *, eight_methods: bool = False, on_rows: bool = False) -> History:
    """Let a world live, and return what happened in it."""
    world = World(seed, eight_methods=eight_methods, on_rows=on_rows)
    with _listening(world), asyncio.Runner(loop_factory=lambda: world.loop) as runner:
        try:
            runner.run(world.live())
        except ChronoError as error:  # pragma: no cover
            raise AssertionError(f"seed {seed}: a storage error escaped: {error!r}") from error
        finally:
            runner.run(world.clear_away())
    world.history.events.sort(key=lambda event: event.at)  # what a ledger has only read is noted afterwards
    return world.history


__all__ = ["JobNotFoundError", "Process", "World", "simulate"]
