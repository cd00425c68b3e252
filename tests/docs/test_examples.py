"""The examples, run for real: the services through their frameworks, the notebook in a kernel."""

import asyncio
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import nbformat
import pytest
from aiohttp.test_utils import TestClient, TestServer
from nbclient import NotebookClient

from chrono_async import AsyncScheduler
from chrono_async.testing import Simulation

from .pages import ROOT, Page, in_virtual_time

EXAMPLES = ROOT / "examples"
PATIENCE = 30


async def test_the_script_drains_at_ctrl_c() -> None:
    """It runs until it is told to end, and ends well."""
    script = await asyncio.create_subprocess_exec(
        sys.executable, str(EXAMPLES / "script.py"), stdout=asyncio.subprocess.PIPE
    )
    assert script.stdout is not None
    async with asyncio.timeout(PATIENCE):
        said = await script.stdout.readline()
        if said.startswith(b"cleaning up, "):  # it is started just before a time of the other job, as on any clock
            said = await script.stdout.readline()
        assert said == b"heartbeat\n"
        script.send_signal(signal.SIGINT)
        printed, _ = await script.communicate()
    assert printed.endswith(b"stopped\n")
    assert script.returncode == 0


def test_the_decorated_jobs_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten virtual minutes of them."""
    monkeypatch.chdir(tmp_path)
    with Simulation() as simulation:
        in_virtual_time(Page(EXAMPLES / "decorators.py", simulation), monkeypatch)
        runpy.run_path(str(EXAMPLES / "decorators.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert "warmed up" in printed
    assert "fetch completed after 0 retries" in printed


async def test_the_fastapi_service_runs_its_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through its lifespan, twice: a service's own tests start it more than once."""
    monkeypatch.chdir(tmp_path)
    names = runpy.run_path(str(EXAMPLES / "fastapi_app.py"))
    app, scheduler = names["app"], names["scheduler"]
    for expected in (1, 2):
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client,
        ):
            assert (await client.get("/health")).json()["ok"]
            assert [job["id"] for job in (await client.get("/jobs")).json()] == ["cleanup"]
            assert (await client.post("/jobs/nobody/runs")).status_code == 404
            run_id = (await client.post("/jobs/cleanup/runs")).json()["run_id"]
            await scheduler.wait_for_job("cleanup", run_id=run_id, timeout=PATIENCE)
            assert (await scheduler.get_job("cleanup")).run_count == expected
    assert not scheduler.is_running


async def test_the_aiohttp_service_runs_its_jobs(capsys: pytest.CaptureFixture[str]) -> None:
    """Through its cleanup context."""
    names = runpy.run_path(str(EXAMPLES / "aiohttp_app.py"))
    app = names["make_app"]()
    async with TestClient(TestServer(app)) as client:
        scheduler: AsyncScheduler = app[names["SCHEDULER"]]
        await scheduler.wait_for_job("heartbeat", timeout=PATIENCE)
        assert await (await client.get("/jobs")).json() == [{"id": "heartbeat", "runs": 1}]
    assert not scheduler.is_running
    assert capsys.readouterr().out == "beat\n"


@pytest.mark.filterwarnings("default")  # what Jupyter's own packages warn of is not ours
def test_the_notebook_runs() -> None:
    """In a kernel, cell by cell, the job's cell twice."""
    notebook = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)
    NotebookClient(notebook, timeout=PATIENCE, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    printed = [output["text"] for output in outputs if output["output_type"] == "stream"]
    tables = [output["data"]["text/html"] for output in outputs if output["output_type"] == "execute_result"]
    assert printed == ["True\n", "tock 1\n"]
    assert len(tables) == 3
    assert all("tick" in table for table in tables)


def test_the_tests_of_jobs_pass() -> None:
    """With nothing but the package installed, as its docstring says."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "examples/test_jobs.py"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout
    assert "3 passed" in answer.stdout
