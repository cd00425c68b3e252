"""
Reports what blocks the event loop: the job's name, and the line.

A thread asks the loop for a sign of life. When none comes it looks at the stack of the loop's thread: no code on the
loop could, since the loop is what is blocked.
"""

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

_logger = logging.getLogger("chrono_async")


class Watchdog:
    """Watches the loop that it is started on, until it is stopped."""

    def __init__(self, threshold: float, job_of: Callable[[object], str | None], tell: Callable[..., None]) -> None:
        self._threshold, self._job_of, self._tell = threshold, job_of, tell
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._stopped, self._alive = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._watch, name="chrono-async-watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self._alive.set()

    def _watch(self) -> None:
        while not self._stopped.wait(self._threshold / 2):
            self._alive.clear()
            asked = time.monotonic()
            try:
                self._loop.call_soon_threadsafe(self._alive.set)
            except RuntimeError:  # the loop is closed
                return
            if not self._alive.wait(self._threshold):
                self._report(asked)

    def _report(self, asked: float) -> None:
        """Say what blocks, once for each time that it does, and wait until it is over."""
        job_id, where = self._culprit()
        _logger.warning(
            "the event loop has been blocked for more than %g s by %s at %s; move blocking work into a plain function",
            self._threshold,
            f"job {job_id!r}" if job_id else "code outside of any job",
            where,
        )
        self._alive.wait()
        if not self._stopped.is_set():
            self._loop.call_soon_threadsafe(self._tell, job_id, where, time.monotonic() - asked)

    def _culprit(self) -> tuple[str | None, str]:
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 - the one way to another thread's stack
        task = asyncio.current_task(self._loop)
        return self._job_of(task), _place(frame)


def _place(frame: FrameType | None) -> str:
    """Return file, line and function of the innermost code: a call into C shows as the line that made it."""
    if frame is None:
        return "an unknown place"
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
