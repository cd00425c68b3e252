"""
A campaign: workers, a driver and an observer on a real storage; faults, then calm; then the checker.
"""

import asyncio
import contextlib
import random
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

from chrono_async import SystemClock
from tests.servers import PostgresServer, RedisServer, Server, _ends_with_its_parent
from tests.simulation.checker import LEASING, Verdict, check
from tests.simulation.history import History

from .clock import ServerClock
from .frame import Frame
from .log import Log, read
from .nemesis import Nemesis
from .plan import POLL, TTL, Part
from .proxy import Proxy
from .story import Story, tell

NAMES = ("aa", "ab", "ac", "ad")
"""Of the workers. That each begins with an "a" tells the checker that they run any number of jobs at a time."""
ROOT = Path(__file__).parents[2]
_RECOVERY = TTL + 2 * POLL + 1.5
_boot = SystemClock().boot


class Plan(NamedTuple):
    """What is to be done to which storage, and for how long."""

    storage: str
    storm: float
    calm: float
    seed: int
    faults: Sequence[str] = ()
    """Each once, in this order; or else any, until the storm ends."""
    steps_clock: bool = False
    moment: float = 1.5


class Report(NamedTuple):
    """What came of it."""

    plan: Plan
    story: Story
    verdicts: list[Verdict]
    lost_answers: int
    folder: Path

    @property
    def history(self) -> History:
        """What happened."""
        return self.story.history


