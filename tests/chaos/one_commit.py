"""
A server that forks children, each of which makes one commit and can be killed anywhere in it.

For each line `KIND PATH REVISION` it forks; the child waits for SIGUSR1, so that a tracer can take hold of it first.
Importing takes a second, forking a millisecond: hence not a process a commit.
"""

import asyncio
import os
import signal
import sys
from datetime import UTC, datetime, timedelta

from chrono_async.claims import ClaimRequest
from chrono_async.storage import FileStorage, SQLiteStorage

BASE = datetime(2026, 1, 1, tzinfo=UTC)
OWNER = "child/1"
JOBS = ("a", "b")
KINDS = {"file": FileStorage, "sqlite": SQLiteStorage}


async def commit(kind: str, path: str, revisions: list[str]) -> None:
    """Claim two jobs at once: one commit, in which two records change."""
    storage = KINDS[kind](path)
    requests = [ClaimRequest(job, BASE, BASE, int(revision)) for job, revision in zip(JOBS, revisions, strict=True)]
    answer = await storage.claim(requests, OWNER, timedelta(hours=1))
    assert all(type(verdict).__name__ == "Granted" for verdict in answer.verdicts), answer


def main() -> None:
    """Fork, tell the child's number, wait for it, tell how it ended; for each line."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    for line in sys.stdin:
        kind, path, *revisions = line.split()
        child = os.fork()
        if child == 0:
            signal.sigwait({signal.SIGUSR1})
            asyncio.run(commit(kind, path, revisions))
            os._exit(0)
        _say(child)
        _say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def _say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
