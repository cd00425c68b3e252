"""
A storage of one's own: the eight methods on SQLite, from the standard library alone.

The scheduler makes the rest of these eight, with the weaker promise that `scheduler.guarantees` tells. It is a sketch
to start from: its lock is safe between processes, its calls block the loop for as long as the disk needs.
"""

import pickle
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

from chrono_async import Clock, JobNotFoundError, JobRecord, StorageError, SystemClock

_TABLES = """
    CREATE TABLE IF NOT EXISTS jobs (id BLOB PRIMARY KEY, record BLOB NOT NULL, next_run REAL);
    CREATE INDEX IF NOT EXISTS due ON jobs (next_run) WHERE next_run IS NOT NULL;
    CREATE TABLE IF NOT EXISTS locks (id BLOB PRIMARY KEY, owner TEXT NOT NULL, until REAL NOT NULL);
"""


class OwnStorage:
    """Jobs in a SQLite file. A job's row has its record, pickled, and beside it what is searched for."""

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.executescript(f"PRAGMA journal_mode=WAL; PRAGMA busy_timeout=5000; {_TABLES}")

    async def save_job(self, record: JobRecord) -> None:
        next_run = None if record.paused or record.next_run is None else record.next_run.timestamp()
        self._run("INSERT OR REPLACE INTO jobs VALUES (?, ?, ?)", _key(record.id), pickle.dumps(record), next_run)

    async def get_job(self, job_id: str) -> JobRecord:
        rows = self._run("SELECT record FROM jobs WHERE id = ?", _key(job_id))
        if not rows:
            raise JobNotFoundError(job_id)
        return _loaded(rows[0][0])

    async def delete_job(self, job_id: str) -> None:
        if not self._run("DELETE FROM jobs WHERE id = ? RETURNING id", _key(job_id)):
            raise JobNotFoundError(job_id)
        self._run("DELETE FROM locks WHERE id = ?", _key(job_id))

    async def list_jobs(self) -> list[JobRecord]:
        return [_loaded(record) for (record,) in self._run("SELECT record FROM jobs")]

    async def get_due_jobs(self, now: datetime) -> list[JobRecord]:
        rows = self._run("SELECT record FROM jobs WHERE next_run <= ?", now.timestamp())
        return [_loaded(record) for (record,) in rows]

    async def acquire_lock(self, job_id: str, owner_id: str, ttl: timedelta) -> bool:
        """Take a lock that is free, has ended, or is one's own: in one statement, so that nobody comes between."""
        taken = """
            INSERT INTO locks VALUES (:id, :owner, :until)
            ON CONFLICT (id) DO UPDATE SET owner = :owner, until = :until WHERE owner = :owner OR until <= :now
            RETURNING id
        """
        now = self._clock.now().timestamp()  # wall time: a lock in a file must end after a reboot too
        names = {"id": _key(job_id), "owner": owner_id, "until": now + ttl.total_seconds(), "now": now}
        return bool(self._run(taken, names))

    async def release_lock(self, job_id: str, owner_id: str) -> None:
        self._run("DELETE FROM locks WHERE id = ? AND owner = ?", _key(job_id), owner_id)

    async def close(self) -> None:
        self._db.close()

    def _run(self, statement: str, *values: object) -> list[tuple[bytes]]:
        parameters = values[0] if values and isinstance(values[0], dict) else values
        try:
            with closing(self._db.execute(statement, parameters)) as cursor:
                return cursor.fetchall()
        except sqlite3.Error as error:
            raise StorageError(str(error)) from error


def _key(job_id: str) -> bytes:
    """Return an id as bytes: SQLite's text holds no half of a surrogate pair, and any text may be an id."""
    return job_id.encode(errors="surrogatepass")


def _loaded(data: bytes) -> JobRecord:
    record = pickle.loads(data)  # noqa: S301 - who can write to this file can do worse; JSON suits a shared database
    return record if isinstance(record, JobRecord) else JobRecord("unreadable")
