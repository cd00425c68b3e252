"""
What a task may want to know of itself.
"""

import asyncio


def is_cancellation(error: BaseException) -> bool:
    """Whether this error means that somebody has cancelled this task: code that is not ours may raise one like it."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and (task is None or task.cancelling() > 0)
