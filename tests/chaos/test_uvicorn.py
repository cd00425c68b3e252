"""The README's recipe for FastAPI, served by `uvicorn --workers 4`: each due time runs once, in one of the workers."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks_of

pytestmark = pytest.mark.long

HEAD = """
import os
from chrono_async import AsyncScheduler, current_run
"""
TO_SHOW = '@scheduler.cron("*/5 * * * *")\nasync def clean() -> None: ...\n'
TO_RUN = """
@scheduler.interval(1)
async def clean() -> None:
    line = f"{current_run().fire_time.isoformat()} {os.getpid()}\\n"
    file = os.open("runs.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line.encode())
    os.close(file)
"""
RUNS = 7


def _app() -> str:
    """Return the recipe as the README has it, but for its job: one that is due each second, and that writes down."""
    (recipe,) = (block.text for block in blocks_of(ROOT / "README.md") if "FastAPI(lifespan=" in block.text)
    assert TO_SHOW in recipe
    return HEAD + recipe.replace(TO_SHOW, TO_RUN)


def _serve(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "uvicorn", "app:app", "--workers", "4", "--uds", folder / "socket"]
    with (folder / "said.txt").open("wb") as said:
        return subprocess.Popen(command, cwd=folder, stdout=said, stderr=said, env={**os.environ, "PYTHONPATH": ""})


def _lines(runs: Path) -> list[str]:
    return runs.read_text().splitlines() if runs.exists() else []


async def _until_it_has_run(runs: Path, server: subprocess.Popen[bytes]) -> None:
    async with asyncio.timeout(60):
        while len(_lines(runs)) < RUNS:
            assert server.poll() is None
            await asyncio.sleep(0.1)


@pytest.mark.timeout(110)
async def test_four_workers_run_each_due_time_once(tmp_path: Path) -> None:
    """The promise that one chooses the library for. Due times are counted from the first run to the last."""
    (tmp_path / "app.py").write_text(_app())
    server = _serve(tmp_path)
    try:
        await _until_it_has_run(tmp_path / "runs.txt", server)
    finally:
        server.send_signal(signal.SIGTERM)
        await asyncio.to_thread(server.wait, 30)
    lines = _lines(tmp_path / "runs.txt")
    times = Counter(datetime.fromisoformat(line.split()[0]) for line in lines)
    first, last = min(times), max(times)
    due = [first + number * timedelta(seconds=1) for number in range((last - first) // timedelta(seconds=1) + 1)]
    assert times == Counter(due), (tmp_path / "said.txt").read_text()
