"""How the hosts that share a Redis hear of each other."""

import asyncio
import contextlib
from typing import Any

from chrono_async import AsyncScheduler
from chrono_async.models import (
    RunStatus,
)
from chrono_async.storage import RedisStorage

from .redis_steps import Open, jobs, put, run


class Ear:
    """Counts the hints that a storage gives."""

    def __init__(self, storage: RedisStorage) -> None:
        self.storage, self.heard = storage, asyncio.Semaphore(0)
        self._task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        async for _ in self.storage.changes():
            self.heard.release()

    async def hear(self) -> None:
        async with asyncio.timeout(10):
            await self.heard.acquire()

    @property
    def is_quiet(self) -> bool:
        return self.heard.locked()

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


async def listening(storage: RedisStorage) -> Ear:
    """Return when the server knows of the listener: its first hint says so."""
    ear = Ear(storage)
    await ear.hear()
    return ear


async def test_a_change_wakes_the_others_and_not_oneself(open_: Open) -> None:
    """Each verb by which users change something is heard at once; an instance knows of its own."""
    one, two = open_(), open_()
    ears = [await listening(one), await listening(two)]
    await one.register(jobs(1)[0])
    await ears[1].hear()
    await one.set_paused("job 00000")
    await ears[1].hear()
    await two.delete_job("job 00000")
    await ears[0].hear()
    assert ears[0].is_quiet
    assert ears[1].is_quiet
    for ear in ears:
        await ear.stop()


async def test_runs_are_no_news(open_: Open) -> None:
    """Claims and outcomes would wake every instance all the time, for nothing."""
    one, two = open_(), open_()
    await put(one, jobs(1))
    ear = await listening(two)
    await run(one, "job 00000")
    await one.set_paused("job 00000")
    await ear.hear()
    assert ear.is_quiet
    await ear.stop()


async def test_a_listener_that_lost_its_connection_listens_again(open_: Open, admin: Any) -> None:
    """And gives a hint then, since it may have missed one."""
    one, two = open_(), open_()
    ear = await listening(two)
    await admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    await ear.hear()
    await one.register(jobs(1)[0])
    await ear.hear()
    await ear.stop()


async def test_who_stops_listening_leaves_nothing_running(open_: Open) -> None:
    """The last listener takes the connection along."""
    tasks = asyncio.all_tasks()
    storage = open_()
    ears = [await listening(storage), Ear(storage)]
    for ear in ears:
        await ear.stop()
    await asyncio.wait(asyncio.all_tasks() - tasks or [asyncio.create_task(asyncio.sleep(0))])
    assert asyncio.all_tasks() == tasks


async def test_a_listener_can_be_cancelled_at_any_step(open_: Open) -> None:
    """Before Python 3.12 the driver may swallow a cancellation as it sends; then `close` would wait for ever."""
    storage = open_()
    await storage.list_jobs()
    for steps in range(60):
        listener = asyncio.create_task(hear_for_ever(storage))
        for _ in range(steps):
            await asyncio.sleep(0)
        listener.cancel()
        done, _ = await asyncio.wait([listener], timeout=10)
        assert done, steps


async def hear_for_ever(storage: RedisStorage) -> None:
    async with contextlib.aclosing(storage._link.hear()) as words:
        async for _ in words:
            pass


async def test_listening_again_and_again_uses_up_no_connections(open_: Open) -> None:
    """Each listener gives back what it listened on."""
    storage = open_(max_connections=1, timeout=2)
    for _ in range(10):
        await (await listening(storage)).stop()
        assert await storage.list_jobs() == []


async def test_hints_can_be_done_without(open_: Open) -> None:
    """Then there are none, and nobody waits for them."""
    storage = open_(notify=False)
    assert [hint async for hint in storage.changes()] == []
    await storage.register(jobs(1)[0])


async def test_two_schedulers_share_a_redis(open_: Open) -> None:
    """A job that one adds is known to the other at once; each occurrence runs on one of them."""
    ran: list[str] = []

    async def work() -> None:
        ran.append("once")

    options = {"storage_poll_interval": 0.3}
    async with AsyncScheduler(storage=open_(), **options) as one, AsyncScheduler(storage=open_(), **options) as two:
        await asyncio.gather(*(one_.add_one_shot_job("job", "", work, 0.2) for one_ in (one, two)))
        await asyncio.gather(one.wait_for_job("job"), two.wait_for_job("job"))
        assert [row.status for row in await two.list_runs("job")] == [RunStatus.COMPLETED]
    assert ran == ["once"]
