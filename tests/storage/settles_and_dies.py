"""A process whose job settles itself in a transaction, and which is killed before or after that is committed."""

import asyncio
import os
import signal
import sys

import asyncpg

from chrono_async import AsyncScheduler, current_run
from chrono_async.storage import PostgresStorage


async def main(dsn: str, namespace: str, table: str, when: str, recovery: str) -> None:
    async def pay() -> None:
        connection = await asyncpg.connect(dsn)
        async with connection.transaction():
            await connection.execute(f"INSERT INTO {table} VALUES ('once')")  # noqa: S608 - a name of the test's
            await current_run().settle_in(connection)
            if when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    s = AsyncScheduler(storage=PostgresStorage(dsn, namespace=namespace), lock_ttl=0.5, storage_poll_interval=0.1)
    await s.add_one_shot_job("pay", "Pay", pay, 0.01, recovery=recovery)
    await s.run_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
