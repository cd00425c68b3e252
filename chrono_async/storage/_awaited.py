"""
What callers wait for while a task or a thread works for several of them at once.
"""

import asyncio
from collections.abc import Iterable
from copy import copy
from typing import Any

from ..errors import StorageError


class Awaited:
    """An answer that is to come to a caller in the loop that runs, and what it will be."""

    __slots__ = ("answer", "error", "result")

    def __init__(self) -> None:
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.result: object = None
        self.error: BaseException | None = None

    def tell(self) -> None:
        """Wake the caller, unless it has gone; to be called in its loop."""
        if self.answer.done():
            return
        if self.error is not None:
            self.answer.set_exception(self.error)
        else:
            self.answer.set_result(self.result)


def fail(calls: Iterable[Awaited], error: BaseException) -> None:
    """Let each of the calls end with an error of its own: one that all of them raise gathers the tracebacks of all."""
    for call in calls:
        call.error = _same(error) if isinstance(error, StorageError) else error


def _same(error: StorageError) -> StorageError:
    same = copy(error).with_traceback(error.__traceback__)
    same.__cause__ = error.__cause__
    return same
