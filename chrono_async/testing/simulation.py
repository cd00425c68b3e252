"""
A simulation as a test holds it in its hand: the loop, the clock, and the verbs that let time pass.
"""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

from .virtual_time import VirtualClock, VirtualTimeLoop

_T = TypeVar("_T")


class Simulation:
    """
    A stretch of virtual time that begins at `start`, with its own loop and clock.

    A context manager: on the way out it cancels what still runs and closes the loop, as `asyncio.run` does.
    """

    def __init__(self, *, start: datetime = datetime(2026, 1, 1, tzinfo=UTC), seed: int | None = None) -> None:
        self.seed = seed
        self.loop: VirtualTimeLoop = VirtualTimeLoop(seed=seed)
        self.clock: VirtualClock = VirtualClock(start, loop=self.loop)
        self._runner = asyncio.Runner(loop_factory=lambda: self.loop)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._runner.get_loop()  # a runner that was never used would leave the loop open
        self._runner.close()

    def run(self, main: Coroutine[Any, Any, _T]) -> _T:
        """Run `main` to its end. May be called again: time goes on where it stood, tasks where they waited."""
        return self._runner.run(main)

    @property
    def now(self) -> datetime:
        """The wall time of this simulation, in UTC."""
        return self.clock.now()

    async def sleep(self, duration: timedelta | float) -> None:
        """Sleep. Others that wake at the same instant may not have run yet; after `advance` they have."""
        await asyncio.sleep(_seconds(duration))

    async def advance(self, duration: timedelta | float) -> None:
        """Let this much time pass, and everything run that is due by the end of it."""
        await self.sleep(duration)
        await self.settle()

    async def until(self, instant: datetime) -> None:
        """Let time pass until the wall clock shows `instant`, and everything run that is due by then."""
        if instant < self.now:
            raise ValueError(f"it is {self.now.isoformat()} already, later than {instant.isoformat()}")
        while (left := instant - self.now) > timedelta(0):
            await self.sleep(left)
        await self.settle()

    async def settle(self) -> None:
        """Let everything run that can run at this very instant, work in threads included."""
        await self.loop.settle()

    def sleep_in_thread(self, duration: timedelta | float) -> None:
        """What `time.sleep` is to a plain function that runs in a worker thread, in virtual time."""
        self.loop.sleep_in_thread(_seconds(duration))


def run(main: Coroutine[Any, Any, _T], *, seed: int | None = None) -> _T:
    """Run `main` in virtual time as `asyncio.run` does in real time: to its end, and then clear up."""
    with Simulation(seed=seed) as simulation:
        return simulation.run(main)


def _seconds(duration: timedelta | float) -> float:
    length = duration if isinstance(duration, timedelta) else timedelta(seconds=duration)
    if length < timedelta(0):
        raise ValueError(f"{duration!r}: time does not run backwards")
    return length.total_seconds()
