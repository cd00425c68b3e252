"""The bounds of the history."""

from datetime import UTC, datetime, timedelta

import pytest

from chrono_async.models import RunRecord, RunStatus
from chrono_async.storage._table.history import History

START = datetime(2030, 1, 1, tzinfo=UTC)


def row(job_id: str, n: int = 0, *, manual: bool = False) -> RunRecord:
    return RunRecord(job_id, START + timedelta(seconds=n), RunStatus.COMPLETED, manual=manual)


def test_each_job_keeps_its_latest() -> None:
    """The newest first."""
    history = History(per_job=3)
    for n in range(10):
        history.add(row("a", n))
        history.add(row("b", n))
    assert history.latest("a", 100) == [row("a", 9), row("a", 8), row("a", 7)]
    assert history.latest("b", 1) == [row("b", 9)]
    assert history.latest(None, 3) == [row("b", 9), row("a", 9), row("b", 8)]


@pytest.mark.parametrize(("per_job", "total", "kept"), [(20, 50, 50), (0, 50, 0), (20, 0, 0), (1, 1000, 100)])
def test_all_together_have_a_bound_too(per_job: int, total: int, kept: int) -> None:
    """The oldest makes room, whoever's it is; nothing is left of jobs without rows."""
    history = History(per_job, total)
    for n in range(300):
        history.add(row(str(n % 100), n))
    assert len(list(history)) == kept
    assert len(history._of_job) <= kept
    assert [run.fire_time for run in history] == sorted(run.fire_time for run in history)


def test_some_at_a_time_go_when_they_are_too_old() -> None:
    """So that a heartbeat takes no longer for many; of the oldest, whatever the clock was when they were written."""
    history = History(per_job=10_000, age=timedelta(seconds=60))
    moments = [START + timedelta(days=1), *(START + timedelta(seconds=n) for n in range(2000))]
    for n, written in enumerate(moments):
        history.add(row("ab"[n % 2], n), written)
    history.sweep(START + timedelta(seconds=2059))
    assert len(list(history)) == 1002
    history.sweep(START + timedelta(seconds=2059))
    assert list(history) == [row("a", 0), row("b", 1999), row("a", 2000)]
    assert history.latest("a", 9) == [row("a", 2000), row("a", 0)]
    history.sweep(START + timedelta(days=2))
    assert not history._of_job


def test_a_row_is_known_again() -> None:
    """By all that it says."""
    history = History()
    history.add(row("a", 1))
    assert history.holds(row("a", 1))
    assert not history.holds(row("a", 2))
    assert not history.holds(row("b", 1))


def test_the_latest_manual_run_is_remembered() -> None:
    """Not the latest of any kind."""
    history = History()
    history.add(row("a", 1, manual=True))
    history.add(row("a", 5))
    assert history.latest_manual("a") == START + timedelta(seconds=1)
    assert history.latest_manual("b") is None


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_of_nothing_is_nothing(limit: int) -> None:
    """Not all."""
    history = History()
    history.add(row("a"))
    assert history.latest("a", limit) == history.latest(None, limit) == []
