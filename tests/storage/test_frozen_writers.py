"""A process that is frozen while it writes a file holds the file's lock: nobody else can write until it ends."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chrono_async import StorageError
from chrono_async.models import JobRecord
from chrono_async.storage import FileStorage, SQLiteStorage
from chrono_async.storage._file import commit

FREEZE = "os.kill(os.getpid(), signal.SIGSTOP)"
SQLITE = f"""
import os, signal, sqlite3, sys
sqlite3.connect(sys.argv[1], isolation_level=None).execute("BEGIN IMMEDIATE")
{FREEZE}
"""
FILE = f"""
import os, signal, sys
from filelock import FileLock
with FileLock(sys.argv[1] + ".lock"):
    {FREEZE}
"""


@contextmanager
def frozen(program: str, path: Path) -> Iterator[None]:
    """A process that stands still while it holds the lock, until it is killed."""
    with subprocess.Popen([sys.executable, "-c", program, path]) as process:
        try:
            assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
            yield
        finally:
            process.kill()


@pytest.mark.parametrize("kind", ["file", "sqlite"])
async def test_a_frozen_writer_holds_up_writers_until_it_is_killed(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the storage that does not answer, as in an outage; reading goes on, and nothing is lost."""
    monkeypatch.setattr(commit, "_PATIENCE", 0.2)
    path = tmp_path / "jobs.json"
    storage = FileStorage(path) if kind == "file" else SQLiteStorage(path, busy_timeout=0.2)
    await storage.save_job(JobRecord(id="a", run_count=1))
    with frozen(FILE if kind == "file" else SQLITE, path):
        with pytest.raises(StorageError, match="another process has"):
            await storage.save_job(JobRecord(id="a", run_count=2))
        assert (await storage.get_job("a")).run_count == 1
    await storage.save_job(JobRecord(id="a", run_count=3))
    assert (await storage.get_job("a")).run_count == 3
    await storage.close()
