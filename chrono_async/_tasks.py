"""
What code may want to know of the task and the loop that it runs in.
"""

import asyncio


def is_cancellation(error: BaseException) -> bool:
    """Whether this error means that somebody has cancelled this task: code that is not ours may raise one like it."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and (task is None or task.cancelling() > 0)


def loop_here() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread, if one does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
