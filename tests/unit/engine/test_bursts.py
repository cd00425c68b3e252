"""Where an instance begins within what is due."""

from datetime import UTC, datetime, timedelta

import pytest

from chrono_async.engine import bursts
from chrono_async.engine.bursts import HELPING, in_turn
from chrono_async.models import Due

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
