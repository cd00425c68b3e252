"""What pydantic makes of what is told of jobs: the answers of a service whose handlers return them."""

from dataclasses import asdict
from datetime import UTC, datetime

import httpx
import pytest
from fastapi import FastAPI
from pydantic import TypeAdapter, ValidationError

from chrono_async import CronSchedule, JobInfo, JobRecord, JobResult, JobStatus, RemoteRunError
from chrono_async.errors import describe

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

JOBS, RESULTS = TypeAdapter(JobInfo), TypeAdapter(JobResult)


class BrokenError(Exception):
    def __str__(self):
        raise ZeroDivisionError


class Own:
    """Somebody's own schedule."""

    def next(self, after):
        return None

    def __str__(self):
        return "never"


def job(schedule=None):
    return JobInfo.of(JobRecord("a", "A", next_run=NOON), schedule)


def result(error=None):
    return JobResult("a", "a@", NOON, NOON, NOON, JobStatus.FAILED, error)


@pytest.mark.parametrize(("schedule", "text"), [(CronSchedule("@daily"), "@daily"), (Own(), "never"), (None, None)])
def test_a_schedule_is_text_in_json(schedule, text):
    told = JOBS.dump_python(job(schedule), mode="json")
    assert (told["schedule"], told["next_run"]) == (text, "2026-01-01T12:00:00Z")


@pytest.mark.parametrize("error", [ValueError("oh"), KeyError(), BrokenError(), RuntimeError("x" * 20_000)])
def test_an_error_is_what_the_storage_keeps_of_it(error):
    assert RESULTS.dump_python(result(error), mode="json")["error"] == describe(error)


def test_an_error_from_elsewhere_is_what_the_storage_has_kept_of_it():
    told = RESULTS.dump_python(result(RemoteRunError("ValueError: oh")), mode="json")
    assert told["error"] == "ValueError: oh"
    assert RESULTS.dump_python(result(), mode="json")["error"] is None


@pytest.mark.parametrize(("adapter", "value"), [(JOBS, job(Own())), (RESULTS, result(ValueError("oh")))])
def test_within_python_everything_stays_what_it_is(adapter, value):
    assert adapter.validate_python(value) is value
    assert adapter.validate_python(adapter.dump_python(value)) == value


def test_a_text_is_no_schedule():
    """It does not say all there is, so none is read from it."""
    with pytest.raises(ValidationError, match="schedule"):
        JOBS.validate_python(asdict(job()) | {"schedule": "@daily"})


@pytest.mark.parametrize("adapter", [JOBS, RESULTS])
@pytest.mark.parametrize("mode", ["validation", "serialization"])
def test_the_schema_says_text(adapter, mode):
    fields = adapter.json_schema(mode=mode)["properties"]
    text = fields.get("schedule") or fields["error"]
    assert text["anyOf"] == [{"type": "string"}, {"type": "null"}]


async def test_a_service_answers_with_them_as_they_are():
    app = FastAPI()

    @app.get("/jobs")
    async def jobs() -> list[JobInfo]:
        return [job(CronSchedule("@daily"))]

    @app.get("/result")
    async def the_result() -> JobResult:
        return result(ValueError("oh"))

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
        assert (await client.get("/jobs")).json()[0]["schedule"] == "@daily"
        assert (await client.get("/result")).json()["error"] == "ValueError: oh"
        assert (await client.get("/openapi.json")).status_code == 200
