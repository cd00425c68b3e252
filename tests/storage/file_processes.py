"""What the tests of storages in files let other processes do. Run as a script: `file_processes.py VERB PATH ...`."""

# ruff: noqa: T201 - its output is what the tests read

import asyncio
import json
import os
import random
import signal
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from chrono_async.claims import ClaimRequest, Granted, Outcome, PointerMove
from chrono_async.models import Definition, JobRecord, RunRecord, RunStatus
from chrono_async.storage import FileStorage, LeasingStorage, open_storage

SECOND = timedelta(seconds=1)
JOBS, RUNS = 6, 4


async def work(storage: LeasingStorage, name: str) -> None:
    """Register the jobs that all register, then run what is due until nothing is; print each run."""
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    base = datetime(2026, 1, 1, tzinfo=UTC)
    for n in range(JOBS):
        await storage.register(JobRecord(id=f"job {n}", next_run=base, schedule=Definition("d", "b")))
    ran = []
    for turn in range(1000):
        now = datetime.now(UTC)
        page = await storage.due(now, now + SECOND)
        if not page.due:
            break
        wanted = [ClaimRequest(d.job_id, d.next_run, d.bound or d.next_run or now, d.revision) for d in page.due]
        answer = await storage.claim(wanted, f"{name}/{turn}", SECOND * 60)
        outcomes = []
        for request, granted in zip(wanted, answer.verdicts, strict=True):
            if isinstance(granted, Granted):
                ran.append((request.job_id, request.fire_time.isoformat(), granted.attempt))
                following = request.fire_time + SECOND
                move = PointerMove(
                    granted.next_run, request.revision, following if following < base + RUNS * SECOND else None
                )
                row = RunRecord(request.job_id, request.fire_time, RunStatus.COMPLETED, name, token=granted.lease.token)
                outcomes.append(Outcome(granted.lease, row, move))
        await storage.settle(outcomes)
    await storage.close()
    print(json.dumps(ran), flush=True)


async def count_in_pairs(path: Path) -> None:
    """Change two jobs together, again and again, until killed."""
    storage = FileStorage(path)
    number = (await storage.get_job("a")).run_count
    while True:
        number += 1
        await asyncio.gather(
            *(storage.save_job(JobRecord(id=name, run_count=number, last_error="x" * 2000)) for name in "ab")
        )


def pair(path: Path) -> tuple[int, int]:
    """Read the two jobs as a process does that starts now."""
    records = asyncio.run(FileStorage(path).list_jobs())
    first, second = sorted((record.id, record.run_count) for record in records)
    return first[1], second[1]


def wait_for_a_write(path: Path, inode: int) -> None:
    """Come back when the file is another, however slow the machine."""
    patience = time.monotonic() + 20
    while path.stat().st_ino == inode and time.monotonic() < patience:
        time.sleep(0.0005)


def kill_at_random(path: Path, times: int) -> None:
    """Kill writers at moments of chance; report any state that was never whole."""
    dice = random.Random(7)
    torn, last = [], (0, 0)
    for _ in range(times):
        child = os.fork()
        if child == 0:
            asyncio.run(count_in_pairs(path))
        wait_for_a_write(path, path.stat().st_ino)
        time.sleep(dice.uniform(0, 0.01))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        now = pair(path)
        torn += [now] if now[0] != now[1] or now < last else []
        last = now
    print(json.dumps({"torn": torn, "last": last[0]}))


class Suicide:
    """Ends the process, by SIGKILL, at the n-th thing that it asks of the system about a file."""

    def __init__(self, at: int) -> None:
        self.left = at
        self.real_fsync = os.fsync
        os.fsync = self.fsync  # type: ignore[assignment] # the stand-in takes a descriptor too
        sys.addaudithook(self.hear)

    def hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if event in {"open", "os.rename", "os.link", "os.remove", "os.mkdir", "fcntl.flock", "os.chmod"}:
            self.count()

    def fsync(self, descriptor: int) -> None:
        self.count()
        self.real_fsync(descriptor)
        self.count()

    def count(self) -> None:
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)


async def change_both(path: Path, number: int) -> None:
    storage = FileStorage(path)
    await asyncio.gather(*(storage.save_job(JobRecord(id=name, run_count=number)) for name in "ab"))


def kill_at_each_step(path: Path) -> None:
    """Kill a writer before each of its steps in turn; print each state that was found after it."""
    states = []
    for step in range(200):
        before = pair(path)[0]
        child = os.fork()
        if child == 0:
            Suicide(step)
            asyncio.run(change_both(path, before + 1))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        states.append((before, *pair(path)))
        if status == 0:
            break
    asyncio.run(FileStorage(path).save_job(JobRecord(id="c")))
    print(json.dumps({"states": states, "left": sorted(p.name for p in path.parent.iterdir())}))


def fork_while_writing(path: Path) -> None:
    """Write in a child that is made while a thread of the parent's is about to write; print how the child ended."""
    storage = FileStorage(path)
    with storage._steps._file.one_at_a_time():
        child = os.fork()
        if child == 0:
            asyncio.run(storage.save_job(JobRecord(id="a")))
            os._exit(0)
        for _ in range(2000):
            if os.waitpid(child, os.WNOHANG) != (0, 0):
                print("ended")
                return
            time.sleep(0.01)
        os.kill(child, signal.SIGKILL)


if __name__ == "__main__":
    verb, file, *rest = sys.argv[1:]
    if verb == "work":
        asyncio.run(work(open_storage(file), *rest))
    elif verb == "kill_at_random":
        kill_at_random(Path(file), int(rest[0]))
    elif verb == "kill_at_each_step":
        kill_at_each_step(Path(file))
    elif verb == "fork_while_writing":
        fork_while_writing(Path(file))
