"""
What callers wait for while a task or a thread works for several of them at once.
"""

import asyncio
from typing import Any


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
