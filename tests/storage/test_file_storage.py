"""What holds for a file that several processes share, whatever becomes of them and of the disk."""

import asyncio
import errno
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread

from chrono_async.claims import ClaimRequest, Granted, Held
from chrono_async.errors import JobNotFoundError, StorageError
from chrono_async.models import Definition, JobRecord, JobStatus
from chrono_async.storage import FileStorage
from chrono_async.testing import VirtualClock, run
from chrono_async.testing.contract import SteppedClock

from .file_processes import JOBS, RUNS

SCRIPT = Path(__file__).with_name("file_processes.py")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.Popen(
        command, env=ENVIRONMENT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def finish(process: subprocess.Popen[str], words: str = "") -> str:
    out, err = process.communicate(words, timeout=50)
    assert process.returncode == 0, err
    return out


def test_a_child_does_not_wait_for_a_thread_that_it_has_not_got(tmp_path: Path) -> None:
    """It was forked while another thread was writing."""
    path = tmp_path / "jobs.json"
    assert finish(start("fork_while_writing", path)) == "ended\n"
    assert [record.id for record in asyncio.run(FileStorage(path).list_jobs())] == ["a"]


async def test_it_does_not_wait_for_the_threads_of_others(tmp_path: Path) -> None:
    """All that anyio lets be at work, and all of the loop's own, may be at somebody's: a lease must be renewed then."""
    path, may_end, loop = tmp_path / "jobs.json", threading.Event(), asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    to_thread.current_default_thread_limiter().total_tokens = 1
    at_work = [asyncio.create_task(to_thread.run_sync(may_end.wait)), loop.run_in_executor(None, may_end.wait)]
    await asyncio.sleep(0)
    one, two = FileStorage(path), FileStorage(path)
    try:
        async with asyncio.timeout(20):
            await one.save_job(JobRecord(id="a"))
            assert [record.id for record in await two.list_jobs()] == ["a"]
    finally:
        may_end.set()
        await asyncio.gather(*at_work)


@pytest.mark.parametrize("ending", [".yaml", ".json", ".xml"])
def test_four_processes_at_once_on_an_empty_file(tmp_path: Path, ending: str) -> None:
    """None fails, and each fire time of each job runs once, whoever runs it."""
    path = tmp_path / "not" / "there" / f"jobs{ending}"
    processes = [start("work", path, f"p{n}") for n in range(4)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    ran = [tuple(run) for process in processes for run in json.loads(finish(process))]
    assert len(ran) == len(set(ran)) == JOBS * RUNS
    assert {attempt for _, _, attempt in ran} == {1}
    records = asyncio.run(FileStorage(path).list_jobs())
    assert [record.run_count for record in records] == [RUNS] * JOBS


@pytest.mark.parametrize("ending", [".yaml", ".json", ".xml"])
def test_a_writer_killed_at_any_moment_leaves_a_whole_state(tmp_path: Path, ending: str) -> None:
    """Two jobs that are always changed together never differ, and never go back."""
    path = tmp_path / f"jobs{ending}"
    asyncio.run(save_pair(FileStorage(path), 0))
    report = json.loads(finish(start("kill_at_random", path, 25)))
    assert report["torn"] == []
    assert report["last"] >= 25


def test_a_writer_killed_at_each_step_leaves_the_old_or_the_new_state(tmp_path: Path) -> None:
    """And what it leaves besides is swept away by the next."""
    path = tmp_path / "jobs.json"
    asyncio.run(save_pair(FileStorage(path), 0))
    report = json.loads(finish(start("kill_at_each_step", path)))
    states = report["states"]
    assert len(states) > 10
    assert all(a == b and a in {before, before + 1} for before, a, b in states)
    assert {a - before for before, a, _ in states} == {0, 1}
    assert report["left"] == ["jobs.json", "jobs.json.bak", "jobs.json.lock"]


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def save_pair(storage: FileStorage, number: int) -> None:
    await asyncio.gather(*(storage.save_job(JobRecord(id=name, run_count=number)) for name in "ab"))


async def test_folder_and_file_appear_at_first_use(tmp_path: Path) -> None:
    """Looking does not make them, changing does."""
    path = tmp_path / "a" / "b" / "jobs.yaml"
    storage = FileStorage(path)
    assert await storage.list_jobs() == []
    assert await storage.get_due_jobs(SteppedClock().now()) == []
    with pytest.raises(JobNotFoundError):
        await storage.get_job("a")
    assert not (tmp_path / "a").exists()
    await storage.save_job(JobRecord(id="a"))
    assert path.exists()


async def test_two_storages_on_one_file_see_each_other(tmp_path: Path) -> None:
    """As two processes do."""
    one, two = FileStorage(tmp_path / "jobs.json"), FileStorage(tmp_path / "jobs.json")
    for n in range(5):
        await one.save_job(JobRecord(id="a", run_count=n))
        assert (await two.get_job("a")).run_count == n
        await two.save_job(JobRecord(id="b", run_count=n))
        assert (await one.get_job("b")).run_count == n
    await two.delete_job("a")
    assert [record.id for record in await one.list_jobs()] == ["b"]


async def test_a_link_stays_one_and_what_it_leads_to_is_shared(tmp_path: Path) -> None:
    """Who comes over the link and who does not have one file, and one lock beside it."""
    real, link = tmp_path / "volume" / "jobs.json", tmp_path / "jobs.json"
    link.symlink_to(real)
    there, here = FileStorage(real), FileStorage(link)
    await here.save_job(JobRecord(id="a"))
    await there.save_job(JobRecord(id="b"))
    assert [record.id for record in await here.list_jobs()] == ["a", "b"]
    assert link.is_symlink()
    assert sorted(names_in(tmp_path)) == ["jobs.json", "volume"]
    assert here.path == link


async def test_changes_that_come_together_are_written_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred saves at once need two writes, not a hundred."""
    storage, writes = FileStorage(tmp_path / "jobs.json"), []
    real = os.link

    def link(*paths: str) -> None:
        writes.append(paths)
        real(*paths)

    await storage.save_job(JobRecord(id="first"))
    monkeypatch.setattr(os, "link", link)
    await asyncio.gather(*(storage.save_job(JobRecord(id=str(n))) for n in range(100)))
    assert 1 <= len(writes) <= 2
    assert len(await storage.list_jobs()) == 101


async def test_what_changes_nothing_writes_nothing(tmp_path: Path) -> None:
    """A refused claim, say, of which there are many."""
    path = tmp_path / "jobs.json"
    storage = FileStorage(path)
    await storage.save_job(JobRecord(id="a"))
    before = path.stat()
    await storage.claim([ClaimRequest("a", None, SteppedClock().now(), 0)], "me/1", timedelta(seconds=60))
    await storage.release_lock("a", "nobody")
    assert path.stat() == before


async def test_a_cancelled_caller_splits_nothing(tmp_path: Path) -> None:
    """Its change is done, whole, though it did not wait for it."""
    storage = FileStorage(tmp_path / "jobs.json")
    for n in range(20):
        task = asyncio.create_task(storage.save_job(JobRecord(id="a", run_count=n)))
        for _ in range(n % 4):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await storage.save_job(JobRecord(id="b", run_count=n))
        assert (await FileStorage(tmp_path / "jobs.json").get_job("b")).run_count == n
    assert (await storage.get_job("a")).run_count > 0


FAILURES = ["fsync", "replace", "link"]


@pytest.mark.parametrize("name", FAILURES)
async def test_a_full_disk_fails_the_call_and_keeps_the_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The error says which file; nothing half-written is kept, in the file or in memory; then it goes on."""
    path = tmp_path / "jobs.json"
    storage = FileStorage(path)
    await storage.save_job(JobRecord(id="a", run_count=1))
    good = path.read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, name, fail)
        patch.setattr("shutil.copyfile", fail)
        with pytest.raises(StorageError, match=r"jobs\.json: .*No space left"):
            await storage.save_job(JobRecord(id="a", run_count=2))
        assert (await storage.get_job("a")).run_count == 1
        assert path.read_bytes() == good
    assert not [name for name in names_in(tmp_path) if name.endswith(".tmp")]
    await storage.save_job(JobRecord(id="a", run_count=3))
    assert (await FileStorage(path).get_job("a")).run_count == 3


async def test_a_folder_that_cannot_be_synced_leaves_an_unknown_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file has its new state, though the call failed: what is asked again finds it."""
    path = tmp_path / "jobs.json"
    storage, clock = FileStorage(path), SteppedClock()
    record = (await storage.register(JobRecord(id="a", next_run=clock.now().replace(year=2020)))).record
    assert record.next_run is not None
    request = ClaimRequest("a", record.next_run, record.next_run, record.revision)
    real = os.fsync

    def fail_for_folders(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").resolve() == tmp_path:
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail_for_folders)
        with pytest.raises(StorageError):
            await storage.claim([request], "me/1", timedelta(seconds=60))
    (again,) = (await storage.claim([request], "me/1", timedelta(seconds=60))).verdicts
    assert isinstance(again, Granted)
    assert again.attempt == 1


async def test_a_change_is_on_disk_before_it_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test can cut the power; what the kernel is asked for, and in which order, can be seen."""
    path, asked = tmp_path / "jobs.json", list[str]()
    storage = FileStorage(path)
    await storage.save_job(JobRecord(id="a"))
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        synced = Path(f"/proc/self/fd/{descriptor}").resolve()
        real_fsync(descriptor)
        asked.append("the folder" if synced == tmp_path else "the new file" if synced.suffix == ".tmp" else str(synced))

    def replace(source: str, target: str) -> None:
        real_replace(source, target)
        asked.extend(["the new name"] if Path(target) == path else [])

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        patch.setattr(os, "replace", replace)
        await storage.save_job(JobRecord(id="b"))
        assert asked == ["the new file", "the new name", "the folder"]


async def test_one_failing_call_of_a_step_is_its_own(tmp_path: Path) -> None:
    """The changes that were gathered with it are written."""
    storage = FileStorage(tmp_path / "jobs.json")
    results = await asyncio.gather(
        storage.save_job(JobRecord(id="a")), storage.delete_job("nobody"), storage.save_job(JobRecord(id="b")),
        return_exceptions=True,
    )  # fmt: skip
    assert [type(result) for result in results] == [type(None), JobNotFoundError, type(None)]
    assert len(await FileStorage(tmp_path / "jobs.json").list_jobs()) == 2


async def test_what_a_call_leaves_half_done_is_undone(tmp_path: Path) -> None:
    """Nobody may ask so; but who does, fails alone: the others of the step are written, and no more than these."""
    storage, now = FileStorage(tmp_path / "jobs.json"), datetime(2020, 1, 1, tzinfo=UTC)
    for job_id in "ab":
        await storage.save_job(JobRecord(id=job_id, next_run=now))
    no_moment: Any = None
    wishes = [ClaimRequest("a", now, now, 0), ClaimRequest("b", now, no_moment, 0)]
    results = await asyncio.gather(
        storage.save_job(JobRecord(id="c")),
        storage.claim(wishes, "me/1", timedelta(seconds=60)),
        storage.save_job(JobRecord(id="d")),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [type(None), TypeError, type(None)]
    for looked_at in (storage, FileStorage(tmp_path / "jobs.json")):
        assert {record.id: record.status for record in await looked_at.list_jobs()} == dict.fromkeys(
            "abcd", JobStatus.PENDING
        )


async def test_the_state_before_the_last_change_is_kept(tmp_path: Path) -> None:
    """As a file of its own that loads."""
    storage = FileStorage(tmp_path / "jobs.json")
    for n in range(3):
        await storage.save_job(JobRecord(id="a", run_count=n))
    (tmp_path / "old.json").write_bytes((tmp_path / "jobs.json.bak").read_bytes())
    assert (await FileStorage(tmp_path / "old.json").get_job("a")).run_count == 1


async def test_leases_outlive_the_process_that_took_them(tmp_path: Path) -> None:
    """A restart of the program frees nothing before its time; then the same occurrence is attempt 2."""
    clock = SteppedClock()
    first = FileStorage(tmp_path / "jobs.json", clock=clock)
    record = (await first.register(JobRecord(id="a", next_run=clock.now(), schedule=Definition("d", "b")))).record
    request = ClaimRequest("a", clock.now(), clock.now(), record.revision)
    await first.claim([request], "dead/1", timedelta(seconds=60))
    second = FileStorage(tmp_path / "jobs.json", clock=clock)
    assert not isinstance((await second.claim([request], "me/1", timedelta(seconds=60))).verdicts[0], Granted)
    clock.advance(timedelta(seconds=61))
    (granted,) = (await second.claim([request], "me/1", timedelta(seconds=60))).verdicts
    assert isinstance(granted, Granted)
    assert granted.attempt == 2
    assert [row.instance_id for row in await first.list_runs("a")] == ["dead"]


async def test_a_path_that_cannot_be_looked_at_is_an_error_each_time(tmp_path: Path) -> None:
    """For reading as for writing, and the storage lives on."""
    (tmp_path / "folder").write_text("in the way")
    storage = FileStorage(tmp_path / "folder" / "jobs.json")
    for _ in range(2):
        with pytest.raises(StorageError):
            await storage.list_jobs()
        with pytest.raises(StorageError):
            await storage.save_job(JobRecord(id="a"))
    (tmp_path / "folder").unlink()
    await storage.save_job(JobRecord(id="a"))
    assert await storage.list_jobs() == [JobRecord(id="a")]


async def test_a_step_that_the_loop_stops_has_an_unknown_outcome(tmp_path: Path) -> None:
    """Nobody is told that it came to something."""
    storage = FileStorage(tmp_path / "jobs.json")
    call = asyncio.create_task(storage.get_job("a"))
    await asyncio.sleep(0)
    (worker,) = (task for task in asyncio.all_tasks() if task.get_name() == "chrono-async file storage")
    await asyncio.sleep(0)
    worker.cancel()
    with pytest.raises((StorageError, JobNotFoundError)):
        await call
    await storage.save_job(JobRecord(id="a"))
    assert await storage.list_jobs() == [JobRecord(id="a")]


async def test_the_permissions_of_the_file_stay(tmp_path: Path) -> None:
    """Each change is a new file, but not to its owner."""
    path = tmp_path / "jobs.json"
    storage = FileStorage(path)
    await storage.save_job(JobRecord(id="a"))
    path.chmod(0o640)
    await storage.save_job(JobRecord(id="b"))
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_file_can_be_kept_in_simulated_time(tmp_path: Path) -> None:
    """Real threads and a real disk under a loop that jumps: an hour's lease ends in no time, and not before."""

    async def main() -> list[object]:
        storage = FileStorage(tmp_path / "jobs.json", clock=VirtualClock())
        now = VirtualClock().now()
        record = (await storage.register(JobRecord(id="a", next_run=now, schedule=Definition("d", "b")))).record
        request = ClaimRequest("a", now, now, record.revision)
        verdicts = []
        for n in range(3):
            verdicts += (await storage.claim([request], f"i{n}/1", timedelta(hours=1))).verdicts
            await asyncio.sleep(1801)
        return verdicts

    first, second, third = run(main())
    assert (type(first), type(second), type(third)) == (Granted, Held, Granted)


def test_a_storage_serves_one_loop_after_another(tmp_path: Path) -> None:
    """As in tests, scripts and notebooks; and loops of several threads at once."""
    storage = FileStorage(tmp_path / "jobs.json")
    for n in range(3):
        asyncio.run(storage.save_job(JobRecord(id=str(n))))
    storages = [FileStorage(tmp_path / "jobs.json") for _ in range(4)]

    def save(n: int) -> None:
        for k in range(5):
            asyncio.run(storages[n].save_job(JobRecord(id=f"{n} {k}")))

    threads = [threading.Thread(target=save, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(asyncio.run(storage.list_jobs())) == 23
