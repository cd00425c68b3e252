"""Where an instance begins within what is due."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from chrono_async import AsyncScheduler, Clock
from chrono_async.claims import ClaimAnswer, ClaimRequest
from chrono_async.engine import bursts
from chrono_async.engine.bursts import HELPING, in_turn
from chrono_async.errors import InvalidOptionError
from chrono_async.models import Due
from chrono_async.storage import FileStorage, InMemoryStorage, SQLiteStorage
from chrono_async.testing import Simulation

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def dues(count: int, *, apart: timedelta = timedelta(0)) -> list[Due]:
    return [Due(f"job {n}", NOON + n * apart, NOON + n * apart, 1) for n in range(count)]


@pytest.mark.parametrize("instances", [["a", "b"], ["b", "d", "a", "c"], ["a"]])
def test_instances_that_know_of_each_other_get_through_a_burst_without_meeting(instances: list[str]) -> None:
    """Each begins with a share of its own, about as large as any; and all will be asked for, whoever else may die."""
    burst = dues(2000)
    turns = {me: in_turn(burst, instances, me) for me in instances}
    equal = len(burst) // len(instances)
    most = equal * 9 // 10
    assert len({due for turn in turns.values() for due in turn[:most]}) == most * len(instances)
    assert all(sorted(turn) == sorted(burst) for turn in turns.values())


def test_who_is_done_helps_another_from_the_far_end_of_its_share() -> None:
    """So they meet once, when all is done; and whoever else is done helps somebody else."""
    burst = dues(3000)
    shares = {me: [due for due in burst if bursts.crc32(due.job_id.encode()) % 3 == at] for at, me in enumerate("abc")}
    for me, next_one in zip("abc", "bca", strict=True):
        own, theirs = shares[me], shares[next_one]
        assert in_turn(burst, ["a", "b", "c"], me)[: len(own + theirs)] == own + theirs[::-1]


def test_an_instance_that_knows_of_no_other_begins_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else all would ask for the same helping; each job is asked for all the same, and once."""
    burst = dues(1000)
    monkeypatch.setattr(bursts.random, "randrange", lambda count: count // 4)
    begun = in_turn(burst, ["other"], "me")
    assert (begun[0], begun[-1]) == (burst[250], burst[249])
    assert sorted(begun) == sorted(burst)


@pytest.mark.parametrize("some", [dues(HELPING), dues(1000, apart=timedelta(microseconds=1)), []])
def test_what_came_due_first_goes_first(some: list[Due]) -> None:
    """So does what fits into one helping, whoever asks."""
    assert in_turn(some, ["me", "other"], "me") == some


class Noted:
    """Notes how many jobs are asked for at once."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.asked: list[int] = []

    async def claim(self, requests: Sequence[ClaimRequest], owner_id: str, ttl: timedelta) -> ClaimAnswer:
        self.asked.append(len(requests))
        return await super().claim(requests, owner_id, ttl)


class Batches(Noted, InMemoryStorage):
    """Wants what it is told."""

    def __init__(self, claim_batch: object, clock: Clock | None = None) -> None:
        super().__init__(clock=clock)
        self.claim_batch = claim_batch


class NotedSQLite(Noted, SQLiteStorage):
    """One commit a batch."""


class NotedFile(Noted, FileStorage):
    """One file written a batch."""


async def test_a_storage_says_how_many_jobs_it_is_best_asked_for_at_once(sim: Simulation) -> None:
    """Where each batch has a file written whole, few and large ones are best."""
    storage, ran = Batches(70, sim.clock), list[str]()
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        for n in range(200):
            await s.add_one_shot_job(str(n), "", note, 60, args=[ran, str(n)])
        await sim.advance(timedelta(minutes=2))
    assert storage.asked == [70, 70, 60]
    assert len(set(ran)) == len(ran) == 200


@pytest.mark.parametrize(("kind", "name", "most"), [(NotedSQLite, "jobs.db", 500), (NotedFile, "jobs.json", 1000)])
async def test_of_a_file_many_jobs_are_claimed_at_once(
    sim: Simulation, tmp_path: Path, kind: Any, name: str, most: int
) -> None:
    """As many as its changelog says, and one more in a batch of its own."""
    storage, ran = kind(tmp_path / name, clock=sim.clock), list[str]()
    async with AsyncScheduler(storage=storage, clock=sim.clock) as s:
        at = sim.now + timedelta(minutes=1)
        await asyncio.gather(
            *(s.add_one_shot_job(str(n), "", note, at=at, args=[ran, str(n)]) for n in range(most + 1))
        )
        await sim.advance(timedelta(minutes=2))
    await storage.close()
    assert storage.asked == [most, 1]
    assert len(set(ran)) == len(ran) == most + 1


async def note(ran: list[str], job_id: str) -> None:
    ran.append(job_id)


@pytest.mark.parametrize("batch", [0, -1, 1.5, "200", None])
def test_a_batch_that_is_none_is_refused_by_name(batch: object) -> None:
    """At the start, and not when the first jobs come due."""
    with pytest.raises(InvalidOptionError, match="claim_batch"):
        AsyncScheduler(storage=Batches(batch))
