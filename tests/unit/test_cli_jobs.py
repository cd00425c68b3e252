"""
The commands that look after the jobs of a storage, beside the process that has the functions.
"""

import asyncio
import json
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from chrono_async import AsyncScheduler, current_run
from chrono_async.cli._app import app
from chrono_async.storage import open_storage

HOUR = timedelta(hours=1)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:{tmp_path}/jobs.db"


def call(*arguments, columns=100):
    told = CliRunner().invoke(app, arguments, env={"COLUMNS": str(columns), "NO_COLOR": "1"})
    return told.exit_code, told.output


def asked(*arguments):
    code, output = call(*arguments, "--json")
    assert code == 0
    return json.loads(output)


def serve(url, while_it_runs):
    """Be the service: run its jobs while something is called in another thread; return what was exported."""
    exported = []

    async def export(customer="nobody"):
        exported.append(customer)
        if customer == "[red]":
            raise ValueError("[red] is no customer\nat all")

    async def life():
        storage = open_storage(url)
        async with AsyncScheduler(storage=storage, storage_poll_interval=0.05, lock_ttl=5) as s:
            await s.add_cron_job("export", "Exports", export, "0 8 * * *", timezone="Europe/London", tags=["x"])
            await s.add_interval_job("beat", "Heartbeat", export, HOUR)
            waiting = asyncio.create_task(s.wait_for_job("export", timeout=20))
            await asyncio.to_thread(while_it_runs)
            await waiting
        await storage.close()

    asyncio.run(life())
    return exported


def test_jobs_are_shown_and_changed_while_they_run(url):
    ids = []

    def look_after_them():
        assert call("pause", url, "export") == (0, "job 'export' is paused\n")
        assert [job["paused"] for job in asked("jobs", url)] == [True, False]
        code, told = call("resume", url, "export")
        assert (code, told.startswith("job 'export' runs next 2")) == (0, True)
        assert [job["paused"] for job in asked("jobs", url)] == [False, False]
        code, run_id = call("trigger", url, "export", "--kwargs", '{"customer": "[red]"}')
        assert code == 0
        ids.append(run_id.strip())

    assert serve(url, look_after_them) == ["[red]"]
    export, beat = asked("jobs", url)
    assert (export["id"], export["schedule"], export["runs"], export["errors"]) == ("export", "0 8 * * *", 1, 1)
    assert (export["status"], export["last_error"]) == ("failed", "ValueError: [red] is no customer\nat all")
    assert export["instance"] is None
    assert (beat["name"], beat["schedule"], beat["status"]) == ("Heartbeat", "every 1:00:00", "pending")
    [run] = asked("runs", url, "export")
    assert (run["job"], run["status"], run["manual"], run["attempt"]) == ("export", "failed", True, 1)
    assert ids == [f"export@{run['fire_time']}!"]
    code, table = call("runs", url, columns=160)
    assert (code, "ValueError: [red] is no customer │" in table) == (0, True)
    assert "0 8 * * *" in call("jobs", url)[1]
    assert call("remove", url, "export") == (0, "job 'export' is removed\n")
    assert [job["id"] for job in asked("jobs", url)] == ["beat"]


def test_where_there_is_nothing_that_is_said(url):
    assert call("migrate", url)[0] == 0
    assert call("jobs", url) == (0, "there are none\n")
    assert asked("runs", url) == []


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (("pause", "nobody"), 1, "no job has the id 'nobody'"),
        (("trigger", "nobody", "--args", "[5"), 2, "--args='[5': must be JSON"),
        (("trigger", "nobody", "--args", "5"), 2, "args=5: must be several arguments"),
        (("jobs", "--namespace", "no way"), 2, "namespace='no way'"),
    ],
)
def test_what_fails_is_one_line(url, arguments, code, problem):
    assert call("migrate", url)[0] == 0
    verb, *others = arguments
    ended, told = call(verb, url, *others)
    assert (ended, told.count("\n")) == (code, 1)
    assert told.startswith(f"chrono-async: {problem}")


@pytest.mark.parametrize("kind", ["sqlite:", "file:", ""])
@pytest.mark.parametrize(
    "arguments", [("jobs",), ("runs",), *((verb, "a") for verb in ("pause", "resume", "trigger", "remove"))]
)
def test_a_file_that_is_not_there_is_not_made(tmp_path, monkeypatch, kind, arguments):
    """Who looks after jobs has mistyped it."""
    monkeypatch.chdir(tmp_path)
    verb, *others = arguments
    assert call(verb, f"{kind}typo.json", *others) == (1, "chrono-async: typo.json: there is no such file\n")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_looked_after_too(tmp_path):
    async def add():
        storage = open_storage(f"file:{tmp_path}/jobs.json")
        await AsyncScheduler(storage=storage).add_interval_job("beat", "", current_run, HOUR)
        await storage.close()

    asyncio.run(add())
    assert [job["id"] for job in asked("jobs", f"file:{tmp_path}/jobs.json")] == ["beat"]
