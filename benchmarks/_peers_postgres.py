"""
Job queues on PostgreSQL.
"""

import logging

import asyncpg

from tests import servers

from ._measure import Sample
from ._peers import Work


async def pgqueuer(size: int, batch_size: int = 10) -> Sample:
    """By tens, its default, it claims and marks as done; it deletes the job, and keeps a row of its log."""
    from pgqueuer import PgQueuer

    work, server = Work(size), servers.postgres()
    connection, other = await asyncpg.connect(server.dsn), await asyncpg.connect(server.dsn)
    queue = PgQueuer.from_asyncpg_connection(connection)
    await queue.queries.install()
    queue.entrypoint("no-op")(work.no_op)
    await queue.queries.enqueue(["no-op"] * size, [None] * size, [0] * size)
    done = "SELECT count(*) FROM pgqueuer_log WHERE status = 'successful'"
    return await work.measure(queue.run(batch_size=batch_size), lambda: other.fetchval(done))


async def procrastinate(size: int) -> Sample:
    """Ten jobs at once, on as many connections; each is fetched by itself, and kept."""
    from procrastinate import App, PsycopgConnector

    logging.getLogger("procrastinate").setLevel(logging.ERROR)
    work, server = Work(size), servers.postgres()
    other = await asyncpg.connect(server.dsn)
    app = App(connector=PsycopgConnector(conninfo=server.dsn, min_size=10, max_size=10))
    task = app.task(work.no_op, name="no-op")
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        await task.batch_defer_async(*({} for _ in range(size)))
        worker = app.run_worker_async(concurrency=10, install_signal_handlers=False)
        done = "SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'"
        return await work.measure(worker, lambda: other.fetchval(done))


async def saq(size: int) -> Sample:
    """Ten jobs at once on up to twenty connections, its defaults; each is fetched by itself, and kept."""
    from saq import Queue, Worker

    logging.getLogger("saq").setLevel(logging.ERROR)
    work, server = Work(size), servers.postgres()
    other = await asyncpg.connect(server.dsn)
    queue = Queue.from_url(server.dsn)
    await queue.connect()
    await work.put_in(lambda: queue.enqueue("no-op"))
    worker = Worker(queue, [("no-op", work.no_op)], concurrency=10)
    done = "SELECT count(*) FROM saq_jobs WHERE status = 'complete'"
    sample = await work.measure(worker.start(), lambda: other.fetchval(done))
    await queue.disconnect()
    return sample
