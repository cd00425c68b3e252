"""What holds for a SQLite file that several processes share, whatever becomes of them and of the disk."""

import asyncio
import gc
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from chrono_async import AsyncScheduler, current_run
from chrono_async.claims import ClaimRequest, Gone, Granted, Held, Outcome, SettleVerdict
from chrono_async.errors import InvalidOptionError, JobNotFoundError, StorageCorruptError, StorageError
from chrono_async.models import InstanceInfo, JobRecord, RunRecord, RunStatus
from chrono_async.storage import SQLiteStorage, open_storage
from chrono_async.storage._sqlite import database as database_file
from chrono_async.storage._sqlite import schema as database_schema
from chrono_async.testing import VirtualClock, run
from chrono_async.testing.contract import SteppedClock

from .file_processes import JOBS, RUNS
from .sqlite_processes import BASE, SECOND, outcome, request

FOLDER = Path(__file__).parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(FOLDER.parents[1])}
MINUTE = timedelta(minutes=1)


def start(*arguments: object, script: str = "sqlite_processes.py") -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", str(FOLDER / script), *map(str, arguments)]
    return subprocess.Popen(
        command, env=ENVIRONMENT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def finish(process: subprocess.Popen[str], words: str = "") -> str:
    out, err = process.communicate(words, timeout=50)
    assert process.returncode == 0, err
    assert not err
    return out


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@contextmanager
def raw(path: Path) -> Iterator[sqlite3.Connection]:
    """The file, as anybody sees it who opens it with SQLite alone."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        yield database


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


# ── several processes ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_two_storages_on_one_file_see_each_other(tmp_path: Path) -> None:
    """As two processes do."""
    one, two = SQLiteStorage(tmp_path / "jobs.db"), SQLiteStorage(tmp_path / "jobs.db")
    for n in range(5):
        await one.save_job(JobRecord(id="a", run_count=n))
        assert (await two.get_job("a")).run_count == n
        await two.save_job(JobRecord(id="b", run_count=n))
        assert (await one.get_job("b")).run_count == n
    await two.delete_job("a")
    assert [record.id for record in await one.list_jobs()] == ["b"]
    await one.close()
    await two.close()


def test_four_processes_at_once_on_an_empty_file(tmp_path: Path) -> None:
    """None fails, and each fire time of each job runs once, whoever runs it."""
    path = tmp_path / "not" / "there" / "jobs.db"
    processes = [start("work", f"sqlite:{path}", f"p{n}", script="file_processes.py") for n in range(4)]
    for process in processes:
        assert line_of(process) == "ready"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    ran = [tuple(run) for process in processes for run in json.loads(finish(process))]
    assert len(ran) == len(set(ran)) == JOBS * RUNS
    assert {attempt for _, _, attempt in ran} == {1}
    assert [record.run_count for record in asyncio.run(SQLiteStorage(path).list_jobs())] == [RUNS] * JOBS


async def test_a_file_that_another_is_just_making_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite refuses at once, whatever the timeout, where waiting could be for ever: of two who set the journal up."""
    refusals, real = [1, 2, 3], database_file.prepare

    def prepare(*arguments: Any) -> None:
        if refusals:
            refusals.pop()
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise error
        real(*arguments)

    monkeypatch.setattr(database_file, "prepare", prepare)
    storage = SQLiteStorage(tmp_path / "jobs.db")
    await storage.save_job(JobRecord(id="a"))
    assert not refusals
    await storage.close()


async def test_what_a_killed_process_held_is_taken_over(tmp_path: Path) -> None:
    """When its lease has ended and not before, as attempt 2 of the same occurrence."""
    path, ttl = tmp_path / "jobs.db", 3.0
    process = start("hold", path, ttl)
    try:
        assert await asyncio.to_thread(line_of, process) == "Granted"
        claimed = time.monotonic()
    finally:
        process.kill()
        process.communicate()
    storage = SQLiteStorage(path)
    asked = await request(storage, "a")
    assert isinstance((await storage.claim([asked], "me/0", MINUTE)).verdicts[0], Held)
    async with asyncio.timeout(20):
        while not (await storage.due(BASE, BASE)).due:  # noqa: ASYNC110 - it is a question to the storage
            await asyncio.sleep(0.02)
    assert time.monotonic() - claimed > ttl - 0.2
    (granted,) = (await storage.claim([asked], "me/1", MINUTE)).verdicts
    assert isinstance(granted, Granted)
    assert granted.attempt == 2
    assert [(row.status, row.instance_id) for row in await storage.list_runs("a")] == [(RunStatus.ABANDONED, "dead")]
    await storage.close()


@pytest.mark.parametrize("durable", [True, False])
def test_a_writer_killed_at_any_moment_leaves_a_whole_state(tmp_path: Path, durable: bool) -> None:
    """Two jobs that are always settled together never differ, and what was answered is there."""
    path, dice = tmp_path / "jobs.db", random.Random(7)
    for _ in range(12):
        process = start("settle_in_pairs", path, "durable" if durable else "")
        line_of(process)
        time.sleep(dice.uniform(0, 0.03))
        process.kill()
        told = [int(line) for line in process.communicate()[0].split()]
        first, second = asyncio.run(pair(path))
        assert first == second
        assert not told or told[-1] <= first <= told[-1] + 1


async def pair(path: Path) -> tuple[int, int]:
    storage = SQLiteStorage(path)
    counts = [(await storage.get_job(job_id)).run_count for job_id in "ab"]
    assert len(await storage.list_runs("a")) == min(counts[0], 20) or await is_any_abandoned(storage)
    await storage.close()
    return counts[0], counts[1]


async def is_any_abandoned(storage: SQLiteStorage) -> bool:
    return any(row.status is RunStatus.ABANDONED for row in await storage.list_runs("a"))


@pytest.mark.parametrize(("durable", "level"), [(True, 2), (False, 1)])
async def test_what_was_answered_is_synced_unless_that_is_not_wanted(tmp_path: Path, durable: bool, level: int) -> None:
    """
    No test can cut the power. By SQLite's documentation a log that is written ahead is synced at each commit with
    `synchronous = FULL`, and with `NORMAL` it is not: then a power failure can undo commits, and damages nothing.
    """
    storage = SQLiteStorage(tmp_path / "jobs.db", durable=durable)
    await storage.save_job(JobRecord(id="a"))

    def pragmas(database: sqlite3.Connection) -> list[object]:
        return [database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]

    assert await storage._worker.take(pragmas, writes=False) == ["wal", level]
    assert ("what was answered is on disk" in storage.guarantees) is durable
    assert ("a power failure can undo the last changes" in storage.guarantees) is not durable
    await storage.close()


async def test_a_busy_file_is_an_error_only_after_patience(tmp_path: Path) -> None:
    """Which says who is to blame; reading goes on meanwhile, and so does everything afterwards."""
    path = tmp_path / "jobs.db"
    storage = SQLiteStorage(path, busy_timeout=0.2)
    await storage.save_job(JobRecord(id="a", run_count=1))
    process = start("keep_locked", path)
    assert await asyncio.to_thread(line_of, process) == "locked"
    with pytest.raises(
        StorageError, match=r"jobs\.db: another process has kept the database locked for 0\.2 s"
    ) as busy:
        await storage.save_job(JobRecord(id="a", run_count=2))
    assert isinstance(busy.value.__cause__, sqlite3.OperationalError)
    assert (await storage.get_job("a")).run_count == 1
    patient = SQLiteStorage(path, busy_timeout=30)
    waiting = asyncio.create_task(patient.save_job(JobRecord(id="a", run_count=3)))
    await patient_enough(waiting)
    await asyncio.to_thread(finish, process, "let go\n")
    await waiting
    await storage.save_job(JobRecord(id="b"))
    assert (await storage.get_job("a")).run_count == 3
    await storage.close()
    await patient.close()


async def patient_enough(waiting: asyncio.Task[None]) -> None:
    done, _ = await asyncio.wait([waiting], timeout=0.3)
    assert not done


def test_a_fork_has_the_file_to_itself(tmp_path: Path) -> None:
    """What parent and child write is kept, although the parent closes the file while the child has it open."""
    path = tmp_path / "jobs.db"
    assert finish(start("fork", path)) == "0\n"
    names = sorted(record.id for record in asyncio.run(SQLiteStorage(path).list_jobs()))
    assert names == ["child, first", "child, last", "parent, after", "parent, before"]


def test_an_exit_does_not_wait_for_a_storage_left_open(tmp_path: Path) -> None:
    """It ends at once, silently, and what was answered is kept."""
    path, began = tmp_path / "jobs.db", time.monotonic()
    assert finish(start("forget_to_close", path)) == "done\n"
    assert time.monotonic() - began < 15
    assert asyncio.run(SQLiteStorage(path).get_job("a")).run_count == 1


# ── calls that come together ─────────────────────────────────────────────────────────────────────────────────────────


async def test_calls_that_come_together_are_written_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hundred saves at once need a few transactions, not two hundred."""
    storage, transactions, real = SQLiteStorage(tmp_path / "jobs.db"), [], database_file._transact

    def transact(database: sqlite3.Connection, calls: list[object], *rest: object) -> None:
        transactions.append(len(calls))
        real(database, calls, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(database_file, "_transact", transact)
    await asyncio.gather(*(storage.save_job(JobRecord(id=str(n))) for n in range(200)))
    assert sum(transactions) == 200
    assert len(transactions) <= 5
    assert len(await storage.list_jobs()) == 200
    await storage.close()


async def test_one_failing_call_of_a_transaction_is_its_own(tmp_path: Path) -> None:
    """Those that were gathered with it are written; of its own writes nothing is."""
    storage = SQLiteStorage(tmp_path / "jobs.db")
    results = await asyncio.gather(
        storage.save_job(JobRecord(id="a")), storage.delete_job("nobody"),
        storage.save_job(JobRecord(id="huge", token=2**70)), storage.save_job(JobRecord(id="b")),
        return_exceptions=True,
    )  # fmt: skip
    assert [type(result) for result in results] == [type(None), JobNotFoundError, StorageError, type(None)]
    assert sorted(record.id for record in await storage.list_jobs()) == ["a", "b"]
    await storage.close()


async def test_a_call_that_fails_half_way_has_written_nothing(tmp_path: Path) -> None:
    """Not even what it had written of its job before its row in the history could not be."""
    storage = SQLiteStorage(tmp_path / "jobs.db")
    asked = await request(storage, "a")
    (granted,) = (await storage.claim([asked], "me/1", MINUTE)).verdicts
    assert isinstance(granted, Granted)
    end = outcome(asked, granted)
    bad = Outcome(end.lease, end.run._replace(attempt=2**70), end.move)
    failed, _ = await asyncio.gather(storage.settle([bad]), storage.save_job(JobRecord(id="b")), return_exceptions=True)
    assert isinstance(failed, StorageError)
    assert [(record.id, record.run_count) for record in await storage.list_jobs()] == [("a", 0), ("b", 0)]
    assert (await storage.settle([end])).settled[0].verdict is SettleVerdict.DONE
    await storage.close()


async def test_a_cancelled_caller_splits_nothing(tmp_path: Path) -> None:
    """Its change is done, whole, though it did not wait for it."""
    storage = SQLiteStorage(tmp_path / "jobs.db")
    task = asyncio.create_task(storage.save_job(JobRecord(id="a", run_count=7)))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert (await storage.get_job("a")).run_count == 7
    await storage.close()


async def test_the_loop_goes_on_while_the_file_is_busy(tmp_path: Path) -> None:
    """Nothing of it happens in the loop's own thread."""
    path = tmp_path / "jobs.db"
    storage = SQLiteStorage(path, busy_timeout=30)
    await storage.save_job(JobRecord(id="a"))
    with raw(path) as database:
        database.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(storage.save_job(JobRecord(id="b")))
        began, turns = time.monotonic(), 0
        while time.monotonic() - began < 0.2:
            await asyncio.sleep(0)
            turns += 1
        assert turns > 50
        assert not waiting.done()
        database.execute("ROLLBACK")
    await waiting
    await storage.close()


# ── opening and closing ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_was_kept_is_there_after_a_restart(tmp_path: Path) -> None:
    """Jobs, history, instances and leases: a restart frees nothing before its time."""
    clock = SteppedClock()
    first = SQLiteStorage(tmp_path / "a" / "b" / "jobs.db", clock=clock)
    asked = await request(first, "a")
    for n in range(2):
        (granted,) = (await first.claim([asked], f"me/{n}", MINUTE)).verdicts
        assert isinstance(granted, Granted)
        if not n:
            await first.settle([outcome(asked, granted)])
            asked = await request(first, "a")
    await first.heartbeat(InstanceInfo("me", clock.now(), clock.now(), frozenset({"a"})))
    seen = await first.get_job("a"), await first.list_runs(), await first.list_instances()
    await first.close()
    second = SQLiteStorage(tmp_path / "a" / "b" / "jobs.db", clock=clock)
    assert (await second.get_job("a"), await second.list_runs(), await second.list_instances()) == seen
    assert isinstance((await second.claim([asked], "you/1", MINUTE)).verdicts[0], Held)
    clock.advance(MINUTE + SECOND)
    (again,) = (await second.claim([asked], "you/1", MINUTE)).verdicts
    assert isinstance(again, Granted)
    assert again.attempt == 2
    await second.close()


async def test_leases_end_with_the_machines_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a reboot nobody is left to hold them, whatever the new boot clock says: locks, owners, flights."""
    clock = SteppedClock()
    storage = SQLiteStorage(tmp_path / "jobs.db", clock=clock)
    held, flown = await request(storage, "held"), await request(storage, "flown")
    flown = flown._replace(moves=True, moves_to=clock.now() + MINUTE, frees=True)
    answer = await storage.claim([held, flown], "dead/1", timedelta(days=9))
    assert [type(verdict) for verdict in answer.verdicts] == [Granted, Granted]
    assert await storage.acquire_lock("no job", "dead", timedelta(days=9))
    await storage.close()
    monkeypatch.setattr(database_schema, "boot_id", lambda: "another life")
    assert [due.job_id for due in (await storage.due(BASE, BASE)).due] == ["held"]
    assert [row.job_id for row in await storage.list_runs()] == ["flown"]
    (again,) = (await storage.claim([held], "me/1", MINUTE)).verdicts
    assert isinstance(again, Granted)
    assert again.attempt == 2
    assert await storage.acquire_lock("no job", "me", MINUTE)
    await storage.close()
    assert isinstance((await storage.claim([held], "you/1", MINUTE)).verdicts[0], Held)
    await storage.close()


async def test_a_closed_storage_opens_again(tmp_path: Path) -> None:
    """Closing waits for what is under way, twice is fine, and no thread and no file is left open."""
    before, storage = set(threading.enumerate()), SQLiteStorage(tmp_path / "jobs.db")
    await storage.close()
    for n in range(3):
        call = asyncio.create_task(storage.save_job(JobRecord(id=str(n))))
        await asyncio.sleep(0)
        await storage.close()
        assert call.done()
        await ended(threads_since(before))
        await storage.close()
    assert names_in(tmp_path) == ["jobs.db"]
    assert len(await storage.list_jobs()) == 3
    await storage.close()


def threads_since(before: set[threading.Thread]) -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if "SQLite" in thread.name} - before


async def ended(threads: set[threading.Thread]) -> None:
    for thread in threads:
        await asyncio.to_thread(thread.join, 10)
        assert not thread.is_alive()


async def test_a_forgotten_storage_ends_its_thread(tmp_path: Path) -> None:
    """Nothing but the storage itself keeps the file open."""
    before, storage = set(threading.enumerate()), SQLiteStorage(tmp_path / "jobs.db")
    await storage.save_job(JobRecord(id="a"))
    threads = threads_since(before)
    assert len(threads) == 1
    del storage
    gc.collect()
    await ended(threads)
    assert names_in(tmp_path) == ["jobs.db"]


def test_a_storage_serves_one_loop_after_another(tmp_path: Path) -> None:
    """As in tests, scripts and notebooks; and loops of several threads at once."""
    storage = SQLiteStorage(tmp_path / "jobs.db")
    for n in range(3):
        asyncio.run(storage.save_job(JobRecord(id=str(n))))

    def save(n: int) -> None:
        for k in range(5):
            asyncio.run(storage.save_job(JobRecord(id=f"{n} {k}")))

    threads = [threading.Thread(target=save, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(asyncio.run(storage.list_jobs())) == 23
    asyncio.run(storage.close())


def test_a_file_can_be_kept_in_simulated_time(tmp_path: Path) -> None:
    """A real thread and a real disk under a loop that jumps: an hour's lease ends in no time, and not before."""

    async def main() -> list[object]:
        clock = VirtualClock()
        storage = SQLiteStorage(tmp_path / "jobs.db", clock=clock)
        timer = asyncio.create_task(asyncio.sleep(1))
        asked, verdicts = await request(storage, "a"), []
        assert clock.now() == BASE, "time stands still while the thread is at work"
        assert not timer.done()
        for n in range(3):
            verdicts += (await storage.claim([asked], f"i{n}/1", timedelta(hours=1))).verdicts
            await asyncio.sleep(1801)
        await storage.close()
        return verdicts

    assert [type(verdict) for verdict in run(main())] == [Granted, Held, Granted]


def test_two_schedulers_share_a_file(tmp_path: Path) -> None:
    """An hour of fire times, each run by one of them."""
    ran: list[datetime] = []

    async def note() -> None:
        ran.append(current_run().fire_time)

    async def main() -> None:
        clock = VirtualClock()
        storages = [SQLiteStorage(tmp_path / "jobs.db", clock=clock) for _ in range(2)]
        one, two = (AsyncScheduler(storage=storage, clock=clock) for storage in storages)
        async with one, two:
            for scheduler in (one, two):
                await scheduler.add_cron_job("note", "", note, "*/5 * * * *")
            await asyncio.sleep(3601)
        for storage in storages:
            await storage.close()

    run(main())
    assert ran == [BASE + 5 * n * MINUTE for n in range(1, 13)]


@pytest.mark.parametrize("url", ["sqlite:{path}", "sqlite://{path}"])
async def test_a_url_names_the_file(tmp_path: Path, url: str) -> None:
    """With one slash before the path, or three."""
    storage = open_storage(url.format(path=tmp_path / "jobs.db"))
    await storage.save_job(JobRecord(id="a"))
    assert (tmp_path / "jobs.db").exists()
    await storage.close()


@pytest.mark.parametrize(
    ("path", "options", "problem"),
    [
        (":memory:", {}, "InMemoryStorage"),
        ("", {}, "must name a file"),
        ("jobs.db", {"namespace": "a b"}, "namespace='a b'"),
        ("jobs.db", {"namespace": "1a"}, "namespace"),
        ("jobs.db", {"namespace": ""}, "namespace"),
        ("jobs.db", {"namespace": "SQLite"}, "namespace"),
        ("jobs.db", {"busy_timeout": -1}, "busy_timeout"),
        ("jobs.db", {"history_age": 0}, "history_age"),
        ("jobs.db", {"history": -1}, "history"),
        ("jobs.db", {"total_history": -1}, "total_history"),
    ],
)
def test_bad_options_are_refused_at_once(path: str, options: dict[str, object], problem: str) -> None:
    """By name, before any file is touched."""
    with pytest.raises(InvalidOptionError, match=problem):
        SQLiteStorage(path, **options)  # type: ignore[arg-type]


async def test_namespaces_are_apart(tmp_path: Path) -> None:
    """In one file, beside tables of somebody else's."""
    path = tmp_path / "jobs.db"
    with raw(path) as database:
        database.execute("CREATE TABLE mine (x)")
    storages = [SQLiteStorage(path, namespace=name) for name in ("chrono", "other")]
    for n, storage in enumerate(storages):
        await storage.save_job(JobRecord(id="a", run_count=n))
    assert [(await storage.get_job("a")).run_count for storage in storages] == [0, 1]
    for storage in storages:
        await storage.close()
    with raw(path) as database:
        assert database.execute("SELECT count(*) FROM mine").fetchone() == (0,)


# ── what goes wrong ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    """The error names the file and says what to do; each time, until somebody does it."""
    path = tmp_path / "jobs.db"
    path.write_bytes(b"a letter to somebody, and no database at all " * 100)
    before, storage = path.read_bytes(), SQLiteStorage(path)
    for _ in range(2):
        with pytest.raises(StorageCorruptError, match=r"jobs\.db: this is not a SQLite database.*move it away"):
            await storage.list_jobs()
    with pytest.raises(StorageCorruptError):
        await storage.save_job(JobRecord(id="a"))
    assert path.read_bytes() == before
    path.unlink()
    await storage.save_job(JobRecord(id="a"))
    assert [record.id for record in await storage.list_jobs()] == ["a"]
    await storage.close()


async def test_a_damaged_database_is_an_error_and_not_an_empty_one(tmp_path: Path) -> None:
    """A page of noise in its middle."""
    path = tmp_path / "jobs.db"
    storage = SQLiteStorage(path)
    await asyncio.gather(*(storage.save_job(JobRecord(id=str(n), last_error="x" * 500)) for n in range(200)))
    await storage.close()
    data = bytearray(path.read_bytes())
    data[4096 * 12 : 4096 * 30] = random.Random(1).randbytes(4096 * 18)
    path.write_bytes(data)
    with pytest.raises(StorageCorruptError, match=r"jobs\.db: the database is damaged"):
        await storage.list_jobs()
    await storage.close()


async def test_a_full_disk_fails_the_calls_and_keeps_the_state(tmp_path: Path) -> None:
    """Nothing half-written is kept, and with room it goes on."""
    storage = SQLiteStorage(tmp_path / "jobs.db")
    await storage.save_job(JobRecord(id="a", run_count=1))
    await storage._worker.take(lambda database: database.execute("PRAGMA max_page_count = 25").fetchall(), writes=False)
    results = await asyncio.gather(
        storage.save_job(JobRecord(id="a", run_count=2)),
        storage.save_job(JobRecord(id="big", last_error="x" * 500_000)),
        return_exceptions=True,
    )
    assert all(isinstance(result, StorageError) and "disk is full" in str(result) for result in results)
    assert [(record.id, record.run_count) for record in await storage.list_jobs()] == [("a", 1)]
    await storage.save_job(JobRecord(id="big", last_error="x" * 500_000))  # a new connection has no such bound
    await storage.close()


@pytest.mark.parametrize("folder", ["folder", "{folder}", "{0", "100%"])
async def test_a_path_that_cannot_be_is_an_error_each_time(tmp_path: Path, folder: str) -> None:
    """For reading as for writing, whatever its name is made of, and the storage lives on."""
    (tmp_path / folder).write_text("in the way")
    storage = SQLiteStorage(tmp_path / folder / "jobs.db")
    for _ in range(2):
        with pytest.raises(StorageError, match=re.escape(f"{folder}/jobs.db: ")):
            await storage.list_jobs()
    (tmp_path / folder).unlink()
    await storage.save_job(JobRecord(id="a"))
    assert await storage.list_jobs() == [JobRecord(id="a")]
    await storage.close()


class UnspeakableError(OSError):
    """An error whose text is another of its kind."""

    def __str__(self) -> str:
        raise UnspeakableError


class NoExceptionError(BaseException):
    """What `except Exception` lets pass."""


@pytest.mark.parametrize("kind", [UnspeakableError, NoExceptionError])
async def test_no_error_ends_the_thread(tmp_path: Path, kind: type[BaseException]) -> None:
    """Whoever asks next would wait for ever: what nobody has foreseen is the callers' error, too."""

    def step(_: sqlite3.Connection) -> None:
        raise kind

    before, storage = set(threading.enumerate()), SQLiteStorage(tmp_path / "jobs.db")
    await storage.save_job(JobRecord(id="a"))
    threads = threads_since(before)
    with pytest.raises(kind):
        await storage._worker.take(step, writes=True)
    assert [record.id for record in await storage.list_jobs()] == ["a"]
    assert threads_since(before) == threads
    await storage.close()


async def test_a_file_that_is_moved_away_is_not_written_on(tmp_path: Path) -> None:
    """Nobody would find it there: a new one takes its place."""
    path = tmp_path / "jobs.db"
    storage = SQLiteStorage(path)
    await storage.save_job(JobRecord(id="a"))
    for name in ("jobs.db", "jobs.db-wal", "jobs.db-shm"):
        (tmp_path / name).unlink()
    await storage.save_job(JobRecord(id="b"))
    await storage.close()
    assert [record.id for record in await SQLiteStorage(path).list_jobs()] == ["b"]


async def test_tables_that_are_dropped_come_back(tmp_path: Path) -> None:
    """The call that found them gone fails, and the next one makes them anew."""
    path = tmp_path / "jobs.db"
    storage = SQLiteStorage(path)
    await storage.save_job(JobRecord(id="a"))
    with raw(path) as database:
        for table in ("jobs", "runs", "instances", "meta"):
            database.execute(f"DROP TABLE chrono_{table}")
    with pytest.raises(StorageError, match="no such table"):
        await storage.list_jobs()
    assert await storage.list_jobs() == []
    await storage.close()


async def test_a_row_that_cannot_be_read_costs_that_job(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is told of once, left alone, and never overwritten; the others go on."""
    path, clock = tmp_path / "jobs.db", SteppedClock()
    storage = SQLiteStorage(path, clock=clock)
    requests = [await request(storage, job_id) for job_id in "abc"]
    with raw(path) as database:
        database.execute("UPDATE chrono_jobs SET options = 'no JSON' WHERE id = 'b'")
    assert [record.id for record in await storage.list_jobs()] == ["a", "c"]
    page = await storage.due(clock.now(), clock.now())
    assert ([due.job_id for due in page.due], list(page.unreadable)) == (["a", "c"], ["b"])
    assert (await storage.claim(requests[1:2], "me/1", MINUTE)).verdicts == [Gone()]
    verdicts = (await storage.claim(requests, "me/1", MINUTE)).verdicts
    assert [isinstance(verdict, Granted) for verdict in verdicts] == [True, False, True]
    record = JobRecord(id="b")
    for call in (
        storage.get_job("b"), storage.set_paused("b"), storage.save_job(record), storage.register(record),
        storage.acquire_lock("b", "me", MINUTE),
    ):  # fmt: skip
        with pytest.raises(StorageCorruptError, match=r"jobs\.db: .*'b' cannot be read") as refused:
            await call
        assert refused.value.job_id == "b"
    assert len(caplog.records) == 1
    with raw(path) as database:
        assert database.execute("SELECT options FROM chrono_jobs WHERE id = 'b'").fetchone() == ("no JSON",)
        with pytest.raises(sqlite3.IntegrityError):
            database.execute("UPDATE chrono_jobs SET token = 'no number'")
    await storage.close()


async def test_nor_does_a_row_of_an_instance_cost_more_than_that(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, now = tmp_path / "jobs.db", datetime.now(UTC)
    storage = SQLiteStorage(path)
    for name in ("one", "two"):
        await storage.heartbeat(InstanceInfo(name, now, now))
    with raw(path) as database:
        database.execute("UPDATE chrono_instances SET jobs = '[' WHERE instance_id = 'one'")
    for _ in range(2):
        assert [instance.instance_id for instance in await storage.list_instances()] == ["two"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    with raw(path) as database:
        database.execute("INSERT OR REPLACE INTO chrono_meta VALUES ('token_floor', 'high')")
    with pytest.raises(StorageCorruptError, match="floors"):
        await storage.save_job(JobRecord(id="a"))
    await storage.close()


async def test_a_text_that_cannot_be_kept_is_refused_by_name_or_escaped(tmp_path: Path) -> None:
    """An id or a name is the caller's to put right; an exception's message must not keep its run from being settled."""
    storage = SQLiteStorage(tmp_path / "jobs.db")
    with pytest.raises(InvalidOptionError, match=r"name='half \\ud800'"):
        await storage.save_job(JobRecord(id="a", name="half \ud800"))
    with pytest.raises(JobNotFoundError):
        await storage.get_job("half \ud800")
    assert await storage.list_runs("half \ud800") == []
    asked = await request(storage, "a")
    (granted,) = (await storage.claim([asked], "me/1", MINUTE)).verdicts
    assert isinstance(granted, Granted)
    end = outcome(asked, granted)
    failed = end.run._replace(status=RunStatus.FAILED, error="half \ud800, nothing \0 and ü")
    await storage.settle([Outcome(end.lease, failed, end.move)])
    assert (await storage.get_job("a")).last_error == "half \\ud800, nothing \0 and ü"
    assert [row.error for row in await storage.list_runs("a")] == ["half \\ud800, nothing \0 and ü"]
    await storage.close()


# ── bounds ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_history_is_kept_to_its_bounds(tmp_path: Path) -> None:
    """Of each job, of all, and by age; the newest stay."""
    clock = SteppedClock()
    storage = SQLiteStorage(tmp_path / "jobs.db", clock=clock, history=3, total_history=5, history_age=MINUTE)
    me = InstanceInfo("me", clock.now(), clock.now())
    for n in range(5):
        for job_id in "abc":
            await pass_over(storage, job_id, n)
    assert [row.fire_time for row in await storage.list_runs("a")] == [BASE + n * SECOND for n in (4, 3, 2)]
    assert len(await storage.list_runs()) == 9
    await storage.heartbeat(me)
    assert [row.job_id for row in await storage.list_runs()] == ["c", "b", "a", "c", "b"]
    clock.advance(MINUTE / 2)
    await pass_over(storage, "a", 5)
    clock.advance(MINUTE / 2 + SECOND)
    await storage.heartbeat(me)
    assert [row.fire_time for row in await storage.list_runs()] == [BASE + 5 * SECOND]
    await storage.close()


async def test_old_runs_are_deleted_some_at_a_time(tmp_path: Path) -> None:
    """A job may have more rows than its bound, which nobody is shown; with more than a quarter the oldest go."""
    path = tmp_path / "jobs.db"
    storage = SQLiteStorage(path, history=8)
    stored, shown = list[int](), list[int]()
    for n in range(14):
        await pass_over(storage, "a", n)
        shown.append(len(await storage.list_runs("a")))
        with raw(path) as database:
            stored += database.execute("SELECT count(*) FROM chrono_runs").fetchone()
    assert stored == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 8, 9, 10, 8]
    assert shown == [1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 8, 8, 8, 8]
    assert [row.fire_time for row in await storage.list_runs("a", offset=6)] == [BASE + n * SECOND for n in (7, 6)]
    await storage.close()


async def test_a_job_that_runs_has_its_history_looked_at_every_few_runs(tmp_path: Path) -> None:
    """By what all processes count: so a half more may come to be."""
    path = tmp_path / "jobs.db"
    storages = [SQLiteStorage(path, history=8) for _ in range(3)]
    stored = [0]
    for n in range(30):
        await run_once(storages[n % 3], "a")
        stored.append(count_runs(path))
    assert stored[:12] == list(range(12))
    assert max(stored) == 11
    assert stored[12] == 8
    assert len(await storages[0].list_runs("a")) == 8
    for storage in storages:
        await storage.close()


@pytest.mark.parametrize("is_removed", [True, False])
async def test_the_history_of_a_job_that_is_counted_anew_is_kept_to_its_bounds(
    tmp_path: Path, *, is_removed: bool
) -> None:
    """It is looked at when its counter goes back, since its job is removed or saved so."""
    path = tmp_path / "jobs.db"
    storage = SQLiteStorage(path, history=8)
    for _ in range(20):
        await run_once(storage, "a")
        await (storage.delete_job("a") if is_removed else storage.save_job(JobRecord("a", next_run=BASE)))
        assert count_runs(path) <= 10
    await storage.close()


def count_runs(path: Path) -> int:
    with raw(path) as database:
        [count] = database.execute("SELECT count(*) FROM chrono_runs").fetchone()
    return int(count)


async def run_once(storage: SQLiteStorage, job_id: str) -> None:
    asked = await request(storage, job_id)
    [granted] = (await storage.claim([asked], "me", MINUTE)).verdicts
    assert isinstance(granted, Granted)
    await storage.settle([outcome(asked, granted)])


async def pass_over(storage: SQLiteStorage, job_id: str, n: int) -> None:
    asked = await request(storage, job_id)
    row = RunRecord(job_id, BASE + n * SECOND, RunStatus.MISSED)
    due = await storage.advance(job_id, row, revision=asked.revision, next_run=BASE + (n + 1) * SECOND)
    assert due is not None
    assert due.next_run == BASE + (n + 1) * SECOND


async def test_no_history_is_kept_where_none_is_wanted(tmp_path: Path) -> None:
    """Zero is a bound too."""
    storage = SQLiteStorage(tmp_path / "jobs.db", history=0, history_age=timedelta.max)
    await storage.heartbeat(InstanceInfo("me", BASE, BASE))
    await pass_over(storage, "a", 0)
    assert await storage.list_runs() == []
    await storage.close()


async def test_locks_without_a_job_do_not_pile_up(tmp_path: Path) -> None:
    """A heartbeat sweeps out those that have ended."""
    path, clock = tmp_path / "jobs.db", SteppedClock()
    storage = SQLiteStorage(path, clock=clock)
    for n in (0, 1, 2, 0, 1, 2):
        await storage.acquire_lock(f"lock {n}", "me", MINUTE * (n + 1))
    clock.advance(MINUTE * 2)
    await storage.heartbeat(InstanceInfo("me", clock.now(), clock.now()))
    with raw(path) as database:
        assert database.execute("SELECT id FROM chrono_jobs").fetchall() == [("lock 2",)]
    assert not await storage.acquire_lock("lock 2", "you", MINUTE)
    assert await storage.acquire_lock("lock 0", "you", MINUTE), "and what is gone can be had again"
    assert not await storage.acquire_lock("lock 0", "me", MINUTE)
    assert not await SQLiteStorage(path, clock=clock).acquire_lock("lock 0", "me", MINUTE)
    await storage.close()


async def test_pages_pass_over_thousands_that_nobody_here_can_run(tmp_path: Path) -> None:
    """Held and free, in order, whatever is left out."""
    clock = SteppedClock()
    storage = SQLiteStorage(tmp_path / "jobs.db", clock=clock)
    names = [f"{n:05}" for n in range(3000)]
    await asyncio.gather(
        *(storage.save_job(JobRecord(id=name, next_run=BASE + n * SECOND)) for n, name in enumerate(names))
    )
    held = names[2600]
    await storage.acquire_lock(held, "other", MINUTE)
    wanted, found, after = set(names[10:2500:500]) | {held}, [], None
    while True:
        page = await storage.due(
            clock.now(), clock.now() + 2 * MINUTE, exclude=[n for n in names if n not in wanted], limit=2, after=after
        )
        found += page.due
        after = page.due[-1]
        if not page.more:
            break
    assert [due.job_id for due in found] == sorted(wanted)
    assert found[-1].when == clock.now() + MINUTE
    await storage.close()


async def test_what_changes_nothing_writes_nothing(tmp_path: Path) -> None:
    """A refused claim, say, of which there are many."""
    path = tmp_path / "jobs.db"
    storage = SQLiteStorage(path)
    await storage.save_job(JobRecord(id="a"))
    before = (tmp_path / "jobs.db-wal").stat()
    await storage.claim([ClaimRequest("a", None, BASE, 0)], "me/1", MINUTE)
    await storage.release_lock("a", "nobody")
    assert (tmp_path / "jobs.db-wal").stat() == before
    await storage.close()


async def test_looking_takes_an_index(tmp_path: Path) -> None:
    """So that a poll costs as much as it finds, and not as much as there is."""
    storage = SQLiteStorage(tmp_path / "jobs.db")
    sql = storage._tables._sql

    def plans(database: sqlite3.Connection) -> list[str]:
        texts = [sql.free, sql.held, sql.to_bury, sql.due_records, sql.latest, sql.latest_of, sql.jobs[4], sql.prune]
        return [
            detail
            for text in texts
            for *_, detail in database.execute(f"EXPLAIN QUERY PLAN {text}", [0] * text.count("?"))
        ]

    found = await storage._worker.take(plans, writes=False)
    assert not [detail for detail in found if "USE TEMP B-TREE" in detail or detail.startswith("SCAN chrono_jobs")]
    await storage.close()


def test_the_thread_is_no_signals_business(tmp_path: Path) -> None:
    """A process with an open storage ends at SIGINT as any other does."""
    process = start("hold", tmp_path / "jobs.db", 5)
    assert line_of(process) == "Granted"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode in {-signal.SIGINT, 1}
