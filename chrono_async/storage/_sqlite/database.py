"""
A database file in the hands of one thread: opened when it is needed, and anew after every error.

All calls of a transaction are written together or not at all, each under a savepoint, so that one's error is its own.
"""

import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from weakref import WeakSet

from ...errors import ChronoError, StorageCorruptError, StorageError
from .._awaited import Awaited, fail
from .connection import Connection
from .schema import prepare

Result = TypeVar("Result")
Step = Callable[[Connection], Result]
Translate = Callable[[BaseException], BaseException]

_STATEMENTS = 256
"""How many statements a connection keeps prepared."""
_LOOK_AGAIN = 0.02


class Settings(NamedTuple):
    """How a file is used."""

    path: Path
    namespace: str
    busy_timeout: timedelta
    durable: bool


class AskedStep(Awaited):
    """A step that waits to be done in a transaction."""

    __slots__ = ("step", "writes")

    def __init__(self, step: Step[Any], *, writes: bool) -> None:
        super().__init__()
        self.step: Step[Any] = step
        self.writes: bool = writes


class DatabaseFile:
    """The file, and the connection to it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connection: Connection | None = None
        self._inode = (0, 0)
        self._mutex = threading.Lock()
        _files.add(self)

    def run(self, calls: Sequence[AskedStep]) -> None:
        """Do the steps in one transaction; what keeps that from being written is each call's error."""
        with self._mutex:
            try:
                _transact(self._connected(), calls, self._translated)
            except BaseException as error:  # noqa: BLE001 - whatever it is, the callers hear it and the thread lives on
                self._drop()
                fail(calls, self._translated(error))

    def close(self) -> None:
        """Let go of the file; the next transaction opens it anew."""
        with self._mutex:
            self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    # ── opening ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _connected(self) -> Connection:
        if self._connection is not None and self._is_elsewhere():
            self._drop()
        if self._connection is None:
            self._connection = self._opened()
            self._inode = _inode_of(self._settings.path)
        return self._connection

    def _is_elsewhere(self) -> bool:
        """Whether the file has been moved away: what would be written to it, nobody would find."""
        try:
            return _inode_of(self._settings.path) != self._inode
        except OSError:
            return True

    def _opened(self) -> Connection:
        """Open the file, patiently: processes that make it at the same time are in each other's way."""
        patience = time.monotonic() + self._settings.busy_timeout.total_seconds()
        while True:
            try:
                return self._open()
            except sqlite3.OperationalError as error:
                if _code_of(error) not in _BUSY or time.monotonic() > patience:
                    raise
            time.sleep(random.uniform(0, _LOOK_AGAIN))

    def _open(self) -> Connection:
        path, namespace, timeout, durable = self._settings
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            path,
            timeout=timeout.total_seconds(),
            isolation_level=None,
            check_same_thread=False,
            cached_statements=_STATEMENTS,
            factory=Connection,
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            prepare(connection, namespace)
        except BaseException:
            connection.close()
            raise
        return connection

    # ── errors ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _translated(self, error: BaseException) -> BaseException:
        """Return the error as one of ours, with the path and what to do."""
        if isinstance(error, StorageError):
            error.args = (f"{self._settings.path}: {error}",)
            return error
        if isinstance(error, ChronoError) or not isinstance(error, _DRIVERS):
            return error
        kind, problem = self._problem_of(error)
        failure = kind(f"{self._settings.path}: {problem}")
        failure.__cause__ = error
        return failure

    def _problem_of(self, error: BaseException) -> tuple[type[StorageError], str]:
        known = _PROBLEMS.get(_code_of(error))
        if known is None:
            return StorageError, str(error) or repr(error)
        kind, problem = known
        return kind, problem.format(timeout=self._settings.busy_timeout.total_seconds())

    # ── forks ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def step_aside(self) -> None:
        """Close the file and keep the thread from opening it, until it is told to `go_on`."""
        self._mutex.acquire()
        self._drop()

    def go_on(self) -> None:
        """Let the thread work again."""
        self._mutex.release()


_DRIVERS = (sqlite3.Error, OSError, OverflowError, UnicodeError)
_OF_ONE_CALL = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError)
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_DAMAGED = (
    "{problem}. The file is left as it is; put it right, restore a copy, or move it away, together with the files of "
    "its name that end in -wal and -shm, to begin anew"
)
_PROBLEMS: dict[int, tuple[type[StorageError], str]] = {
    sqlite3.SQLITE_BUSY: (StorageError, "another process has kept the database locked for {timeout:g} s"),
    sqlite3.SQLITE_LOCKED: (StorageError, "another connection of this process has kept the database locked"),
    sqlite3.SQLITE_FULL: (StorageError, "the disk is full: nothing was written; make room"),
    sqlite3.SQLITE_IOERR: (StorageError, "the disk cannot be read or written; whether the last change was is unknown"),
    sqlite3.SQLITE_READONLY: (StorageError, "the database may not be written: see to its permissions and its folder's"),
    sqlite3.SQLITE_CANTOPEN: (StorageError, "the database cannot be opened: see to its permissions and its folder's"),
    sqlite3.SQLITE_CORRUPT: (StorageCorruptError, _DAMAGED.replace("{problem}", "the database is damaged")),
    sqlite3.SQLITE_NOTADB: (StorageCorruptError, _DAMAGED.replace("{problem}", "this is not a SQLite database")),
}


def _code_of(error: BaseException) -> int:
    """Return SQLite's primary result code; 0 for what is not SQLite's."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _inode_of(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


# ── transactions ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _transact(database: Connection, calls: Sequence[AskedStep], translated: Translate) -> None:
    """Take the write lock first, if there is anything to write: a reader that turns writer might find it taken."""
    database.execute("BEGIN IMMEDIATE" if any(call.writes for call in calls) else "BEGIN")
    for call in calls:
        _apply(database, call, translated)
    database.execute("COMMIT")


def _apply(database: Connection, call: AskedStep, translated: Translate) -> None:
    database.execute("SAVEPOINT one")
    try:
        call.result = call.step(database)
    except Exception as error:
        if isinstance(error, sqlite3.Error) and not isinstance(error, _OF_ONE_CALL):
            raise  # it is the file's, and every call's
        call.error = translated(error)
        database.execute("ROLLBACK TO one")
        database.forget()
    database.execute("RELEASE one")


# ── forks ────────────────────────────────────────────────────────────────────────────────────────────────────────────

# SQLite remembers, for the whole process, which files it has open and locked. A fork inherits that memory, but not the
# locks: even a new connection of the child's would not be seen by others, and what it wrote could be lost. So nothing
# is open while a process forks; parent and child open the file again when they need it.
_files: WeakSet[DatabaseFile] = WeakSet()
_aside: list[DatabaseFile] = []


def _before_fork() -> None:
    for file in list(_files):
        file.step_aside()
        _aside.append(file)


def _after_fork() -> None:
    while _aside:
        _aside.pop().go_on()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
