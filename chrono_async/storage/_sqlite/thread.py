"""
A thread that owns a database: what is asked of it while it works is gathered, and done in one transaction.

It is a daemon, so that a storage which nobody has closed does not keep the interpreter from ending: a transaction that
is cut off there is undone by whoever opens the file next.
"""

import asyncio
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import groupby
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

from ..._threads import outside_work
from .database import AskedStep, DatabaseFile, Step

Result = TypeVar("Result")

_MOST = 256
"""How many calls go into one transaction: those behind them are not to wait for ever."""


class QueuedStep(AskedStep):
    """A step on its way to the thread; with the last one the thread ends."""

    __slots__ = ("is_last",)

    def __init__(self, step: Step[Any], *, writes: bool, is_last: bool = False) -> None:
        super().__init__(step, writes=writes)
        self.is_last: bool = is_last


Queue = SimpleQueue[QueuedStep | None]


class Open(NamedTuple):
    """The way to a thread at work."""

    queue: Queue
    end: "weakref.finalize[..., Worker]"
    """Lets the thread end with the worker."""


class Worker:
    """Takes steps to a thread, which starts with the first of them and ends with the worker, or when it is closed."""

    def __init__(self, open_file: Callable[[], DatabaseFile]) -> None:
        self._open_file = open_file
        self._begin()

    def _begin(self) -> None:
        self._pid, self._lock = os.getpid(), threading.Lock()
        self._open: Open | None = None

    async def take(self, step: Step[Result], *, writes: bool) -> Result:
        """
        Return what the step returns. A caller that is cancelled does not stop it.

        Nothing bounds this but SQLite's own patience with others who write: the outcome of what is given up would be
        unknown, and who wants that, as the engine does, can bound the call.
        """
        asked = QueuedStep(step, writes=writes)
        self._put(asked)
        with outside_work():
            result: Result = await asked.answer
        return result

    def _put(self, asked: QueuedStep) -> None:
        if self._pid != os.getpid():
            self._begin()  # a fork has no threads but the one that called it
        with self._lock:
            if self._open is None:
                self._open = self._start()
            self._open.queue.put(asked)

    def _start(self) -> Open:
        queue: Queue = SimpleQueue()
        arguments = (queue, self._open_file())
        threading.Thread(target=_work, args=arguments, name="chrono-async SQLite storage", daemon=True).start()
        end = weakref.finalize(self, queue.put, None)
        end.atexit = False
        return Open(queue, end)

    async def close(self) -> None:
        """Wait for the steps of all calls so far, and until the file is closed. The next call opens it anew."""
        last = QueuedStep(_nothing, writes=False, is_last=True)
        if self._pid != os.getpid():
            self._begin()
        with self._lock:
            was_open, self._open = self._open, None
        if was_open is None:
            return
        was_open.end.detach()
        was_open.queue.put(last)
        with outside_work():
            await last.answer


def _nothing(_: object) -> None:
    pass


def _work(queue: Queue, file: DatabaseFile) -> None:
    """Do what is asked for, transaction by transaction, until it is enough. Nothing here holds on to the storage."""
    while _turn(queue, file):
        pass


def _turn(queue: Queue, file: DatabaseFile) -> bool:
    calls, goes_on = _gathered(queue)
    steps = [asked for asked in calls if not asked.is_last]
    if steps:
        with _errors_of(steps):
            file.run(steps)
    if not goes_on:
        with _errors_of([asked for asked in calls if asked.is_last]):
            file.close()
    _tell(calls)
    return goes_on


@contextmanager
def _errors_of(calls: list[QueuedStep]) -> Iterator[None]:
    """Make whatever escapes the error of these calls: should the thread end of it, all later ones would wait for it."""
    try:
        yield
    except BaseException as error:  # noqa: BLE001 - the callers hear it
        for asked in calls:
            asked.error = error


def _gathered(queue: Queue) -> tuple[list[QueuedStep], bool]:
    """Wait for a call, and return it with those that wait behind it; and whether more may follow."""
    calls: list[QueuedStep] = []
    asked = queue.get()
    with suppress(Empty):
        while asked is not None:
            calls.append(asked)
            if asked.is_last:
                return calls, False
            if len(calls) == _MOST:
                return calls, True
            asked = queue.get_nowait()
        return calls, False
    return calls, True


def _tell(calls: list[QueuedStep]) -> None:
    for loop, answered in groupby(calls, _loop_of):
        with suppress(RuntimeError):  # that loop has been closed, and whoever waited in it is gone
            loop.call_soon_threadsafe(_tell_here, list(answered))


def _loop_of(asked: QueuedStep) -> asyncio.AbstractEventLoop:
    return asked.answer.get_loop()


def _tell_here(calls: list[QueuedStep]) -> None:
    for asked in calls:
        asked.tell()
