"""The demonstration, in real time: two processes, one of them killed."""

import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chrono_async import IntervalSchedule, JobInfo, JobStatus, RunRecord, RunStatus
from chrono_async.cli._demo_figures import LoggedRun, Pause, count

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module")
def figures() -> Mapping[str, Mapping[str, Any]]:
    command = [sys.executable, "-c", "from chrono_async.cli import main; main()", "demo", "--json"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    told = json.loads(answer.stdout)
    assert told["ok"]
    return {job["job"]: job for job in told["jobs"]}


def test_each_due_time_runs_once(figures: Mapping[str, Mapping[str, Any]]) -> None:
    """Whatever is killed, paused or timed out meanwhile."""
    assert all(job["due"] == job["ran"] > 0 for job in figures.values())
    assert not any(job["missed"] or job["duplicates"] for job in figures.values())
    assert figures["heartbeat"]["due"] >= 7


def test_what_goes_wrong_on_purpose_is_seen_in_the_figures(figures: Mapping[str, Mapping[str, Any]]) -> None:
    """Else it would not have been a demonstration of it."""
    assert figures["flaky"]["retried"] == figures["flaky"]["ran"]
    assert figures["flaky"]["failed"] == 0
    assert figures["stuck"]["timed_out"] == figures["stuck"]["failed"] == figures["stuck"]["ran"]
    assert figures["digest"]["due"] < figures["heartbeat"]["due"]
    assert figures["report"]["taken_over"] == 1


def job(runs: int, next_run: int) -> JobInfo:
    schedule = IntervalSchedule(1, start=NOON)
    moment = NOON + next_run * SECOND
    return JobInfo("a", "A", JobStatus.COMPLETED, False, schedule, None, moment, runs, 0, "")


def logged(second: int, *, attempt: int = 1, pid: int = 1, is_going: bool = False) -> LoggedRun:
    return LoggedRun("a", NOON + second * SECOND, attempt, pid, tries=1, is_going=is_going)


def test_a_missed_a_repeated_and_a_stray_run_are_counted() -> None:
    """The figures can be bad: they are counted."""
    runs = [logged(1), logged(3), logged(3, pid=2), logged(4)]
    pauses = [Pause("a", NOON + 4 * SECOND, NOON + 5 * SECOND)]
    told = count(job(0, 1), job(3, 5), runs, [], pauses=pauses, end=NOON + 4 * SECOND)
    assert (told.due, told.ran, told.missed, told.duplicates, told.ok) == (3, 3, 1, 2, False)


def test_a_take_over_is_no_repetition_if_the_storage_says_so() -> None:
    """It has to have seen the first attempt's lease run out."""
    runs = [logged(1, is_going=True), logged(1, attempt=2, pid=2)]
    row = RunRecord("a", NOON + SECOND, RunStatus.ABANDONED, attempt=1)
    told = count(job(0, 1), job(1, 2), runs, [row], pauses=[], end=NOON + SECOND)
    assert (told.ran, told.duplicates, told.taken_over, told.ok) == (1, 0, 1, True)
    assert count(job(0, 1), job(1, 2), runs, [], pauses=[], end=NOON + SECOND).duplicates == 1
