"""
The event loop that a storage is used on, for storages that can serve only one at a time.
"""

import asyncio
import os

from ..errors import StorageError


class Home:
    """Remembers the loop of the latest use; another may follow when that has ended, or has closed the storage."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0

    def check(self) -> None:
        """Refuse the loop that is running here while another one that uses the storage is running, too."""
        loop = asyncio.get_running_loop()
        if loop is self._loop:
            return
        if self._loop is not None and self._loop.is_running() and self._pid == os.getpid():  # a fork leaves it running
            raise StorageError("this storage is in use on another event loop, which is running: make one for each loop")
        self._loop, self._pid = loop, os.getpid()

    def leave(self) -> None:
        """Let any loop follow."""
        self._loop = None
