"""
A way to a server over which bytes go, stop going, or go only there and not back.

Each worker has a way of its own, so that one can be cut off while the others are well.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]

_RESET = struct.pack("ii", 1, 0)


class Proxy:
    """A port that leads to the server, as long as all is well."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._open = asyncio.Event()
        self._open.set()
        self._loses = False
        self.lost = 0
        """How many answers were lost: their requests had gone through."""
        self._has_lost = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Let go of everything."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Let nothing through, and say nothing: as when a cable is pulled."""
        self._open.clear()

    def mend(self) -> None:
        """Let through what waits, and all that comes."""
        self._loses = False
        self._open.set()

    def lose(self) -> None:
        """Until it is mended, let requests through, and reset the connection instead of passing the answer on."""
        self._has_lost.clear()
        self._loses = True

    async def has_lost(self, seconds: float) -> None:
        """Wait until an answer was lost, but no longer than that."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._has_lost.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._open.wait()
            there, back = await self._connect()
            try:
                await self._join(reader, writer, there, back)
            finally:
                _reset(back)
        except (OSError, asyncio.CancelledError):
            pass  # the server is down, or the campaign over
        finally:
            _reset(writer)
            self._tasks.discard(task)

    async def _join(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, there: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> None:  # fmt: skip
        ways = [asyncio.create_task(self._pass(reader, back, is_answer=False))]
        ways.append(asyncio.create_task(self._pass(there, writer, is_answer=True)))
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._open.wait()
                if is_answer and self._loses:
                    self.lost += 1
                    self._has_lost.set()
                    return
                writer.write(data)
                await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection at once; the other side gets an error, not an end."""
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.family != socket.AF_UNIX:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
