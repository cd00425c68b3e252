"""
A server's wall clock that can be set: a library that is loaded before all others adds an offset to what it reads.

The offset stands in a file that the library maps, so that it changes under the server's feet. It needs a C compiler.
"""

import asyncio
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
import redis

from chrono_async.clock import SystemClock
from tests.servers import PATIENCE, PostgresServer, RedisServer

SOURCE = Path(__file__).with_name("clock_shim.c")


def compiler() -> str | None:
    """Return the C compiler of this machine, if it has one."""
    return next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)


class ServerClock:
    """The wall clock of a server that is started in `environment`; `tell` hears of each setting before it is done."""

    def __init__(self, folder: Path, tell: Callable[[float], object] = float) -> None:
        found = compiler()
        if found is None:
            raise RuntimeError("to set a server's clock one needs a C compiler")
        self._tell, self._offset = tell, folder / "clock.offset"
        library = folder / "clock_shim.so"
        subprocess.run([found, "-O1", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
        self.environment = {"LD_PRELOAD": str(library), "CHRONO_CLOCK_OFFSET": str(self._offset)}
        self._write(0.0)
        for path in (folder, library, self._offset):
            path.chmod(0o755)

    def set(self, seconds: float) -> None:
        """Let the clock be ahead by so many seconds."""
        self._tell(seconds)
        self._write(seconds)

    def _write(self, seconds: float) -> None:
        data = struct.pack("q", int(seconds * 1_000_000_000))
        if not self._offset.exists():
            self._offset.write_bytes(data)
        else:
            with self._offset.open("r+b") as file:  # in place: it is mapped
                file.write(data)


def need_compiler() -> None:
    """Skip the test where there is none; CI must have one."""
    if compiler() is None and not os.environ.get("CI"):
        pytest.skip("there is no C compiler on this machine: apt-get install gcc libc6-dev")


class SetClock(SystemClock):
    """The clock of a server that is not started yet, as far ahead of the machine's as it is set."""

    def __init__(self, server: PostgresServer | RedisServer) -> None:
        self._server, self._clock = server, ServerClock(server.folder)
        self._ahead = timedelta(0)
        server.environment |= self._clock.environment

    def now(self) -> datetime:
        return super().now() + self._ahead

    def step(self, by: timedelta) -> None:
        """Set it, and see the server go by it: Valkey reads it some ten times a second, and counts on itself."""
        self._ahead += by
        self._clock.set(self._ahead.total_seconds())
        patience = time.monotonic() + PATIENCE
        while abs(_time_of(self._server) - self.now()) > timedelta(minutes=1):
            assert time.monotonic() < patience, "the server does not go by its clock"

    def put_right(self) -> None:
        """Let it be what the machine's is."""
        self.step(-self._ahead)


def _time_of(server: PostgresServer | RedisServer) -> datetime:
    """Ask what time it is there, and wait for the answer in another thread: a clock is set by a plain call."""
    with ThreadPoolExecutor(1) as thread:
        if isinstance(server, PostgresServer):
            return thread.submit(asyncio.run, _time_of_postgres(server.dsn)).result()
        return thread.submit(_time_of_redis, server.url).result()


async def _time_of_postgres(dsn: str) -> datetime:
    connection = await asyncpg.connect(dsn)
    try:
        found: datetime = await connection.fetchval("SELECT statement_timestamp()")
    finally:
        await connection.close()
    return found


def _time_of_redis(url: str) -> datetime:
    with redis.Redis.from_url(url) as client:
        seconds, microseconds = client.eval("return redis.call('TIME')", 0)  # as the storage's scripts read it
    return datetime.fromtimestamp(int(seconds), UTC) + timedelta(microseconds=int(microseconds))
