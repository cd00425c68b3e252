"""An aiohttp service with jobs: `python -m aiohttp.web examples.aiohttp_app:make_app`."""

from collections.abc import AsyncIterator
from datetime import timedelta

from aiohttp import web

from chrono_async import AsyncScheduler

SCHEDULER = web.AppKey("scheduler", AsyncScheduler)


async def beat() -> None:
    print("beat")


async def run_scheduler(app: web.Application) -> AsyncIterator[None]:
    async with AsyncScheduler() as s:
        await s.add_interval_job("heartbeat", "Heartbeat", beat, timedelta(seconds=30), run_immediately=True)
        app[SCHEDULER] = s
        yield


async def list_jobs(request: web.Request) -> web.Response:
    jobs = await request.app[SCHEDULER].list_jobs()
    return web.json_response([{"id": job.id, "runs": job.run_count} for job in jobs])


def make_app(_: list[str] | None = None) -> web.Application:
    app = web.Application()
    app.cleanup_ctx.append(run_scheduler)
    app.router.add_get("/jobs", list_jobs)
    return app
