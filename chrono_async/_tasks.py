"""
What a task may want to know of itself.
"""

import asyncio


def is_cancelled() -> bool:
    """Whether somebody has cancelled this task: code that is not ours may raise what looks like it."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
