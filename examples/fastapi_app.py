"""
A FastAPI service with jobs: `uvicorn examples.fastapi_app:app --workers 4`.

The workers share a state file, so each due time runs in one of them.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

from fastapi import FastAPI, HTTPException

from chrono_async import AsyncScheduler, JobNotFoundError
from chrono_async.storage import FileStorage

scheduler = AsyncScheduler(storage=FileStorage("jobs.yaml"), storage_poll_interval=5)


@scheduler.cron("*/5 * * * *")
async def cleanup() -> None:
    print("cleaning up")


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with scheduler:
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/health")
async def health() -> dict[str, object]:
    return asdict(scheduler.health())


@app.get("/jobs")
async def jobs() -> list[dict[str, object]]:
    return [{"id": job.id, "status": job.status, "next_run": job.next_run} for job in await scheduler.list_jobs()]


@app.post("/jobs/{job_id}/runs", status_code=202)
async def run_now(job_id: str) -> dict[str, str]:
    try:
        return {"run_id": await scheduler.trigger_job(job_id)}
    except JobNotFoundError as error:
        raise HTTPException(404, str(error)) from error
