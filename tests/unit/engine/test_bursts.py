"""Where an instance begins within what is due."""

from datetime import UTC, datetime, timedelta

import pytest

from chrono_async.engine import loop
from chrono_async.models import Due

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def dues(count: int, *, apart: timedelta = timedelta(0)) -> list[Due]:
    return [Due(f"job {n}", NOON + n * apart, NOON + n * apart, 1) for n in range(count)]


def test_instances_begin_at_different_places_of_a_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else all would ask for the same helping; each job is asked for all the same, and once."""
    burst = dues(1000)
    monkeypatch.setattr(loop.random, "randrange", lambda count: count // 4)
    begun = loop._from_anywhere(burst)
    assert (begun[0], begun[-1]) == (burst[250], burst[249])
    assert sorted(begun) == sorted(burst)


@pytest.mark.parametrize("some", [dues(200), dues(1000, apart=timedelta(microseconds=1)), []])
def test_what_came_due_first_goes_first(some: list[Due]) -> None:
    """So does what fits into one helping, whoever asks."""
    assert loop._from_anywhere(some) == some