class Worker:
    """One worker's place: who lives there now, and its way to the storage."""

    def __init__(self, campaign: "Campaign", name: str) -> None:
        self.campaign, self.name, self.lives = campaign, name, 0
        self.process: asyncio.subprocess.Process
        self.proxy: Proxy | None = None
        self.is_busy = False

    @property
    def who(self) -> str:
        """The life that is, or was last."""
        return f"{self.name}{self.lives}"

    async def start(self) -> None:
        """Begin a new life."""
        self.lives += 1
        self.process = await self.campaign.spawn("worker", self.who, self.name, self.campaign.url_of(self))

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it still is."""
        if self.process.returncode is None:
            self.process.send_signal(number)

    async def kill(self) -> None:
        """End it at once."""
        self.send(signal.SIGKILL)
        await self.process.wait()
        self.campaign.log.tell("lived", "died", who=self.who)

    async def drain(self) -> None:
        """Let it stop in order."""
        self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(25):
                code = await self.process.wait()
        except TimeoutError:
            self.campaign.log.tell("defect", f"{self.who} does not stop")
            await self.kill()
        else:
            self._tell_end(code)

    def _tell_end(self, code: int) -> None:
        if code == -signal.SIGTERM:  # it was not yet so far as to listen to signals
            self.campaign.log.tell("lived", "died", who=self.who)
        elif code:
            self.campaign.log.tell("defect", f"{self.who} has ended with {code}")


class Campaign:
    """All processes, and what they work on."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan, self.folder = plan, folder
        self.path = folder / "log.jsonl"
        self.log = Log(self.path, "campaign")
        self.dice = random.Random(f"{plan.seed} {plan.storage}")
        self.workers = [Worker(self, name) for name in NAMES]
        self.clock = ServerClock(folder, partial(self.log.tell, "stepped")) if plan.steps_clock else None
        self.server = self._server()
        self.storm_ends = 0.0
        self._processes: list[asyncio.subprocess.Process] = []

    def _server(self) -> Server | None:
        kinds: dict[str, Callable[[], Server]] = {
            "postgres": PostgresServer,
            "redis": lambda: RedisServer("--appendonly", "yes"),
        }
        server = kinds[self.plan.storage]() if self.plan.storage in kinds else None
        if server is not None and self.clock is not None:
            server.environment |= self.clock.environment
        return server

    # ── ways to the storage ──────────────────────────────────────────────────────────────────────────────────────────

    @property
    def url(self) -> str:
        """The straight way."""
        match self.server:
            case PostgresServer():
                return self.server.dsn
            case RedisServer():
                return self.server.url
        return f"{self.plan.storage}:{self.folder}/jobs.{'db' if self.plan.storage == 'sqlite' else 'json'}"

    def url_of(self, worker: Worker) -> str:
        """Return the way of a worker."""
        if worker.proxy is None:
            return self.url
        if isinstance(self.server, PostgresServer):
            return f"postgresql://postgres@127.0.0.1:{worker.proxy.port}/postgres"
        return f"redis://127.0.0.1:{worker.proxy.port}/0"

    def _connect(self) -> Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        if isinstance(self.server, RedisServer):
            return asyncio.open_connection("127.0.0.1", self.server.port)
        assert self.server is not None
        return asyncio.open_unix_connection(f"{self.server.folder}/.s.PGSQL.5432")

    # ── its course ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> Frame:
        """Go through storm and calm; leave no process behind."""
        begin, wall = _boot(), datetime.now(UTC)
        try:
            await self._set_up()
            await self._storm()
            judged_from, ended = await self._be_calm()
        finally:
            await self._clear_away()
        return Frame(begin, wall, self.storm_ends, judged_from, ended, self.plan.moment)

    async def _set_up(self) -> None:
        if self.server is not None:
            self.server.start()  # it ends with the thread that starts it: this one
            for worker in self.workers:
                worker.proxy = Proxy(self._connect)
                await worker.proxy.start()
        await asyncio.gather(*(worker.start() for worker in self.workers))
        self.observer = await self.spawn("observer", "observer", "observer", self.url)
        await self._until_begun()

    async def _until_begun(self) -> None:
        """Wait until each worker has begun a body: how long processes take to start is not what this is about."""
        deadline = _boot() + 60
        while {line.who for line in read(self.path) if line.kind == "began"} != {w.who for w in self.workers}:
            if _boot() > deadline:
                raise AssertionError("not every worker has begun something within a minute")
            await asyncio.sleep(0.2)

    async def _storm(self) -> None:
        self.storm_ends = _boot() + self.plan.storm
        self.driver = await self.spawn("driver", "driver", "driver", self.url)
        nemesis = Nemesis(self)
        await nemesis.rage()
        self.storm_ends = _boot()

    def begin_anew(self) -> None:
        """Have all jobs begun anew, from the time that it is."""
        self.driver.send_signal(signal.SIGUSR1)

    async def _be_calm(self) -> tuple[float, float]:
        self.driver.send_signal(signal.SIGTERM)
        await self.driver.wait()
        self.workers[0].send(signal.SIGUSR1)  # what the driver has removed is added again
        settled = max(_boot(), self.storm_ends)
        judged_from = settled + _RECOVERY
        ended = judged_from + self.plan.calm
        await asyncio.sleep(ended - _boot())
        return judged_from, ended

    async def _clear_away(self) -> None:
        if self.clock is not None:
            self.clock.set(0.0)
        with contextlib.suppress(AttributeError):
            await asyncio.gather(*(worker.drain() for worker in self.workers))
            self.observer.send_signal(signal.SIGTERM)
            async with asyncio.timeout(10):
                await self.observer.wait()
        for process in self._processes:
            if process.returncode is None:
                process.kill()
                await process.wait()
        for worker in self.workers:
            if worker.proxy is not None:
                await worker.proxy.close()
        if self.server is not None:
            self.server.remove()

    async def spawn(self, role: str, who: str, name: str, url: str) -> asyncio.subprocess.Process:
        """Start a process that ends, at the latest, with this one."""
        part = Part(role, who, name, url, str(self.path), str(self.plan.seed))
        with (self.folder / f"{who}.err").open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.chaos.process", part.dumps(),
                cwd=ROOT, stderr=errors, preexec_fn=_be_a_child,
            )  # fmt: skip
        self._processes.append(process)
        return process


def _be_a_child() -> None:
    """End with the parent; a signal that comes before the process listens to it is none."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    if _ENDS_WITH_PARENT is not None:
        _ENDS_WITH_PARENT()


_ENDS_WITH_PARENT = _ends_with_its_parent(signal.SIGKILL)


def run(plan: Plan, folder: Path | None = None) -> Report:
    """Run a campaign, and judge it."""
    folder = folder or Path(tempfile.mkdtemp(prefix="chrono-chaos-"))
    campaign = Campaign(plan, folder)
    frame = asyncio.run(campaign.run())
    lost = sum(worker.proxy.lost for worker in campaign.workers if worker.proxy is not None)
    campaign.log.tell("over", (plan, frame, lost))
    return judged(folder)


def judged(folder: Path) -> Report:
    """Judge a campaign by the log that it has left."""
    lines = list(read(folder / "log.jsonl"))
    plan, frame, lost = next(line.value for line in lines if line.kind == "over")
    story = tell(lines, frame)
    verdicts = sorted([*story.verdicts, *check(story.history, LEASING)], key=lambda verdict: verdict.breach.at)
    return Report(plan, story, verdicts, lost, folder)
