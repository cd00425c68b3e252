"""
Job queues on Redis.
"""

import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

from redis.asyncio import Redis

from tests import servers

from ._measure import Sample
from ._peers import Work


async def saq(size: int) -> Sample:
    """Fifty jobs at once; each is fetched by itself, and kept for its ten minutes."""
    from saq import Queue, Worker

    logging.getLogger("saq").setLevel(logging.ERROR)
    work = Work(size)
    queue = Queue.from_url(servers.redis().url)
    await queue.connect()
    await work.put_in(lambda: queue.enqueue("no-op"))
    worker = Worker(queue, [("no-op", work.no_op)], concurrency=50)

    async def count_done() -> int:
        return size - await queue.count("incomplete")

    sample = await work.measure(worker.start(), count_done)
    await queue.disconnect()
    return sample


async def streaq(size: int) -> Sample:
    """Sixteen jobs at once, its default, and as many fetched ahead; each result is kept."""
    from streaq import Worker

    logging.getLogger("streaq").setLevel(logging.ERROR)
    work, url = Work(size), servers.redis().url
    worker = Worker(redis_url=url, handle_signals=False)
    task = worker.task(name="no-op")(work.no_op)
    async with worker:
        await worker.enqueue_many([task.enqueue() for _ in range(size)])
    return await work.measure(worker.run_async(), _counts(url, "streaq:*:results:*"))


async def taskiq(size: int) -> Sample:
    """A stream, which is what it has for work that must not get lost; thirty jobs at once, each result is kept."""
    from taskiq.api import run_receiver_task
    from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

    logging.getLogger("taskiq").setLevel(logging.ERROR)
    work, url = Work(size), servers.redis().url
    results = RedisAsyncResultBackend(url, prefix_str="result")
    broker = RedisStreamBroker(url, consumer_id="0").with_result_backend(results)
    task = broker.register_task(_function(work), task_name="no-op")
    await broker.startup()
    await work.put_in(task.kiq)
    sample = await work.measure(
        run_receiver_task(broker, max_async_tasks=30, max_prefetch=30), _counts(url, "result:*")
    )
    await broker.shutdown()
    return sample


async def docket(size: int) -> Sample:
    """Seventy-five jobs at once, and a look every 10 ms in place of every 250; what became of each is kept."""
    from docket import Docket, Worker

    logging.getLogger("docket").setLevel(logging.ERROR)
    work = Work(size)
    no_op = _function(work)
    async with Docket(url=servers.redis().url) as queue:
        queue.register(no_op)
        await work.put_in(lambda: queue.add(no_op)())  # noqa: PLW0108 - for each has a key of its own

        async def count_done() -> int:
            return size - (await queue.snapshot()).total_tasks

        async with Worker(queue, concurrency=75, minimum_check_interval=timedelta(milliseconds=10)) as worker:
            return await work.measure(worker.run_forever(), count_done)


def _function(work: Work) -> Callable[[], Awaitable[None]]:
    """Return the no-op as a function, for those that know no methods."""

    async def no_op() -> None:
        await work.no_op()

    return no_op


def _counts(url: str, pattern: str) -> Callable[[], Awaitable[int]]:
    """Return what counts the keys of this pattern."""
    client = Redis.from_url(url)

    async def count() -> int:
        return len(await client.keys(pattern))

    return count
