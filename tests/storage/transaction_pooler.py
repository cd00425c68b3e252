"""
A pooler in transaction mode, as small as can be: after each transaction its client is on another connection.

It knows as much of PostgreSQL's protocol as that takes. A statement that relies on what an earlier one has left in its
session fails behind it.
"""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from pathlib import Path

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_SOCKET = ".s.PGSQL.5432"
_IDLE = b"I"


@contextlib.asynccontextmanager
async def transaction_pooler(server: Path, folder: Path) -> AsyncIterator[str]:
    """Run a pooler in `folder` before the server whose socket is in `server`; yield its DSN."""
    clients: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        clients.add(task)
        with contextlib.suppress(asyncio.IncompleteReadError, OSError), contextlib.closing(writer):
            await _Client(server, (reader, writer)).serve()

    async with await asyncio.start_unix_server(serve, folder / _SOCKET):
        yield f"postgresql://postgres@/postgres?host={folder}"
        for task in clients:
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)


class _Client:
    def __init__(self, server: Path, streams: Streams) -> None:
        self._server, (self._reader, self._writer) = server, streams
        self._backends: list[Streams] = []
        self._is_free = asyncio.Event()

    async def serve(self) -> None:
        (length,) = struct.unpack("!i", head := await self._reader.readexactly(4))
        hello = head + await self._reader.readexactly(length - 4)
        answers: list[asyncio.Task[None]] = []
        try:
            for number in range(2):
                backend = await asyncio.open_unix_connection(self._server / _SOCKET)
                self._backends.append(backend)
                backend[1].write(hello)
                greeting = await _until_ready(backend[0])
                if not number:
                    self._writer.write(greeting)
            answers = [asyncio.create_task(self._pass_on(reader)) for reader, _ in self._backends]
            await self._take_turns()
        finally:
            for task in answers:
                task.cancel()
            await asyncio.gather(*answers, return_exceptions=True)
            for _, writer in self._backends:
                writer.close()

    async def _take_turns(self) -> None:
        """Send what the client asks to one server until that has ended a transaction, then to the other."""
        while (asked := await _message(self._reader))[0] != b"X":
            kind, message = asked
            self._is_free.clear()
            self._backends[0][1].write(message)
            if kind in b"SQ":
                await self._is_free.wait()

    async def _pass_on(self, reader: asyncio.StreamReader) -> None:
        while True:
            kind, message = await _message(reader)
            self._writer.write(message)
            if kind == b"Z":
                if message[-1:] == _IDLE:
                    self._backends.reverse()
                self._is_free.set()


async def _until_ready(reader: asyncio.StreamReader) -> bytes:
    said = b""
    while not said.endswith(b"Z\0\0\0\x05I"):
        said += (await _message(reader))[1]
    return said


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    kind = await reader.readexactly(1)
    (length,) = struct.unpack("!i", head := await reader.readexactly(4))
    return kind, kind + head + await reader.readexactly(length - 4)
