"""The two clocks, which cannot be read at the same time."""

import random
from datetime import UTC, datetime, timedelta

from chrono_async.models import JobRecord
from chrono_async.storage import InMemoryStorage
from chrono_async.storage._table.shelf import Alignment, Moment

NOW = datetime(2030, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class RestlessClock:
    """Gets on by some microseconds with each look."""

    def __init__(self) -> None:
        self.passed, self.dice = 0, random.Random(1)

    def now(self) -> datetime:
        self.passed += self.dice.randint(1, 5)
        return NOW + timedelta(microseconds=self.passed)

    def boot(self) -> float:
        self.passed += self.dice.randint(1, 5)
        return 1000 + self.passed / 1_000_000


async def test_a_held_job_keeps_its_place_between_two_pages() -> None:
    """What is read of the clocks differs by microseconds; a job must not be on two pages for that, or on none."""
    storage = InMemoryStorage(clock=RestlessClock())
    for name in "abcdef":
        assert await storage.acquire_lock(name, "me", 10 * SECOND)
    for name in "abcdef":
        await storage.save_job(JobRecord(id=name, next_run=NOW))
    pages = [(await storage.due(NOW, NOW + 20 * SECOND)).due for _ in range(20)]
    assert len({page[0].when for page in pages}) == 1


def test_a_clock_that_was_set_is_followed() -> None:
    """A step is no jitter: where a job stands is told by the wall clock as it is now."""
    alignment = Alignment()
    assert alignment.aligned(Moment(NOW, 1000.0)).boot == 1000.0
    assert alignment.aligned(Moment(NOW + SECOND, 1001.0004)).boot == 1001.0
    assert alignment.aligned(Moment(NOW + 3600 * SECOND, 1002.0)).boot == 1002.0
    assert alignment.aligned(Moment(NOW + 3601 * SECOND, 1003.0)).boot == 1003.0
