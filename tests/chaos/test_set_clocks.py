"""
Somebody sets a server's clock: what becomes early, what late, what is shortened, and whose word counts all the same.

A real PostgreSQL and a real Valkey, whose wall clock a preloaded library moves. The clock is set by an hour, so that
nothing here depends on how fast the machine is. It takes a C compiler: where there is none the tests say so, but on CI,
which must have one, they fail.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest

from chrono_async import AsyncScheduler, IntervalSchedule, current_run
from chrono_async.claims import (
    ClaimRequest,
    ClaimVerdict,
    Early,
    Granted,
    Held,
    Outcome,
    PointerMove,
    SettleVerdict,
)
from chrono_async.models import InstanceInfo, RunRecord, RunStatus
from chrono_async.storage import LeasingStorage, PostgresStorage, RedisStorage
from chrono_async.testing._contract_steps import job
from tests.servers import PostgresServer, RedisServer

from .clock import ServerClock, compiler

pytestmark = pytest.mark.long

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
EVER = datetime(2001, 9, 9, tzinfo=UTC)


class Place(NamedTuple):
    """A storage on a server of its own, and the server's clock."""

    storage: LeasingStorage
    clock: ServerClock

    async def set(self, by: timedelta) -> None:
        """Set the clock, and see the server go by it: Valkey reads it some ten times a second, and counts on itself."""
        self.clock.set(by.total_seconds())
        async with asyncio.timeout(60):
            while abs((await self.storage.due(EVER, EVER)).now - datetime.now(UTC) - by) > MINUTE:
                pass

    async def claim(self, owner: str, fire_time: datetime) -> ClaimVerdict:
        record = await self.storage.get_job("a")
        request = ClaimRequest("a", fire_time, fire_time, record.revision)
        return (await self.storage.claim([request], owner, MINUTE)).verdicts[0]

    async def claimed(self, owner: str, fire_time: datetime) -> Granted:
        verdict = await self.claim(owner, fire_time)
        assert isinstance(verdict, Granted), verdict
        return verdict

    async def settle(self, granted: Granted, fire_time: datetime) -> SettleVerdict:
        row = RunRecord("a", fire_time, RunStatus.COMPLETED, token=granted.lease.token)
        move = PointerMove(granted.next_run, (await self.storage.get_job("a")).revision, fire_time + MINUTE)
        return (await self.storage.settle([Outcome(granted.lease, row, move)])).settled[0].verdict

    async def due(self, ahead: timedelta) -> list[str]:
        now = datetime.now(UTC)
        return [due.job_id for due in (await self.storage.due(now, now + ahead)).due]


@pytest.fixture(params=["postgres", "redis"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    if compiler() is None and not os.environ.get("CI"):
        pytest.skip("there is no C compiler on this machine: apt-get install gcc libc6-dev")
    server = PostgresServer() if request.param == "postgres" else RedisServer()
    clock = ServerClock(server.folder)
    server.environment |= clock.environment
    server.start()
    storage: LeasingStorage
    storage = PostgresStorage(server.dsn) if isinstance(server, PostgresServer) else RedisStorage(server.url)
    yield Place(storage, clock)
    await storage.close()
    server.remove()


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


async def test_jobs_are_due_by_the_servers_clock(place: Place, now: datetime) -> None:
    """Early by as much as that is set forward, late by as much as it is set back; nobody's own clock matters."""
    await place.storage.register(job("a", now + HOUR / 2))
    early = await place.claim("me/1", now + HOUR / 2)
    assert isinstance(early, Early)
    assert MINUTE < early.by <= HOUR / 2
    await place.set(-HOUR)
    assert await place.due(HOUR) == []
    early = await place.claim("me/1", now + HOUR / 2)
    assert isinstance(early, Early)
    assert early.by > HOUR
    await place.set(HOUR)
    assert await place.due(MINUTE) == ["a"]
    await place.claimed("me/1", now + HOUR / 2)


async def test_when_it_is_set_forward_leases_end_early_and_only_the_later_claim_settles(
    place: Place, now: datetime
) -> None:
    """The first run may be going still; its token is the smaller one."""
    await place.storage.register(job("a", now))
    first = await place.claimed("me/1", now)
    assert isinstance(await place.claim("other/1", now), Held)
    await place.set(HOUR)
    second = await place.claimed("other/1", now)
    assert (second.attempt, second.lease.token > first.lease.token) == (2, True)
    assert await place.settle(first, now) is SettleVerdict.STALE
    assert await place.settle(second, now) is SettleVerdict.DONE
    assert (await place.storage.get_job("a")).run_count == 1


async def test_when_it_is_set_back_leases_last_longer_until_an_instance_gives_a_sign_of_life(
    place: Place, now: datetime
) -> None:
    """Then they end within their length from that on; else a dead one's would hold its job for an hour more."""
    long_ago = now - 2 * HOUR
    await place.storage.register(job("a", long_ago))
    await place.storage.heartbeat(InstanceInfo("me", now, now))
    await place.claimed("dead/1", long_ago)
    await place.set(-HOUR)
    assert await place.due(HOUR) == []
    assert await place.due(HOUR + 2 * MINUTE) == ["a"]
    await place.storage.heartbeat(InstanceInfo("me", now, now))
    assert await place.due(2 * MINUTE) == ["a"]


async def test_tokens_grow_whatever_the_clock_does(place: Place, now: datetime) -> None:
    """They are at least the server's time in microseconds, and at least one more than the last."""
    await place.storage.register(job("a", now - 9 * HOUR))
    tokens, fire_time = [], now - 9 * HOUR
    for by in (timedelta(0), HOUR, -HOUR, timedelta(0), HOUR):
        await place.set(by)
        granted = await place.claimed(f"me/{by}", fire_time)
        assert granted.lease.token >= int((now + by).timestamp() * 1e6)
        assert await place.settle(granted, fire_time) is SettleVerdict.DONE
        tokens.append(granted.lease.token)
        fire_time += MINUTE
    assert tokens == sorted(set(tokens))
    assert (await place.storage.get_job("a")).run_count == 5


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
        for by in (timedelta(0), HOUR, 2 * HOUR):
            await place.set(by)
            await until(has_run(len(ran) + 3))
        await place.set(HOUR)
        await until(lambda: is_waiting(scheduler))
    record = await place.storage.get_job("a")
    assert len(ran) == len(set(ran)) == record.run_count
    assert record.next_run is not None
    assert record.next_run > max(ran)


async def is_waiting(scheduler: AsyncScheduler) -> bool:
    """Whether the time of the storage is known to have gone back: its next run is far ahead."""
    deadline = scheduler.health().next_deadline
    return deadline is None or deadline > datetime.now(UTC) + MINUTE
