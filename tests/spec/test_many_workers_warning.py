"""
Several workers without a shared storage would each run every job: one loud warning says what to do.
"""

import multiprocessing
import subprocess
import sys

import pytest

from chrono_async import AsyncScheduler, InMemoryStorage

ADVICE = "each worker will run every job. Give them a storage to share"


async def start_and_stop(**options):
    async with AsyncScheduler(**options):
        pass


async def test_who_says_that_there_are_several_workers_is_warned(sim, monkeypatch, caplog):
    """As hosting platforms do, for gunicorn and uvicorn to read."""
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    await start_and_stop(clock=sim.clock)
    assert ADVICE in caplog.text
    assert "WEB_CONCURRENCY=4" in caplog.text
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("number", ["1", "0", "", "many", "²"])
async def test_one_worker_is_fine(sim, monkeypatch, caplog, number):
    monkeypatch.setenv("WEB_CONCURRENCY", number)
    await start_and_stop(clock=sim.clock)
    assert caplog.text == ""


async def test_who_has_given_a_storage_knows_what_to_do(sim, monkeypatch, caplog):
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    await start_and_stop(storage=InMemoryStorage(clock=sim.clock), clock=sim.clock)
    assert caplog.text == ""


async def test_before_the_start_nothing_is_said(sim, monkeypatch, caplog):
    """A module that makes a scheduler is imported by many who never start it."""
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    AsyncScheduler(clock=sim.clock)
    assert caplog.text == ""


def test_a_process_that_multiprocessing_has_started_is_warned():
    """As the workers of `uvicorn --workers` are."""
    program = """
import asyncio, multiprocessing
from chrono_async import AsyncScheduler

async def main():
    async with AsyncScheduler():
        pass

def worker():
    asyncio.run(main())

if __name__ == "__main__":
    process = multiprocessing.get_context("fork").Process(target=worker)
    process.start()
    process.join()
"""
    assert multiprocessing.parent_process() is None
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert ADVICE in done.stderr
