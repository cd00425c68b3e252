"""
How long do N due jobs take on SQLite: claimed, run and settled, each outcome with a row of history?

There are two bare loops. One keeps what it needs, in seven columns of a job and four of its history. The other writes,
into tables of ours, the same columns as we do: what a run is known by, its token, its instance, its counters.
"""

import asyncio
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
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
_CLAIM_OURS = """
    UPDATE chrono_jobs SET status = 'running', token = max(token + 1, :now), owner = :owner, lease_until = :until,
        running = next_run, claimed = next_run, attempt = attempt + 1, lock_owner = :owner, lock_until = :until
    WHERE number IN (
        SELECT number FROM chrono_jobs WHERE due_at <= :now AND lock_until <= :now ORDER BY due_at, id LIMIT :most)
    RETURNING id, token, next_run
"""
_SETTLE_OURS = """
    UPDATE chrono_jobs SET status = 'completed', last_run = ?, last_success = next_run, run_count = run_count + 1,
        scheduled_runs = scheduled_runs + 1, settled_token = token, attempt = 0, lock_until = 0, lock_owner = NULL,
        owner = NULL, lease_until = NULL, running = NULL, claimed = NULL, next_run = NULL, due_at = NULL
    WHERE id = ? AND token = ? AND owner = ?
"""
_TELL_OURS = """
    INSERT INTO chrono_runs (written, job_id, fire_time, status, instance_id, attempt, token, manual, started, finished,
        error, retry_count)
    VALUES (?, ?, ?, 'completed', ?, 1, ?, 0, ?, ?, '', 0)
"""


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
    database = _opened(path)
    database.executescript(_SCHEMA)
    database.execute("BEGIN")
    database.executemany("INSERT INTO jobs VALUES (?, 0, NULL, NULL, 0, 0, NULL)", [(f"job-{n}",) for n in range(size)])
    database.execute("COMMIT")
    return database


@QUESTION.contestant("bare, our rows")
async def bare_sqlite_with_our_rows(size: int) -> Sample:
    with TemporaryDirectory() as folder:
        path = Path(folder, "jobs.db")
        await _make_ours(path, size)
        return await bare(size, await _bare_in_ours(path))


async def _make_ours(path: Path, size: int) -> None:
    from chrono_async.models import JobRecord
    from chrono_async.storage import SQLiteStorage

    storage, due = SQLiteStorage(path), datetime.now(UTC) - timedelta(seconds=1)
    jobs = (JobRecord(f"job-{number}", "No-op", next_run=due) for number in range(size))
    await asyncio.gather(*map(storage.save_job, jobs))
    await storage.close()


async def _bare_in_ours(path: Path) -> Bare:
    loop, thread = asyncio.get_running_loop(), ThreadPoolExecutor(1)
    database = await loop.run_in_executor(thread, _opened, path)
    held: dict[str, tuple[int, int]] = {}

    def claim(most: int) -> list[str]:
        now = datetime.now(UTC)
        database.execute("BEGIN IMMEDIATE")
        terms = {"now": _micros(now), "owner": "me", "until": _micros(now + LEASE), "most": most}
        rows = database.execute(_CLAIM_OURS, terms).fetchall()
        database.execute("COMMIT")
        held.update((job_id, (token, fire_time)) for job_id, token, fire_time in rows)
        return [job_id for job_id, _, _ in rows]

    def settle(ends: Sequence[End]) -> None:
        now = _micros(datetime.now(UTC))
        runs = [(job_id, *held.pop(job_id), _micros(begin), _micros(end)) for job_id, begin, end in ends]
        database.execute("BEGIN IMMEDIATE")
        database.executemany(_SETTLE_OURS, [(begin, job_id, token, "me") for job_id, token, _, begin, _ in runs])
        database.executemany(
            _TELL_OURS, [(now, job_id, at, "me", token, begin, end) for job_id, token, at, begin, end in runs]
        )
        database.execute("COMMIT")

    return Bare(
        lambda most: loop.run_in_executor(thread, claim, most),
        lambda ends: loop.run_in_executor(thread, settle, ends),
        lambda: loop.run_in_executor(thread, database.close),
    )


def _opened(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA synchronous = FULL")
    return database


def _micros(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)


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
