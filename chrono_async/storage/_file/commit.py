"""
A file that several processes of one host replace, whole, one after another.

Everything here blocks, and belongs in a worker thread.
"""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from filelock import FileLock, Timeout

from ...errors import StorageError

_PATIENCE = 30.0
_LOOK_AGAIN = 0.005


class Version(NamedTuple):
    """What tells one state of a file from another without reading it: each is an inode of its own."""

    inode: int
    size: int
    modified: int


class SharedFile:
    """
    The file at `path`, with a sidecar that its writers lock, and a copy of the state before the last.

    A kill at any point leaves the old state or the new: the new one is complete, and safe on disk, before it takes the
    old one's name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.backup = path.with_name(path.name + ".bak")
        self._sidecar = path.with_name(path.name + ".lock")
        self._is_swept = False
        self._one, self._made_in = threading.Lock(), os.getpid()

    def version(self) -> Version | None:
        """Return the version of the file as it now stands; None when there is none."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        return Version(status.st_ino, status.st_size, status.st_mtime_ns)

    @contextmanager
    def one_at_a_time(self) -> Iterator[None]:
        """Keep the other threads of this process out."""
        if self._made_in != os.getpid():  # a fork: a thread may hold the lock that is not there any more
            self._one, self._made_in = threading.Lock(), os.getpid()
        with self._one:
            yield

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._sidecar, timeout=_PATIENCE, thread_local=False)
        try:
            lock.acquire(poll_interval=_LOOK_AGAIN)
        except Timeout as error:
            raise StorageError(f"{self._sidecar}: another process has held the lock for {_PATIENCE:g} s") from error
        try:
            self._sweep()
            yield
        finally:
            lock.release()

    def _sweep(self) -> None:
        """Remove what killed writers left: under the lock, none can be at work."""
        if not self._is_swept:
            for leftover in self.path.parent.glob(f".{_literal(self.path.name)}.*.tmp"):
                leftover.unlink(missing_ok=True)
            self._is_swept = True

    def replace(self, data: bytes) -> None:
        """Put `data` in the place of what is there. Call it under the lock."""
        temporary = self._temporary()
        try:
            self._write(temporary, data)
            self._keep_the_old()
            temporary.replace(self.path)
        except BaseException:
            # After a failed fsync nothing can be known of these pages: they are thrown away, never synced again.
            with suppress(OSError):
                temporary.unlink()
            raise
        _sync_folder(self.path.parent)

    def _temporary(self) -> Path:
        return self.path.with_name(f".{self.path.name}.{os.getpid()}-{uuid4().hex}.tmp")

    def _write(self, temporary: Path, data: bytes) -> None:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):
            shutil.copymode(self.path, temporary)

    def _keep_the_old(self) -> None:
        """Give the old state a second name, under which it lives on."""
        if not self.path.exists():
            return
        temporary = self._temporary()
        try:
            self._copy(temporary)
            temporary.replace(self.backup)
        finally:
            temporary.unlink(missing_ok=True)

    def _copy(self, target: Path) -> None:
        try:
            os.link(self.path, target)
        except OSError:  # a file system without links
            shutil.copyfile(self.path, target)


def _literal(name: str) -> str:
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)


def _sync_folder(folder: Path) -> None:
    """Make the new name as durable as the data: renaming alone is atomic, but may be lost."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
