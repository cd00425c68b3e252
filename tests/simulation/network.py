"""
The way between an instance and the storage: late, lossy, cut at times.

A request that was sent is on its way whatever becomes of the sender: it takes effect when it arrives, even if nobody
waits any more. An answer can be lost on its way back, which the sender cannot tell from a request that was lost.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, NamedTuple

from chrono_async.errors import ChronoError, StorageError

from .history import Called, Fault, History, Struck
from .loop import ProcessLoop


class Fate(NamedTuple):
    """What becomes of one call."""

    there: float
    """Seconds until the request arrives."""
    back: float
    """Seconds until its answer does."""
    kind: str = "fine"


_CHANCES = (("refused", 0.1), ("answer lost", 0.12), ("hangs", 0.06), ("done then hangs", 0.06), ("slow", 0.15))
"""What befalls a message in rough weather, and how often."""


_LOSSES = ("refused", "answer lost", "hangs", "done then hangs")


class Network:
    """All ways to the storage, and what is wrong with them now."""

    def __init__(self, loop: ProcessLoop, history: History, dice: random.Random) -> None:
        self.loop, self.history, self.dice = loop, history, dice
        self.rough: dict[str, float] = {}
        """Processes whose messages meet with mishaps, and how often, in parts of what is usual then."""
        self.fading: set[str] = set()
        """Processes to which all answers come late."""
        self.doomed: dict[str, str] = {}
        """Processes of which the next call of a verb is lost, or the answer to it."""
        self.cut: set[str] = set()
        """Processes that are cut off; an empty name stands for a storage that is down."""
        self.drivers: random.Random | None = None
        """The dice for how long they take to give up, in worlds where drivers do not give up at once."""
        self.context = Context()
        self.is_over = False

    def is_cut(self, who: str) -> bool:
        """Whether nothing goes through between this process and the storage."""
        return self.is_over or who in self.cut or "" in self.cut

    async def call(self, who: str, verb: str, perform: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Send a request, let it be performed, and wait for the answer."""
        self.history.events.append(Called(self.loop.time(), who, verb))
        fate = self._fate(who, verb)
        answer: asyncio.Future[Any] = self.loop.create_future()
        self._later(fate.there, self._arrive, who, perform, fate, answer)
        try:
            return await answer
        except asyncio.CancelledError:
            await self._give_up(who)
            raise

    async def _give_up(self, who: str) -> None:
        """Let go of a question as a driver does that first tells the server so, and waits for an answer to that."""
        if self.drivers is None or self.is_over:
            return
        seconds = self.drivers.uniform(0, 8)
        self.history.events.append(Fault(self.loop.time(), self.loop.time() + seconds, who, "giving up"))
        await asyncio.sleep(seconds)

    def _fate(self, who: str, verb: str) -> Fate:
        there, back = self.dice.uniform(0.0005, 0.02), self.dice.uniform(0.0005, 0.02)
        if who in self.fading:
            back += self.dice.uniform(1.2, 1.9)
        if self.doomed.get(who) == verb:
            del self.doomed[who]
            return self._strike(who, verb, self.dice.choice(_LOSSES), there, back)
        luck = self.dice.random() if who in self.rough else 1
        for kind, chance in _CHANCES:
            luck -= chance * self.rough.get(who, 0)
            if luck < 0:
                return self._strike(who, verb, kind, there, back)
        return Fate(there, back)

    def _strike(self, who: str, verb: str, kind: str, there: float, back: float) -> Fate:
        self.history.events.append(Struck(self.loop.time(), who, kind, verb))
        if kind == "slow":  # each way by itself: an answer that is late, after an effect that is not, is the worst
            there += self.dice.choice((0, self.dice.uniform(0.1, 3)))
            back += self.dice.choice((0, self.dice.uniform(0.1, 3)))
        return Fate(there, back, kind)

    def _arrive(self, who: str, perform: Callable[[], Coroutine[Any, Any, Any]], fate: Fate, answer: Any) -> None:
        if fate.kind == "hangs" or self.is_over:
            return
        if fate.kind == "refused" or self.is_cut(who):
            self._fail(who, fate, answer)
            return
        value, error = performed(perform())
        if fate.kind == "answer lost":
            self._fail(who, fate, answer)
        elif fate.kind != "done then hangs":
            self._later(fate.back, self._deliver, who, answer, value, error)

    def _fail(self, who: str, fate: Fate, answer: Any) -> None:
        """Let the sender know that something was wrong; or nothing, where a cut swallows what is sent."""
        if self.is_cut(who) and self.dice.random() < 0.5:
            return
        self._later(fate.back, self._deliver, who, answer, None, StorageError("the connection was lost"), True)

    def _deliver(self, who: str, answer: Any, value: Any, error: Exception | None, is_local: bool = False) -> None:
        if answer.done() or (self.is_cut(who) and not is_local):
            return
        if error is None:
            answer.set_result(value)
        else:
            answer.set_exception(error)

    def _later(self, seconds: float, callback: Callable[..., None], *args: Any) -> None:
        self.loop.call_later(seconds, callback, *args, context=self.context)


def performed(call: Coroutine[Any, Any, Any]) -> tuple[Any, Exception | None]:
    """Do a call of a storage in one step: one in memory never waits for anything but its turn."""
    try:
        while True:
            call.send(None)
    except StopIteration as end:
        return end.value, None
    except ChronoError as error:
        return None, error
