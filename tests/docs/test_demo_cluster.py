"""The demonstration of a cluster, in real time: processes killed, frozen and drained, on each kind of storage."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis

from chrono_async import IntervalSchedule, JobInfo, JobStatus, Missed, RunRecord, RunStatus
from chrono_async.cli._demo_cluster_figures import count_cluster
from chrono_async.cli._demo_cluster_worker import JOBS
from chrono_async.cli._demo_figures import LoggedRun
from chrono_async.cli._demo_stage import freeze
from chrono_async.storage import SQLiteStorage
from tests import servers

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
PROGRAM = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has those in its background ignore it
from chrono_async.cli import main
main()
"""
KEEPER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
database.execute("ROLLBACK")
print("free", flush=True)
sys.stdin.readline()
"""
COMMAND = [sys.executable, "-c", PROGRAM, "demo"]
PATIENCE = 110
IDS = {job.job_id for job in JOBS}


def play(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False)


def figures_of(answer: subprocess.CompletedProcess[str]) -> Mapping[str, Mapping[str, Any]]:
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return {job["job"]: job for job in json.loads(answer.stdout)["jobs"]}


def check(figures: Mapping[str, Mapping[str, Any]]) -> None:
    """See that each due time ran once, and that what goes wrong on purpose went wrong."""
    assert all(job["due"] == job["ran"] > 0 for job in figures.values())
    assert not any(job["missed"] or job["duplicates"] for job in figures.values())
    assert figures["heartbeat"]["due"] >= 6
    assert sum(job["taken_over"] for job in figures.values()) >= 2
    assert sum(job["refused"] for job in figures.values()) >= 1


@pytest.mark.long
def test_in_a_users_sqlite_file_each_due_time_runs_once_and_its_own_tables_are_left_alone(tmp_path: Path) -> None:
    """Which needs nothing but the extra `cli`. What is on a terminal are short lines and a table."""
    with closing(sqlite3.connect(tmp_path / "own.db")) as database:
        database.execute("CREATE TABLE own (a)")
        told = play("--cluster", "--storage", f"sqlite://{tmp_path}/own.db", "--seconds", "6")
        left = database.execute("SELECT name FROM sqlite_master").fetchall()
    assert told.returncode == 0, told.stdout + told.stderr
    assert left == [("own",)]
    lines = [line.split() for line in told.stdout.splitlines()]
    assert [line[-2:] for line in lines if line and line[0] in IDS] == [["0", "0"]] * len(IDS), told.stdout
    for words in ("killed with -9 in the middle of", "frozen in the middle of", "was refused", "asked to end"):
        assert told.stdout.count(words) == 1, told.stdout
    assert told.stdout.count(" over: its lease of 2 s had ended") == 2
    assert told.stdout.count("ended with exit code 0") == 1
    assert told.stdout.rstrip().endswith("Every due time ran once.")


def test_without_a_storage_it_plays_in_a_folder_of_its_own_which_also_ctrl_c_removes(tmp_path: Path) -> None:
    """The workers are started when the jobs are in the file."""
    command = [*COMMAND, "--cluster"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}
    ) as it:
        assert it.stdout is not None
        assert any("worker-d started" in line for line in it.stdout)
        assert [path.name for path in tmp_path.glob("*/jobs.db")] == ["jobs.db"]
        it.send_signal(signal.SIGINT)
        assert it.wait(timeout=PATIENCE) == 130
    assert [*tmp_path.iterdir()] == []


@pytest.mark.long
def test_in_postgres_each_due_time_runs_once_and_nothing_is_left_behind() -> None:
    """It is a user's own server: the namespace is removed at the end."""

    async def tables() -> set[str]:
        connection = await asyncpg.connect(servers.postgres().dsn)
        rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE tablename LIKE 'chrono\\_demo%'")
        await connection.close()
        return {row[0] for row in rows}

    check(figures_of(play("--cluster", "--storage", servers.postgres().dsn, "--seconds", "6", "--json")))
    assert asyncio.run(tables()) == set()


@pytest.mark.long
def test_in_redis_each_due_time_runs_once_and_nothing_is_left_behind() -> None:
    async def keys() -> list[bytes]:
        async with Redis.from_url(servers.redis().url) as client:
            return await client.keys("*chrono_demo*")

    check(figures_of(play("--cluster", "--storage", servers.redis().url, "--seconds", "6", "--json")))
    assert asyncio.run(keys()) == []


@pytest.mark.long
def test_in_a_new_file_each_due_time_runs_once_and_it_stays(tmp_path: Path) -> None:
    """It has no namespaces, and nothing else in it: what happened can be read there."""
    check(figures_of(play("--cluster", "--storage", f"file://{tmp_path}/jobs.json", "--seconds", "5", "--json")))
    assert '"heartbeat"' in (tmp_path / "jobs.json").read_text()


@contextmanager
def keeper(path: Path) -> Iterator[Popen[str]]:
    """A process that holds the file's lock until it is told to let go."""
    with Popen([sys.executable, "-c", KEEPER, path], stdin=PIPE, stdout=PIPE, text=True) as other:
        try:
            assert line_of(other) == "locked"
            yield other
        finally:
            other.kill()


def line_of(other: Popen[str], told: str = "") -> str:
    assert other.stdin is not None
    assert other.stdout is not None
    other.stdin.write(told)
    other.stdin.flush()
    return other.stdout.readline().strip()


def change_of(other: Popen[str]) -> int:
    """What has last become of it: stopped, going on; 0 for nothing."""
    return os.waitpid(other.pid, os.WUNTRACED | os.WCONTINUED | os.WNOHANG)[1]


