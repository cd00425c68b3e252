"""
A script that runs jobs until Ctrl-C: `python examples/script.py`.

SIGINT and SIGTERM let what runs finish; a second one cancels it.
"""

import asyncio
from datetime import timedelta

from chrono_async import AsyncScheduler, current_run


async def cleanup() -> None:
    print(f"cleaning up, {current_run().fire_time:%H:%M:%S}")


async def heartbeat() -> None:
    print("heartbeat", flush=True)


def warm_the_cache() -> None:  # a plain function runs in a worker thread
    print("warming the cache")


async def main() -> None:
    async with AsyncScheduler() as s:
        await s.add_cron_job("cleanup", "Temp Cleanup", cleanup, "*/5 * * * *", timezone="Europe/London")
        await s.add_interval_job("heartbeat", "Heartbeat", heartbeat, timedelta(seconds=1))
        await s.add_one_shot_job("warm", "Warm the cache", warm_the_cache, timedelta(seconds=2))
        await s.run_forever()
    print("stopped")


if __name__ == "__main__":
    asyncio.run(main())
