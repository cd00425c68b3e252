"""What the tests of the SQLite storage let other processes do. Run as a script: `sqlite_processes.py VERB PATH ...`."""

# ruff: noqa: T201 - its output is what the tests read

import asyncio
import os
import signal
import sqlite3
import sys
import warnings
from datetime import UTC, datetime, timedelta

from chrono_async.claims import ClaimRequest, Granted, Outcome, PointerMove
from chrono_async.models import Definition, JobRecord, RunRecord, RunStatus
from chrono_async.storage import SQLiteStorage

BASE = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DEFINITION = Definition("d", "b")


async def request(storage: SQLiteStorage, job_id: str) -> ClaimRequest:
    """Return the wish to run what the job is at, registering it if need be."""
    record = (await storage.register(JobRecord(id=job_id, next_run=BASE, schedule=DEFINITION))).record
    assert record.next_run is not None
    return ClaimRequest(job_id, record.next_run, record.bound_fire_time or record.next_run, record.revision)


def outcome(asked: ClaimRequest, granted: Granted) -> Outcome:
    """Return the end of a run that moves the pointer by a second."""
    row = RunRecord(asked.job_id, asked.fire_time, RunStatus.COMPLETED, token=granted.lease.token)
    return Outcome(granted.lease, row, PointerMove(granted.next_run, asked.revision, asked.fire_time + SECOND))


async def hold(path: str, ttl: str) -> None:
    """Claim a job, say so, and wait to be killed."""
    storage = SQLiteStorage(path)
    answer = await storage.claim([await request(storage, "a")], "dead/1", SECOND * float(ttl))
    print(type(answer.verdicts[0]).__name__, flush=True)
    await asyncio.Event().wait()


async def settle_in_pairs(path: str, durable: str) -> None:
    """Run two jobs together, again and again, until killed; print how often, each time that it has been answered."""
    storage = SQLiteStorage(path, durable=bool(durable))
    for turn in range(100_000):
        asked = [await request(storage, "a"), await request(storage, "b")]
        answer = await storage.claim(asked, f"{os.getpid()}/{turn}", SECOND / 1000)
        granted = [verdict for verdict in answer.verdicts if isinstance(verdict, Granted)]
        if len(granted) == 2:
            await storage.settle([outcome(*pair) for pair in zip(asked, granted, strict=True)])
            print((await storage.get_job("a")).run_count, flush=True)


def keep_locked(path: str) -> None:
    """Hold the write lock until told to let go."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    print("locked", flush=True)
    sys.stdin.readline()
    database.execute("ROLLBACK")
    database.close()


KEPT: list[SQLiteStorage] = []
"""What nobody closes, and nothing lets go of before the interpreter ends."""


async def forget_to_close(path: str) -> None:
    """Use the storage, and end with a call under way."""
    storage = SQLiteStorage(path)
    KEPT.append(storage)
    await storage.save_job(JobRecord(id="a", run_count=1))
    call = asyncio.create_task(storage.save_job(JobRecord(id="b")))
    await asyncio.sleep(0)
    call.cancel()
    print("done", flush=True)


def fork(path: str) -> None:
    """Write before a fork, in the child, in the parent while the child has the file open, and in the child again."""
    storage = SQLiteStorage(path)
    asyncio.run(storage.save_job(JobRecord(id="parent, before")))
    (heard, told), (heard_back, told_back) = os.pipe(), os.pipe()
    warnings.simplefilter("ignore", DeprecationWarning)  # of forks of processes with threads: that is what is tested
    child = os.fork()
    if child == 0:
        asyncio.run(storage.save_job(JobRecord(id="child, first")))
        os.write(told, b"x")
        os.read(heard_back, 1)
        asyncio.run(storage.save_job(JobRecord(id="child, last")))
        sys.exit(0)
    os.read(heard, 1)
    asyncio.run(storage.save_job(JobRecord(id="parent, after")))
    asyncio.run(storage.close())
    os.write(told_back, b"x")
    print(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    verb, *arguments = sys.argv[1:]
    if verb == "hold":
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has those in its background ignore it
        asyncio.run(hold(*arguments))
    elif verb == "settle_in_pairs":
        asyncio.run(settle_in_pairs(*arguments))
    elif verb == "keep_locked":
        keep_locked(*arguments)
    elif verb == "forget_to_close":
        asyncio.run(forget_to_close(*arguments))
    elif verb == "fork":
        fork(*arguments)
