"""
Other processes on a store: what the contract lets them do, and the script that they run.

A process is handed a pickled factory. It opens its storage, says so, waits for the word, and then asks for occurrence
after occurrence of one job until there is none left, whoever gets them.
"""

import asyncio
import base64
import json
import os
import pickle
import sys
from asyncio.subprocess import PIPE, Process
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from chrono_async import RunRecord, RunStatus
from chrono_async.storage import ClaimRequest, Granted, LeasingStorage, Outcome, PointerMove, as_leasing

if TYPE_CHECKING:
    from ._contract_steps import StorageFactory

PROCESSES, OCCURRENCES = 4, 8
LONG_AGO = datetime(2001, 9, 9, tzinfo=UTC)
"""Due by any clock: by that of the test, and by those of other processes."""

_SECOND = timedelta(seconds=1)
_LAST = LONG_AGO + (OCCURRENCES - 1) * _SECOND
_TTL = timedelta(minutes=5)

Won = tuple[str, int]
"""The fire time and the token of a run."""


async def run_in_processes(factory: "StorageFactory") -> list[Won]:
    """Let processes begin at the same time, and return what each of them ran."""
    children: list[Process] = []
    try:
        for _ in range(PROCESSES):
            children.append(await _start(factory))  # noqa: PERF401 - what has started must end, whatever becomes of the next
        for child in children:
            await _is_ready(child)
        answers = await asyncio.gather(*(child.communicate(b"go\n") for child in children))
        return [(fire_time, token) for ran, _ in answers for fire_time, token in json.loads(ran)]
    finally:
        for child in children:
            if child.returncode is None:
                child.kill()
                await child.wait()


async def _start(factory: "StorageFactory") -> Process:
    code = "from chrono_async.testing import _contract_processes; _contract_processes.main()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    given = base64.b64encode(pickle.dumps(factory)).decode()
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, given, stdin=PIPE, stdout=PIPE, env=environment
    )


async def _is_ready(child: Process) -> None:
    assert child.stdout is not None  # noqa: S101 - a type narrowing
    if await child.stdout.readline() != b"ready\n":
        raise RuntimeError("a process could not open the storage that `elsewhere` makes: see what it wrote")


# ── what a process does ──────────────────────────────────────────────────────────────────────────────────────────────


def main() -> None:
    """Do a process's part."""
    factory: StorageFactory = pickle.loads(base64.b64decode(sys.argv[1]))  # noqa: S301 - it comes from our parent
    sys.stdout.write(json.dumps(asyncio.run(_work(factory))))


async def _work(factory: "StorageFactory") -> list[Won]:
    storage = as_leasing(factory())
    await storage.get_job("a")
    print("ready", flush=True)  # noqa: T201 - the parent waits for it
    await asyncio.to_thread(sys.stdin.readline)
    won: list[Won] = []
    while (record := await storage.get_job("a")).next_run is not None:
        request = ClaimRequest("a", record.next_run, record.next_run, record.revision)
        (verdict,) = (await storage.claim([request], f"{os.getpid()}/{len(won)}", _TTL)).verdicts
        if isinstance(verdict, Granted):
            won.append(await _run(storage, request, verdict))
        else:
            await asyncio.sleep(0.002)  # no need to be in the winner's way all the time
    await storage.close()
    return won


async def _run(storage: LeasingStorage, request: ClaimRequest, granted: Granted) -> Won:
    fire_time, lease = request.fire_time, granted.lease
    row = RunRecord("a", fire_time, RunStatus.COMPLETED, lease.owner, granted.attempt, lease.token)
    following = fire_time + _SECOND if fire_time < _LAST else None
    await storage.settle([Outcome(lease, row, PointerMove(granted.next_run, request.revision, following))])
    return fire_time.isoformat(), lease.token
