"""
Job queues beside us in the durable benchmarks, and how each of them is measured.

All jobs are in the queue, and due, before the clock runs; it runs from when the worker is started until the server has
all of them marked as done, which is looked up every 10 ms once all have run. So a queue is spared what we are not: to
notice by itself that the instant has come. Each has the settings that served it best on two cores.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from ._durable import a_job
from ._measure import Sample, set_imports_aside

AT_ONCE = 50
"""Jobs that are put into a queue at once, where they go in one by one."""
_LOOK_AGAIN = 0.01
_PATIENCE = 300.0


class Work:
    """The no-op that is to run `size` times, and the stopwatch."""

    def __init__(self, size: int) -> None:
        self.size, self.ran = size, 0

    async def no_op(self, *_: object) -> None:
        self.ran += 1

    async def put_in(self, put: Callable[[], Awaitable[object]]) -> None:
        """Put in all jobs, some at a time."""
        for start in range(0, self.size, AT_ONCE):
            await asyncio.gather(*(put() for _ in range(min(AT_ONCE, self.size - start))))

    async def measure(self, worker: Coroutine[Any, Any, object], count_done: Callable[[], Awaitable[int]]) -> Sample:
        """Start the worker, and end it when all jobs are marked as done."""
        set_imports_aside()
        begun, cpu = time.perf_counter(), time.process_time()
        working = asyncio.create_task(worker)
        async with asyncio.timeout(_PATIENCE):
            while self.ran < self.size or await count_done() < self.size:
                assert not working.done(), working
                await asyncio.sleep(_LOOK_AGAIN)
        seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working
        assert self.ran == self.size
        return a_job({"seconds": seconds, "CPU seconds": cpu, "ran": self.ran, "dropped": 0})
