"""
A scheduler goes on while somebody sets its server's clock about.

A real PostgreSQL and a real Valkey, whose wall clock a preloaded library moves. What the storages do then is a part of
their contract: `tests/storage/test_contract.py` has it on such servers, too.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest

from chrono_async import AsyncScheduler, IntervalSchedule, current_run
from chrono_async.storage import LeasingStorage, PostgresStorage, RedisStorage
from tests.servers import PostgresServer, RedisServer

from .clock import SetClock, need_compiler

pytestmark = pytest.mark.long

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


class Place(NamedTuple):
    """A storage on a server of its own, and the server's clock."""

    storage: LeasingStorage
    clock: SetClock


@pytest.fixture(params=["postgres", "redis"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    need_compiler()
    server = PostgresServer() if request.param == "postgres" else RedisServer()
    clock = SetClock(server)
    server.start()
    storage: LeasingStorage
    storage = PostgresStorage(server.dsn) if isinstance(server, PostgresServer) else RedisStorage(server.url)
    yield Place(storage, clock)
    await storage.close()
    server.remove()


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    """Ask until it holds."""
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110 - it is a question to the server
            await asyncio.sleep(0.02)


async def test_a_scheduler_runs_each_occurrence_once_while_the_clock_is_set_about(place: Place) -> None:
    """Fire times that come again have run, those that are jumped over are folded into one: none is counted twice."""
    ran: list[datetime] = []

    async def work() -> None:
        ran.append(current_run().fire_time)

    def has_run(times: int) -> Callable[[], Awaitable[object]]:
        return lambda: asyncio.sleep(0, len(ran) >= times)

    async with AsyncScheduler(storage=place.storage, storage_poll_interval=0.3) as scheduler:
        await scheduler.add_job("a", "", work, IntervalSchedule(0.2))
        for by in (timedelta(0), HOUR, HOUR):
            place.clock.step(by)
            await until(has_run(len(ran) + 3))
        place.clock.step(-HOUR)
        await until(lambda: is_waiting(scheduler))
    record = await place.storage.get_job("a")
    assert len(ran) == len(set(ran)) == record.run_count
    assert record.next_run is not None
    assert record.next_run > max(ran)


async def is_waiting(scheduler: AsyncScheduler) -> bool:
    """Whether the time of the storage is known to have gone back: its next run is far ahead."""
    deadline = scheduler.health().next_deadline
    return deadline is None or deadline > datetime.now(UTC) + MINUTE
