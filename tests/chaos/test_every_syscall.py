"""
A process killed at each system call of a commit leaves the state as before or as after, and a storage that works.

The tests need `strace`, and the permission to trace; where these are not there they say so.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from chrono_async import JobRecord
from chrono_async.claims import ClaimRequest, Granted
from chrono_async.models import Definition

from .one_commit import BASE, JOBS, KINDS, OWNER

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
STRACE = shutil.which("strace")
CALLS = (
    "write", "pwrite64", "writev", "pwritev", "pwritev2", "fsync", "fdatasync", "rename", "renameat", "renameat2",
    "unlink", "unlinkat", "link", "linkat", "ftruncate", "fallocate", "openat", "flock", "fcntl", "close",
)  # fmt: skip
WRITING = {"write", "pwrite64", "fsync", "fdatasync", "rename", "renameat", "renameat2", "ftruncate"}
PATHS = {"file": "jobs.json", "sqlite": "jobs.db"}


class Forge:
    """Makes children that make one commit, under a tracer."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.one_commit"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip

    def commit(self, line: str, log: Path, *options: str) -> int:
        """Let a child make its commit; return its exit code, or minus the signal that it died of."""
        child = int(self._ask(line))
        strace = subprocess.Popen([str(STRACE), "-f", "-o", log, *options, "-p", str(child)], stderr=subprocess.PIPE)
        assert strace.stderr is not None
        with strace.stderr as said:
            first = said.readline().decode()
            if "attached" not in first:
                os.kill(child, signal.SIGKILL)
                pytest.skip(f"strace cannot trace here: {first.strip()}")
            os.kill(child, signal.SIGUSR1)
            code = int(self._answer())
            said.read()
        strace.wait(20)
        return code

    def _ask(self, line: str) -> str:
        assert self._server.stdin is not None
        self._server.stdin.write(line + "\n")
        self._server.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._server.stdout is not None
        return self._server.stdout.readline()

    def close(self) -> None:
        """End the server."""
        with self._server:
            assert self._server.stdin is not None
            self._server.stdin.close()


@pytest.fixture(scope="module")
def forge() -> Iterator[Forge]:
    if STRACE is None:
        pytest.skip("there is no strace on this machine: apt-get install strace")
    forge = Forge()
    yield forge
    forge.close()


async def _prepare(kind: str, folder: Path) -> str:
    """Make a state with two jobs that wait; return what to tell the server."""
    storage = KINDS[kind](folder / PATHS[kind])
    definition, revisions = Definition("d", "b"), []
    for job in JOBS:
        registered = await storage.register(JobRecord(job, next_run=BASE, schedule=definition))
        revisions.append(str(registered.record.revision))
    await storage.close()
    return " ".join(revisions)


def _calls_of(log: Path) -> Counter[str]:
    """Return for each system call how often the thread that makes most of them makes it: strace counts by thread."""
    counts: Counter[tuple[str, str]] = Counter(re.findall(r"^(\d+) +(\w+)\(", log.read_text(), re.MULTILINE))
    most: Counter[str] = Counter()
    for (_, call), count in counts.items():
        most[call] = max(most[call], count)
    return most


async def _is_after(kind: str, folder: Path) -> bool:
    """Return whether the state is that after the commit; fail if it is neither, or if the storage does not go on."""
    storage = KINDS[kind](folder / PATHS[kind])
    owners = {record.owner for record in await storage.list_jobs()}
    assert len(await storage.list_jobs()) == len(JOBS)
    assert owners in ({None}, {OWNER}), owners
    record = (await storage.register(JobRecord("c", next_run=BASE, schedule=Definition("d", "b")))).record
    request = ClaimRequest("c", BASE, BASE, record.revision)
    answer = await storage.claim([request], "other/1", timedelta(seconds=9))
    assert isinstance(answer.verdicts[0], Granted)
    await storage.close()
    return owners == {OWNER}


@pytest.mark.timeout(110)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_kill_at_any_system_call_leaves_the_state_before_or_after(
    kind: str, tmp_path: Path, forge: Forge
) -> None:
    """Not only where one thinks that it could matter: at each of them, and both states must be seen."""
    revisions = await _prepare(kind, tmp_path / "prepared")
    names = f"trace={','.join('?' + call for call in CALLS)}"

    def commit(folder: Path, *options: str) -> int:
        shutil.copytree(tmp_path / "prepared", folder)
        return forge.commit(f"{kind} {folder / PATHS[kind]} {revisions}", folder / "strace.log", *options)

    assert commit(tmp_path / "whole", "-e", names) == 0
    assert await _is_after(kind, tmp_path / "whole")
    calls = _calls_of(tmp_path / "whole" / "strace.log")
    assert set(calls) & {"fsync", "fdatasync"}
    states, killed = Counter[bool](), 0
    for call in sorted(set(calls) & (WRITING | {"unlink", "unlinkat", "link", "linkat", "fallocate", "flock"})):
        for number in range(1, calls[call] + 1):
            folder = tmp_path / f"{call} {number}".replace(" ", "_")
            inject = f"inject={call}:signal=KILL:when={number}"
            killed += commit(folder, "-e", f"trace={call}", "-e", inject) == -signal.SIGKILL
            states[await _is_after(kind, folder)] += 1
            shutil.rmtree(folder)
    assert killed >= len(calls & Counter(dict.fromkeys(WRITING, 1000)))
    assert states[False]
    assert states[True]
