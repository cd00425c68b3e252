"""
The engine's way to the storage: every call is bounded, its clock is noted, its failures are counted.

A call that ran out of time has an unknown outcome; the caller asks again or lets be, as the verb allows.
"""

import asyncio
import logging
import random
from collections.abc import Coroutine, Sequence, Sized
from datetime import datetime, timedelta
from types import UnionType
from typing import Any, TypeVar

from .._tasks import is_cancellation, loop_here
from ..claims import ClaimAnswer, DuePage, Registered, RenewAnswer, SettleAnswer
from ..counts import to_count
from ..errors import ChronoError, SchedulerRunningError, StorageCorruptError, StorageError
from ..events import EventBus, StorageFailing, StorageRecovered
from ..storage.base import LeasingStorage
from .bursts import HELPING
from .storage_time import StorageTime

_logger = logging.getLogger("chrono_async")

T = TypeVar("T")
Dated = TypeVar("Dated", ClaimAnswer, DuePage, Registered, RenewAnswer, SettleAnswer)
"""An answer that says what time it was in the storage."""

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0


class StorageDoor:
    """Calls the storage, and knows how well it does."""

    def __init__(self, storage: LeasingStorage, time: StorageTime, bus: EventBus, limit: timedelta) -> None:
        self.storage = storage
        self.claim_batch: int = to_count(getattr(storage, "claim_batch", HELPING), "claim_batch", least=1)
        """How many jobs this storage is best asked for at once."""
        self.failures: int = 0
        self.error: str = ""
        self.last_answer: datetime | None = None
        self.home: asyncio.AbstractEventLoop | None = None
        """The event loop that the scheduler runs on, for as long as it runs."""
        self._time, self._bus = time, bus
        self._limit = limit / timedelta(seconds=1)
        self._failing_since = 0.0
        self._fails_to_write = False

    async def ask(self, call: Coroutine[Any, Any, T], *, limit: float | None = None, reads: bool = False) -> T:
        """
        Await a call for so many seconds at most; what goes wrong is a `StorageError`, or stays a `ChronoError`.

        An answer to a call that only `reads` does not show that a storage can be written again.
        """
        seconds = self._limit if limit is None else min(limit, self._limit)
        try:
            check_home(self.home)
        except SchedulerRunningError:
            call.close()  # or Python would complain that nobody awaited it
            raise
        try:
            async with asyncio.timeout(seconds):
                answer = await call
        except StorageError as error:
            if job_of(error) is None:
                self._failed(error, reads=reads)
            else:  # an answer too, as to all other jobs
                self._answered(reads=reads)
            raise
        except ChronoError:  # an answer too: the job is not there, say
            self._answered(reads=reads)
            raise
        except TimeoutError as error:
            raise self._failed(StorageError(f"the storage did not answer within {seconds:g} s"), reads=reads) from error
        except asyncio.CancelledError as error:
            if is_cancellation(error):
                raise
            raise self._failed(StorageError("the storage cancelled its own answer"), reads=reads) from error
        except Exception as error:
            raise self._failed(StorageError(f"the storage failed: {error!r}"), reads=reads) from error
        self._answered(reads=reads)
        return answer

    async def ask_dated(
        self, call: Coroutine[Any, Any, Dated], *, limit: float | None = None, reads: bool = False
    ) -> Dated:
        """Ask for what carries the storage's time, and take that in."""
        sent = self._time.boot()
        answer = await self.ask(call, limit=limit, reads=reads)
        self._time.observe(answer.now, sent)
        return answer

    def check_answers(self, asked: Sized, answers: Sequence[object], kind: type | UnionType) -> None:
        """Refuse answers that cannot be matched with what was asked, before any of them is believed."""
        if len(answers) != len(asked):
            raise self._failed(StorageError(f"the storage gave {len(answers)} answers to {len(asked)} questions"))
        for answer in answers:
            if not isinstance(answer, kind):
                raise self._failed(StorageError(f"the storage gave an answer that is none: {answer!r}"))

    def pause(self) -> float:
        """
        Return the seconds to wait before asking again: longer with each failure, and never together with others.

        Yet not longer than the storage has been failing. Many ask at once, and fail at once: who only counted would
        sleep for half a minute after an outage of a second, with outcomes in hand.
        """
        failing_for = asyncio.get_running_loop().time() - self._failing_since
        longest = min(0.1 * 2 ** min(self.failures, 16), max(_SHORTEST_PAUSE, failing_for), _LONGEST_PAUSE)
        return float(longest * random.uniform(0.5, 1))

    def _answered(self, *, reads: bool) -> None:
        self.last_answer = self._time.now()
        if self.failures and not (reads and self._fails_to_write):
            self._fails_to_write = False
            _logger.info("the storage answers again after %d failures", self.failures)
            self.failures, self.error = 0, ""
            self._bus.tell(StorageRecovered(self._time.now()))

    def _failed(self, error: StorageError, *, reads: bool = False) -> StorageError:
        self.failures += 1
        self._fails_to_write = self._fails_to_write or not reads
        self.error = str(error)
        if self.failures == 1:
            self._failing_since = asyncio.get_running_loop().time()
            is_tried_again = self.home is not None  # by the tasks of a scheduler that runs
            _logger.warning("%s; trying again until it answers" if is_tried_again else "%s", error)
            self._bus.tell(StorageFailing(self._time.now(), error))
        return error


def job_of(error: Exception) -> str | None:
    """Return the job that an error is about, if that is all that is wrong: what is stored of it cannot be read."""
    return error.job_id if isinstance(error, StorageCorruptError) else None


def check_home(home: asyncio.AbstractEventLoop | None) -> None:
    """Refuse to work on another event loop than the one that the scheduler runs on; in a forked child too."""
    if home is not None and not home.is_closed() and home is not loop_here():
        raise SchedulerRunningError(
            "the scheduler runs on another event loop: use s.threadsafe from other threads, "
            "and a scheduler of its own on another loop or in a forked process"
        )
