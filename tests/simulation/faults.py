"""
What goes wrong in a simulated world: never all of it in one, so that each can show what it does by itself.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from .history import Fault

if TYPE_CHECKING:
    from .world import Process, World


class Nemesis:
    """Lets things go wrong until a given moment."""

    def __init__(self, world: "World", end: float) -> None:
        self.world, self.end, self.dice = world, end, world.dice["nemesis"]
        kinds: list[Callable[[Process], Awaitable[None]]] = [
            self._rough, self._doom, self._fade, self._cut, self._outage,
            self._freeze, self._death, self._stop, self._step,
        ]  # fmt: skip
        if world.has_eight_methods:
            kinds.remove(self._step)
        self.kinds = self.dice.sample(kinds, self.dice.randint(2, len(kinds)))
        self.pause = self.dice.choice((2.0, 4.0, 8.0))
        if world.sets_clock:
            self.kinds.append(self._set_clock)

    async def rage(self) -> None:
        """Strike again and again."""
        async with asyncio.TaskGroup() as strikes:
            while True:
                await asyncio.sleep(self.dice.expovariate(1 / self.pause))
                living = self.world.living()
                if living:
                    strikes.create_task(self.dice.choice(self.kinds)(self.dice.choice(living)))

    def heal(self) -> None:
        """Make an end of all that is wrong, but for the dead."""
        self.world.network.rough.clear()
        self.world.network.fading.clear()
        self.world.network.doomed.clear()
        self.world.network.cut.clear()
        for process in self.world.living():
            self.world.loop.thaw(process.who)

    def _length(self, *choices: tuple[float, float]) -> float:
        return min(self.dice.uniform(*self.dice.choice(choices)), self.end - self.world.loop.time())

    def _note(self, who: str, kind: str, seconds: float) -> None:
        self.world.note(Fault, self.world.loop.time() + seconds, who, kind)

    async def _rough(self, process: "Process") -> None:
        """Messages of an instance are late, or lost on either way."""
        rough, seconds = self.world.network.rough, self._length((3, 10), (10, 25))
        if process.who in rough:
            return
        self._note(process.who, "rough", seconds)
        rough[process.who] = self.dice.choice((1, 0.3, 0.04))
        await asyncio.sleep(seconds)
        rough.pop(process.who, None)

    async def _doom(self, process: "Process") -> None:
        """One message is lost, and nothing else is wrong."""
        self.world.network.doomed[process.who] = self.dice.choice(("claim", "claim", "settle", "renew", "release"))

    async def _fade(self, process: "Process") -> None:
        """Answers come later and later, and then none comes."""
        await self._among(self.world.network.fading, process.who, "fading", self._length((4, 9)))
        await self._among(self.world.network.cut, process.who, "cut", self._length((6, 10)))

    async def _cut(self, process: "Process") -> None:
        """Nothing goes through between an instance and the storage."""
        await self._among(self.world.network.cut, process.who, "cut", self._length((0.2, 2), (2, 6), (6, 20)))

    async def _outage(self, _: "Process") -> None:
        """The storage is down for everybody."""
        await self._among(self.world.network.cut, "", "outage", self._length((0.2, 2), (2, 6), (6, 14)))

    async def _among(self, troubled: set[str], who: str, kind: str, seconds: float) -> None:
        if who in troubled:
            return
        self._note(who, kind, seconds)
        troubled.add(who)
        await asyncio.sleep(seconds)
        troubled.discard(who)

    async def _freeze(self, process: "Process") -> None:
        """A process stands still, and goes on where it stood."""
        world, seconds = self.world, self._length((0.2, 2), (2, 6), (6, 15))
        if world.loop.is_frozen(process.who):
            return
        self._note(process.who, "frozen", seconds)
        world.loop.freeze(process.who)
        await asyncio.sleep(seconds)
        if process.is_living:
            world.loop.thaw(process.who)

    async def _death(self, process: "Process") -> None:
        """A process dies, and after a while is started again."""
        process.die()
        await self._begin_again(process)

    async def _stop(self, process: "Process") -> None:
        """A process is stopped in order, draining or in haste, and started again."""
        if not process.has_started:
            return
        process.do(process.stop(self.dice.choice((None, 0, 1.0, 4.0))))
        await self._begin_again(process)

    async def _begin_again(self, process: "Process") -> None:
        await asyncio.sleep(self.dice.choice((0.1, 1, 5)) * self.dice.uniform(0.5, 2))
        await process.is_gone.wait()
        if self.world.processes[process.name] is process:
            self.world.start(process.name)

    async def _step(self, process: "Process") -> None:
        """Somebody sets an instance's clock."""
        seconds = (
            self.dice.choice((0.3, 5, 3600)) * self.dice.choice((1, -1)) * random.Random(process.who).uniform(1, 2)
        )
        self._note(process.who, "step", 0)
        process.clock.step(timedelta(seconds=seconds))

    async def _set_clock(self, _: "Process") -> None:
        """Somebody sets the storage's clock, and after a while sets it right."""
        dice = self.world.dice["server"]
        self.world.set_clock(dice.choice((1, 20, 3600)) * dice.choice((1, -1)))
        await asyncio.sleep(self._length((0.5, 2), (2, 8)))
        self.world.set_clock(0)
