"""How long memory and file keep a row of the history; of a database's, its own tests tell."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from chrono_async.models import InstanceInfo, JobRecord, RunRecord, RunStatus
from chrono_async.storage import FileStorage, InMemoryStorage
from chrono_async.testing.contract import SteppedClock

SECOND, MINUTE, MONTH = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=30)
BASE = SteppedClock().now()
BOTH = pytest.mark.parametrize("kind", ["memory", ".json", ".yaml", ".xml"])
Makes = Callable[..., InMemoryStorage | FileStorage]


def maker(kind: str, folder: Path) -> Makes:
    return InMemoryStorage if kind == "memory" else partial(FileStorage, folder / f"jobs{kind}")


async def pass_over(storage: InMemoryStorage | FileStorage, n: int) -> None:
    """Write the n-th row of a job's history."""
    at = BASE + n * SECOND
    if n == 0:
        await storage.save_job(JobRecord("a", next_run=at))
    row = RunRecord("a", at, RunStatus.MISSED)
    due = await storage.advance("a", row, revision=0, next_run=at + SECOND)
    assert due is not None
    assert due.next_run == at + SECOND


async def rows(storage: InMemoryStorage | FileStorage) -> list[int]:
    return [(row.fire_time - BASE) // SECOND for row in await storage.list_runs("a")]


@BOTH
async def test_no_row_is_kept_for_longer_than_that(kind: str, tmp_path: Path) -> None:
    """Since it was written, whatever it tells of; it is seen to when somebody says that he is alive."""
    clock = SteppedClock()
    storage = maker(kind, tmp_path)(clock=clock, history_age=MINUTE)
    clock.advance(10 * SECOND)
    await pass_over(storage, 0)
    clock.advance(MINUTE / 2)
    await pass_over(storage, 1)
    for seconds, kept in [(30, [1, 0]), (1, [1]), (29, [1]), (1, [])]:
        clock.advance(seconds * SECOND)
        await storage.heartbeat(InstanceInfo("me", clock.now(), clock.now()))
        assert await rows(storage) == kept
    await pass_over(storage, 2)
    assert await rows(storage) == [2]
    await storage.close()


@BOTH
async def test_unless_told_otherwise_that_is_a_month(kind: str, tmp_path: Path) -> None:
    """As with all storages; and None is for ever, like an age that is longer than the calendar."""
    for options, kept in ({}, []), ({"history_age": None}, [0]), ({"history_age": timedelta.max}, [0]):
        clock = SteppedClock()
        folder = tmp_path / str(options)
        storage = maker(kind, folder)(clock=clock, **options)
        clock.advance(SECOND)
        await pass_over(storage, 0)
        clock.advance(MONTH + SECOND)
        await storage.heartbeat(InstanceInfo("me", clock.now(), clock.now()))
        assert await rows(storage) == kept
        await storage.close()


async def test_a_process_knows_the_age_of_what_another_finds_written(tmp_path: Path) -> None:
    """It stands in the file; and what is too old stands there no more."""
    path, clock = tmp_path / "jobs.json", SteppedClock()
    writer, other = (FileStorage(path, clock=clock, history_age=MINUTE) for _ in range(2))
    clock.advance(SECOND)
    await pass_over(writer, 0)
    clock.advance(MINUTE + SECOND)
    assert b'"missed"' in path.read_bytes()
    await other.heartbeat(InstanceInfo("me", clock.now(), clock.now()))
    assert b'"missed"' not in path.read_bytes()
    assert await rows(writer) == []
    await writer.close()
    await other.close()