async def test_nobody_is_frozen_who_holds_what_the_others_need(tmp_path: Path) -> None:
    """A process that is stopped while it writes a file holds its lock for as long as it stands still."""
    storage = SQLiteStorage(tmp_path / "jobs.db")
    await storage.migrate()
    with keeper(storage.path) as other:
        assert not await freeze(other.pid, storage.release_lock("nobody", "nobody"), patience=0.3)
        assert os.WIFCONTINUED(change_of(other))
        assert line_of(other, "let go\n") == "free"
        assert await freeze(other.pid, storage.release_lock("nobody", "nobody"), patience=PATIENCE)
        assert os.WIFSTOPPED(change_of(other))
    await storage.close()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--storage", "redis://host"], "is for --cluster"),
        (["--cluster", "--storage", "memory:"], "is one process's own"),
        (["--cluster", "--storage", "file:README.md"], "unsupported"),
        (["--cluster", "--storage", "file:new.json", "--seconds", "301"], "at most 300 in a file"),
    ],
)
def test_a_storage_that_it_cannot_play_on_is_refused_at_once(arguments: list[str], complaint: str) -> None:
    answer = play(*arguments)
    assert answer.returncode == 2
    assert complaint in " ".join(answer.stderr.split())


def test_a_file_that_is_there_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    """Its jobs would be run among those of the play."""
    path = tmp_path / "jobs.yaml"
    path.write_text("jobs: {}")
    answer = play("--cluster", "--storage", f"file:{path}")
    assert (answer.returncode, answer.stderr.count("\n")) == (2, 1)
    assert "is there already" in answer.stderr
    assert [*tmp_path.iterdir()] == [path]
    assert path.read_text() == "jobs: {}"


def test_a_server_that_is_not_there_is_one_line() -> None:
    """Without its password."""
    answer = play("--cluster", "--storage", "redis://:secret@127.0.0.1:1/0")
    assert (answer.returncode, answer.stdout, answer.stderr.count("\n")) == (1, "", 1)
    assert "secret" not in answer.stderr


# ── the figures can be bad: they are counted ─────────────────────────────────────────────────────────────────────────


def job(runs: int, next_run: int) -> JobInfo:
    schedule = IntervalSchedule(1, start=NOON)
    return JobInfo("a", "A", JobStatus.COMPLETED, False, schedule, None, NOON + next_run * SECOND, runs, 0, "")


def logged(second: int, *, attempt: int = 1, pid: int = 1, is_lost: bool = False) -> LoggedRun:
    return LoggedRun("a", NOON + second * SECOND, attempt, pid, tries=1, is_going=False, is_lost=is_lost)


def row(
    second: int, status: RunStatus = RunStatus.COMPLETED, missed: Missed | None = None, token: int = 1
) -> RunRecord:
    return RunRecord("a", NOON + second * SECOND, status, token=token, missed=missed)


def count(runs: list[LoggedRun], rows: list[RunRecord], *, counted: int = 2) -> dict[str, Any]:
    told = count_cluster(job(0, 1), job(counted, 3), runs, rows, end=NOON + 2 * SECOND)
    return {name: value for name, value in told.as_dict().items() if value and name not in {"job", "due", "ran"}}


GOOD = {"is_counted_alike": True, "ok": True}


def test_one_run_for_each_due_time_is_good() -> None:
    assert count([logged(1), logged(2)], [row(1), row(2)]) == GOOD


def test_a_due_time_that_was_not_settled_is_missed() -> None:
    """Though somebody began it."""
    assert count([logged(1), logged(2)], [row(1)], counted=1) == {"missed": 1, "is_counted_alike": True}


def test_a_due_time_that_was_settled_twice_is_a_duplicate() -> None:
    assert count([logged(1), logged(2)], [row(1), row(2), row(2)], counted=3)["duplicates"] == 1


def test_a_run_that_began_twice_without_a_cause_is_a_duplicate() -> None:
    """Though only one of them was settled."""
    assert count([logged(1), logged(2), logged(2, pid=2)], [row(1), row(2)])["duplicates"] == 1


def test_a_run_for_no_due_time_is_a_duplicate() -> None:
    stray = NOON + 1.5 * SECOND
    runs = [logged(1), logged(2), LoggedRun("a", stray, 1, 1, is_going=False)]
    assert count(runs, [row(1), row(2), row(2)._replace(fire_time=stray)], counted=3)["duplicates"] == 1


def test_a_run_that_began_again_after_a_lease_ran_out_was_taken_over() -> None:
    """The storage has to say so; the result of the one that lost it was refused."""
    runs = [logged(1), logged(2, is_lost=True), logged(2, attempt=2, pid=2)]
    rows = [row(1), row(2, RunStatus.ABANDONED, token=2), row(2, token=3)]
    assert count(runs, rows) == GOOD | {"taken_over": 1, "refused": 1}


def test_a_result_that_counted_though_its_lease_had_passed_to_another_is_a_duplicate() -> None:
    """The fire time was settled once, but by the wrong one."""
    runs = [logged(1), logged(2), logged(2, attempt=2, pid=2)]
    rows = [row(1), row(2, RunStatus.ABANDONED, token=2), row(2, token=2)]
    assert count(runs, rows)["duplicates"] == 1


def test_what_the_overlap_policy_skips_is_not_missed() -> None:
    skipped = Missed(1, NOON + 2 * SECOND, NOON + 2 * SECOND)
    assert count([logged(1)], [row(1), row(2, RunStatus.SKIPPED, skipped)], counted=1) == GOOD | {"skipped": 1}


def test_a_counter_that_disagrees_is_seen() -> None:
    assert not count([logged(1), logged(2)], [row(1), row(2)], counted=5).get("ok")


def test_a_run_that_nobody_has_logged_is_seen() -> None:
    assert not count([logged(1)], [row(1), row(2)]).get("ok")
