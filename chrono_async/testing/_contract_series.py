"""
A series of calls that a storage is asked beside memory, and in which each answer must be as memory's.

All series are asked of the one storage that a test has. Each has a memory, and jobs, of its own; that the storage keeps
more than that, of the series before, must not be seen.
"""

# ruff: noqa: S101 - these are tests, though they ship with the library

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, TypeVar

from chrono_async import Clock, InMemoryStorage, JobNotFoundError, LeasingStorage, Storage
from chrono_async.storage import SettleAnswer, Settled, SettleVerdict

from ._contract_asks import Ask, Asker, Eye, Scale
from ._contract_steps import SettableClock, SteppedClock
from ._contract_translation import Translation

_Answer = TypeVar("_Answer")

_STANDING = Scale(timedelta(seconds=1), timedelta(0))
_RUNNING = Scale(timedelta(hours=1), timedelta(minutes=30))
"""A series is over within half an hour, so that nothing comes due for the one and not for the other."""
_ONE_PAGE = 1000
_TOLERANCE = timedelta(minutes=10)


class Stage:
    """The storage, as two objects, and the clock that it goes by: the same for all series."""

    def __init__(
        self, pair: tuple[Storage, Storage], clock: Clock, *, leases_by_boot_clock: bool, history: int
    ) -> None:
        self.pair: tuple[Any, Any] = pair
        self.clock: Clock = clock
        self.stands: bool = isinstance(clock, SteppedClock)
        self.history: int = history
        self._clock_of_memory = clock if leases_by_boot_clock else _WallClock(clock)
        self._numbers = itertools.count(1)

    def memory(self) -> InMemoryStorage:
        """Return a new one, on the clock of the storage."""
        return InMemoryStorage(clock=self._clock_of_memory, history=self.history)

    def mark(self) -> str:
        """Return what the names of a new series begin with."""
        return f"{next(self._numbers)} "


class _WallClock:
    """For leases that end by wall time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> datetime:
        return self._clock.now()

    def boot(self) -> float:
        return self._clock.now().timestamp()


class Series:
    """Calls of all verbs. It is played in a thread that may wait for the loop that the storage is on."""

    def __init__(self, stage: Stage, loop: asyncio.AbstractEventLoop, dice: random.Random, said: list[str]) -> None:
        self._stage, self._loop, self._dice, self._said = stage, loop, dice, said
        self._memory = stage.memory()
        scale, mark = _STANDING if stage.stands else _RUNNING, stage.mark()
        self._unit = scale.unit
        self._asker = Asker(dice, stage.clock, scale, mark)
        self._eye = Eye(stage.clock, scale, mark, self._asker.names, stage.history)

    def play(self, length: int) -> None:
        """Ask both the same, so many times, and let some time pass."""
        if isinstance(self._stage.clock, SteppedClock):
            self._stage.clock.advance(timedelta(hours=1))  # what was locked in the series before is free again
        tolerance = timedelta(0) if self._stage.stands else _TOLERANCE
        self._translation = Translation(tolerance, self._wait(self._emptied(self._stage.pair[0])))
        for _ in range(length):
            self._ask(self._next(), self._dice.choice(self._stage.pair))
            self._pass_time()
            if self._dice.randint(0, 1) == 0:
                records = self._same(self._eye.records, self._dice.choice(self._stage.pair), "all records")
                self._asker.seen = {record.id: record for record in records}
            if self._dice.randint(0, 11) == 0:
                self._look(self._dice.choice(self._stage.pair), 2)
        self._look(self._stage.pair[0], 3)

    async def _emptied(self, storage: LeasingStorage) -> datetime:
        """Leave no job of the series before, and return the storage's time: numbers that grow begin there."""
        await _remove_all(storage)
        return (await storage.renew([], timedelta(seconds=1))).now

    def _next(self) -> Ask:
        return self._asker.next()

    def _look(self, storage: Any, limit: int) -> None:
        """Look at all, in pages; where time goes on, what is held can come to stand on another page meanwhile."""
        limit = limit if self._stage.stands else _ONE_PAGE
        self._same(lambda one: self._eye.all(one, limit), storage, f"all, {limit} to a page")

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _ask(self, ask: Ask, storage: Any) -> None:
        self._said.append(str(ask))
        wanted = self._wait(_answer_of(ask.of(self._memory)))
        self._said.append(f"    {wanted}")
        self._compare(wanted, self._wait(_answer_of(self._translation.of(ask).of(storage))))
        self._asker.learn(ask, wanted)

    def _same(self, question: Callable[[Any], Coroutine[Any, Any, _Answer]], storage: Any, what: str) -> _Answer:
        """Ask both the question, and return what memory has answered."""
        self._said.append(f"(to be shown {what})")
        wanted = self._wait(question(self._memory))
        self._compare(wanted, self._wait(question(storage)))
        return wanted

    def _compare(self, wanted: Any, answer: Any) -> None:
        answer = self._translation.told(wanted, answer)
        assert answer == wanted

    def _wait(self, question: Coroutine[Any, Any, _Answer]) -> _Answer:
        return asyncio.run_coroutine_threadsafe(question, self._loop).result()

    def _pass_time(self) -> None:
        """Let it pass where it stands; where it runs, set the clock, but not often: that can take a server a while."""
        clock = self._stage.clock
        if isinstance(clock, SteppedClock):
            clock.advance(passed := self._dice.choice([0, 0, 0.5, 1, 4]) * self._unit)
        elif isinstance(clock, SettableClock) and (passed := self._dice.choice([0] * 10 + [1, 4]) * self._unit):
            clock.step(passed)
        else:
            return
        self._said.append(f"({passed} pass)")


class SeriesOfEight(Series):
    """Calls of the eight methods, for a storage that has no others: what is made of them is not its own."""

    def _next(self) -> Ask:
        return self._asker.next_of_eight()

    def _look(self, storage: Any, limit: int) -> None:
        self._same(self._eye.come, storage, "what has come")

    async def _emptied(self, storage: Any) -> datetime:
        await _remove_all(storage)
        return self._stage.clock.now()


async def _remove_all(storage: Any) -> None:
    for record in await storage.list_jobs():
        with suppress(JobNotFoundError):
            await storage.delete_job(record.id)


async def _answer_of(question: Awaitable[Any]) -> Any:
    """Return the answer, or the kind of refusal."""
    try:
        answer = await question
    except JobNotFoundError:
        return JobNotFoundError
    return _plain(answer) if isinstance(answer, SettleAnswer) else answer


def _plain(answer: SettleAnswer) -> SettleAnswer:
    """Leave out what is due after a repeated settle: a ledger looks again, and sees what others of the batch did."""
    repeated = Settled(SettleVerdict.REPEATED)
    settled = [repeated if one.verdict is SettleVerdict.REPEATED else one for one in answer.settled]
    return answer._replace(settled=settled)
