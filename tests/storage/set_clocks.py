"""
A server whose clock is set back between a reading and the write that follows.
"""

from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any

from chrono_async.storage import Moment, Reading

Read = Callable[..., Coroutine[Any, Any, Reading[Any]]]


def an_hour_ahead_at_first(read: Read, told: list[datetime]) -> Read:
    """Return a way to read that tells of a time an hour ahead in its first answer; `told` has all that it tells."""

    async def reading(*args: Any, **options: Any) -> Reading[Any]:
        found = await read(*args, **options)
        told.append(found.at.now + timedelta(hours=0 if told else 1))
        return found._replace(at=Moment(told[-1], told[-1].timestamp()))

    return reading
