"""
What goes wrong in a campaign: signals, servers that stop, ways that are cut, clocks that are set.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from chrono_async import SystemClock

from .plan import TTL

if TYPE_CHECKING:
    from .campaign import Campaign, Worker

_boot = SystemClock().boot
_SLACK = 0.3
"""Seconds after a fault in which what it has held up may still be late."""


class Nemesis:
    """Lets things go wrong until the storm ends."""

    def __init__(self, campaign: "Campaign") -> None:
        self.campaign, self.dice = campaign, campaign.dice
        self.end = campaign.storm_ends
        self.kinds: dict[str, Callable[[Worker], Awaitable[None]]] = {
            "kill": self._kill, "freeze": self._freeze, "drain": self._drain, "add again": self._add_again,
        }  # fmt: skip
        if not campaign.plan.faults:
            self.kinds["all"] = self._all
        if campaign.server is not None:
            self.kinds |= {"server": self._server, "lose": self._lose, "cut": self._cut}
        if campaign.clock is not None:
            self.kinds |= {"clock": self._clock}
        self._turn = asyncio.Lock()

    async def rage(self) -> None:
        """Strike again and again, and return when all is healed."""
        named = list(self.campaign.plan.faults)
        pause = (self.end - _boot()) / (len(named) + 1) if named else 1.2
        async with asyncio.TaskGroup() as strikes:
            while _boot() < self.end and (named or not self.campaign.plan.faults):
                worker = self._somebody()
                if worker is not None:
                    kind = named.pop(0) if named else self.dice.choice([*self.kinds, "freeze"])  # it tells most
                    strikes.create_task(self._strike(kind, worker))
                await asyncio.sleep(pause * self.dice.uniform(0.5, 1.3))
        await asyncio.sleep(max(0.0, self.end - _boot()))

    def _somebody(self) -> "Worker | None":
        free = [worker for worker in self.campaign.workers if not worker.is_busy]
        return self.dice.choice(free) if free else None

    async def _strike(self, kind: str, worker: "Worker") -> None:
        worker.is_busy = True
        try:
            await self.kinds[kind](worker)
        finally:
            worker.is_busy = False

    def _note(self, kind: str, who: str, begin: float) -> None:
        self.campaign.log.tell("fault", (kind, who, begin, _boot() + _SLACK))

    async def _pause(self, shortest: float, longest: float) -> None:
        await asyncio.sleep(self.dice.uniform(shortest, longest))

    async def _kill(self, worker: "Worker") -> None:
        """A process dies at any moment, and is started again."""
        await worker.kill()
        await self._pause(0.1, 1)
        await worker.start()

    async def _freeze(self, worker: "Worker") -> None:
        """A process stands still for longer than its leases last, and goes on where it stood."""
        begin = _boot()
        worker.send(signal.SIGSTOP)
        await self._pause(1.2 * TTL, 2 * TTL)
        worker.send(signal.SIGCONT)
        self._note("frozen", worker.who, begin)

    async def _drain(self, worker: "Worker") -> None:
        """A process is stopped in order, and started again."""
        await worker.drain()
        await self._pause(0, 0.5)
        await worker.start()

    async def _add_again(self, worker: "Worker") -> None:
        """What users have removed is declared again."""
        worker.send(signal.SIGUSR1)

    async def _all(self, _: "Worker") -> None:
        """All processes die, and are started again at once."""
        mine = [worker for worker in self.campaign.workers if not worker.is_busy or worker is _]
        for worker in mine:
            worker.is_busy = True
        await asyncio.gather(*(worker.kill() for worker in mine))
        await asyncio.gather(*(worker.start() for worker in mine))
        for worker in mine:
            worker.is_busy = False

    async def _server(self, _: "Worker") -> None:
        """The server is stopped, or crashes, and is started again with its data."""
        server = self.campaign.server
        assert server is not None
        async with self._turn:
            begin = _boot()
            if self.dice.random() < 0.5:
                server.stop()
            else:
                server.kill()
            await self._pause(0.2, 1.5)
            server.start()
            self._note("outage", "", begin)

    async def _lose(self, worker: "Worker") -> None:
        """Answers are lost: what they answer has been done."""
        assert worker.proxy is not None
        begin = _boot()
        worker.proxy.lose()
        await worker.proxy.has_lost(3)
        worker.proxy.mend()
        self._note("cut", worker.who, begin)

    async def _cut(self, worker: "Worker") -> None:
        """Nothing goes through between a process and the server, for longer than its leases last."""
        assert worker.proxy is not None
        begin = _boot()
        worker.proxy.cut()
        await self._pause(1.2 * TTL, 2 * TTL)
        worker.proxy.mend()
        self._note("cut", worker.who, begin)

    async def _clock(self, _: "Worker") -> None:
        """Somebody sets the server's clock, and after a while sets it right."""
        clock = self.campaign.clock
        assert clock is not None
        async with self._turn:
            ahead = self.dice.choice((20.0, -20.0, 3600.0, -3600.0, 1.0, -1.0))
            clock.set(ahead)
            await self._pause(0.5, 4)
            clock.set(0.0)
            if ahead > 0:
                self.campaign.begin_anew()
