"""
How long do N due jobs take on SQLite: claimed, run and settled, each outcome with a row of history?
"""

import asyncio
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from ._durable import LEASE, Bare, End, apscheduler3, bare, ours, question
from ._measure import Sample

QUESTION = question("durable_sqlite", "SQLite")
_SCHEMA = """
    PRAGMA journal_mode = WAL;
    CREATE TABLE jobs (id TEXT PRIMARY KEY, due REAL, owner TEXT, lease REAL, token INTEGER, runs INTEGER, last REAL)
        WITHOUT ROWID;
    CREATE INDEX due ON jobs (due) WHERE due IS NOT NULL;
    CREATE TABLE history (n INTEGER PRIMARY KEY, job TEXT, started REAL, finished REAL, status TEXT);
    CREATE INDEX of_job ON history (job, n);
"""
_CLAIM = """
    UPDATE jobs SET owner = ?, lease = ?, token = token + 1
    WHERE id IN (SELECT id FROM jobs WHERE due <= ? AND (owner IS NULL OR lease < ?) ORDER BY due LIMIT ?)
    RETURNING id
"""
_SETTLE = "UPDATE jobs SET owner = NULL, lease = NULL, due = NULL, runs = runs + 1, last = ? WHERE id = ? AND owner = ?"
_TELL = "INSERT INTO history (job, started, finished, status) VALUES (?, ?, ?, 'completed')"


@QUESTION.contestant("bare")
async def bare_sqlite(size: int) -> Sample:
    with TemporaryDirectory() as folder:
        return await bare(size, await _bare(Path(folder, "jobs.db"), size))


async def _bare(path: Path, size: int) -> Bare:
    loop, thread = asyncio.get_running_loop(), ThreadPoolExecutor(1)
    database = await loop.run_in_executor(thread, _filled, path, size)

    def claim(most: int) -> list[str]:
        now = datetime.now(UTC).timestamp()
        database.execute("BEGIN IMMEDIATE")
        rows = database.execute(_CLAIM, ("me", now + LEASE.total_seconds(), now, now, most)).fetchall()
        database.execute("COMMIT")
        return [job_id for (job_id,) in rows]

    def settle(ends: Sequence[End]) -> None:
        database.execute("BEGIN IMMEDIATE")
        database.executemany(_SETTLE, [(end.timestamp(), job_id, "me") for job_id, _, end in ends])
        database.executemany(_TELL, [(job_id, begin.timestamp(), end.timestamp()) for job_id, begin, end in ends])
        database.execute("COMMIT")

    return Bare(
        lambda most: loop.run_in_executor(thread, claim, most),
        lambda ends: loop.run_in_executor(thread, settle, ends),
        lambda: loop.run_in_executor(thread, database.close),
    )


def _filled(path: Path, size: int) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None)
    database.executescript(_SCHEMA)
    database.execute("PRAGMA synchronous = FULL")
    database.execute("BEGIN")
    database.executemany("INSERT INTO jobs VALUES (?, 0, NULL, NULL, 0, 0, NULL)", [(f"job-{n}",) for n in range(size)])
    database.execute("COMMIT")
    return database


@QUESTION.contestant("chrono_async")
async def ours_on_sqlite(size: int) -> Sample:
    from chrono_async.storage import SQLiteStorage

    with TemporaryDirectory() as folder:
        return await ours(size, SQLiteStorage(Path(folder, "jobs.db")))


@QUESTION.contestant("APScheduler 3", most=1_000)
async def apscheduler_on_sqlite(size: int) -> Sample:
    from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore

    with TemporaryDirectory() as folder:
        return await apscheduler3(size, SQLAlchemyJobStore(url=f"sqlite:///{folder}/jobs.db"))


if __name__ == "__main__":
    QUESTION.main()
