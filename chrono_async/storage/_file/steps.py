"""
Steps on a state file: what is asked for while one is under way is gathered, and done together in the next.

A step that changes anything is taken in one go, in a worker thread; one that only looks reads the file as it stands.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar, cast

import aiofiles

from ..._threads import call_in_thread
from ...clock import Clock
from ...errors import ChronoError, StorageError
from .._awaited import Awaited, fail
from .._home import Home
from .._table.shelf import Moment
from .._table.table import Table
from .codec import Codec
from .commit import SharedFile, Version
from .documents import Tree

Result = TypeVar("Result")
Verb = Callable[[Table, Moment], Result]


class AskedVerb(Awaited):
    """A verb that waits for its step."""

    __slots__ = ("verb", "writes")

    def __init__(self, verb: Verb[Any], *, writes: bool) -> None:
        super().__init__()
        self.verb: Verb[Any] = verb
        self.writes: bool = writes
        self.error = StorageError("the outcome is unknown: the event loop stopped the step")

    def apply(self, table: Table, at: Moment) -> None:
        """Do what the verb says; an error is its caller's, not the other calls'."""
        try:
            self.result, self.error = self.verb(table, at), None
        except Exception as error:  # noqa: BLE001 - handed to whoever called
            self.error = error

    @property
    def is_half_done(self) -> bool:
        """Whether the verb may have been stopped in the middle: what it refuses, it refuses before it begins."""
        return self.writes and self.error is not None and not isinstance(self.error, ChronoError)


class Steps:
    """Gathers the calls of all tasks, and takes them to the file, one step after another."""

    def __init__(self, path: Path, codec: Codec, clock: Clock) -> None:
        self._file, self._codec, self._clock = SharedFile(path), codec, clock
        self._waiting: list[AskedVerb] = []
        self._worker: asyncio.Task[None] | None = None
        self._version: Version | None = None
        self._table: Table | None = None
        self._unreadable: list[Tree] = []
        self._written = b""
        self._home = Home()

    async def take(self, verb: Verb[Result], *, writes: bool) -> Result:
        """Call the verb in the next step and return its result. A caller that is cancelled does not stop it."""
        self._home.check()
        loop = asyncio.get_running_loop()
        asked = AskedVerb(verb, writes=writes)
        self._waiting.append(asked)
        if self._worker is None or self._worker.done() or self._worker.get_loop() is not loop:
            self._worker = loop.create_task(self._work(), name="chrono-async file storage")
        result: Result = await asked.answer
        return result

    async def finish(self) -> None:
        """Wait for the steps of all calls so far, and let any event loop follow."""
        self._home.check()
        if self._worker is not None and not self._worker.done():
            await asyncio.wait([self._worker])
        self._home.leave()

    async def _work(self) -> None:
        while self._waiting:
            calls, self._waiting = self._waiting, []
            try:
                await self._step(calls)
            finally:
                for call in calls:
                    call.tell()

    async def _step(self, calls: list[AskedVerb]) -> None:
        if any(call.writes for call in calls):
            await call_in_thread(self._write_step, calls)
        else:
            await self._read_step(calls)

    async def _read_step(self, calls: list[AskedVerb]) -> None:
        """Look at the file without its lock: its name always stands for a whole state."""
        try:
            version = self._file.version()
            if self._table is None or version != self._version:
                await call_in_thread(self._load, await self._bytes(version), version)
            self._apply(calls, self._table)
        except Exception as error:  # noqa: BLE001 - whatever it is, the callers hear it and the worker lives on
            self._fail(calls, error)

    async def _bytes(self, version: Version | None) -> bytes:
        if version is None:
            return b""
        reader = ThreadPoolExecutor(1)  # those of the loop's own pool may all be at somebody else's work
        try:
            file = await aiofiles.open(self._file.path, "rb", executor=reader)
            try:
                return await file.read()
            finally:
                await file.close()  # `async with` would close it in that pool
        finally:
            reader.shutdown(wait=False)

    def _write_step(self, calls: list[AskedVerb]) -> None:
        """Do all that a change needs, in one go: nothing can come between, not even a cancellation."""
        try:
            with self._file.one_at_a_time(), self._file.locked():
                self._apply_to_latest(calls)
                if any(call.writes and call.error is None for call in calls):  # what is refused has changed nothing
                    self._commit()
        except Exception as error:  # noqa: BLE001 - whatever it is, the callers hear it and the worker lives on
            self._fail(calls, error)

    def _apply_to_latest(self, calls: list[AskedVerb]) -> None:
        """Do what the calls say, or, where one was left half done, what the others say, from the file on."""
        self._refresh()
        self._apply(calls, self._table)
        whole = [call for call in calls if not call.is_half_done]
        if len(whole) < len(calls):
            self._table = None
            self._apply_to_latest(whole)

    def _refresh(self) -> None:
        """Read the file if it is not as this process left it."""
        version = self._file.version()
        if self._table is None or version != self._version:
            self._load(b"" if version is None else self._file.path.read_bytes(), version)

    def _load(self, data: bytes, version: Version | None) -> None:
        if version is None:
            self._table, self._unreadable = self._codec.new_table(), []
        else:
            self._table, self._unreadable = self._codec.read(data)
        self._version, self._written = version, data

    def _apply(self, calls: list[AskedVerb], table: Table | None) -> None:
        at = Moment(self._clock.now(), self._clock.boot())
        for call in calls:
            call.apply(cast(Table, table), at)

    def _commit(self) -> None:
        """Write the table, unless that says what the file says already."""
        data = self._codec.write(cast(Table, self._table), self._unreadable)
        if data == self._written or (self._version is None and self._is_blank()):
            return
        self._file.replace(data)
        self._version, self._written = self._file.version(), data

    def _is_blank(self) -> bool:
        table = cast(Table, self._table)
        return not (table.records or table.locks or table.instances or table.token_floor)

    def _fail(self, calls: list[AskedVerb], error: Exception) -> None:
        """Forget what was not written: the file says what holds."""
        self._table = None
        failure = error if isinstance(error, StorageError) else StorageError(f"{self._file.path}: {error!r}")
        if failure is not error:
            failure.__cause__ = error
        fail(calls, failure)
