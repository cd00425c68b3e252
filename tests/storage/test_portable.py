"""What the portable path makes of storages that are less than they should be, and of several processes."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from chrono_async.claims import ClaimRequest, Granted, Held, Outcome, PointerMove, SettleVerdict
from chrono_async.errors import InvalidOptionError, JobNotFoundError, StorageError
from chrono_async.models import Definition, JobRecord, RunRecord, RunStatus, Trigger
from chrono_async.storage import InMemoryStorage, PortableStorage, SQLiteStorage, as_leasing, open_storage
from chrono_async.testing._contract_steps import job
from chrono_async.testing.contract import SteppedClock, StorageContract

from .eight_methods import EightMethodStorage

NINE = ("id", "name", "status", "paused", "last_run", "next_run", "run_count", "error_count", "last_error")
SECOND = timedelta(seconds=1)
TTL = 60 * SECOND


class NineFieldStorage(EightMethodStorage):
    """Keeps what the seed's record has, and nothing else: a table with nine columns."""

    async def save_job(self, record: JobRecord) -> None:
        await super().save_job(JobRecord(**{name: getattr(record, name) for name in NINE}))


class TestNineFieldsThroughThePortablePath(StorageContract):
    """Within one process nothing is missing."""

    model_examples = 2  # a removal waits, in real time, for a lock that another holds

    @pytest.fixture
    def storage(self, clock: SteppedClock) -> PortableStorage:
        return PortableStorage(NineFieldStorage(clock), clock=clock)

    async def test_a_saved_record_comes_back_as_it_was(self, storage: Any, now: datetime) -> None:
        """The nine fields, before anything of ours is known to be lost."""
        record = JobRecord(id="full", name="Näme", paused=True, next_run=now, run_count=7, last_error="boom")
        await storage.save_job(record)
        assert await storage.get_job("full") == record


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def inner(clock: SteppedClock) -> EightMethodStorage:
    return EightMethodStorage(clock)


@pytest.fixture
def portable(inner: EightMethodStorage, clock: SteppedClock) -> PortableStorage:
    return PortableStorage(inner, clock=clock)


async def test_only_what_needs_it_is_wrapped(inner: EightMethodStorage) -> None:
    """A storage with the verbs of its own is used as it is."""
    memory = InMemoryStorage()
    assert as_leasing(memory) is memory
    assert isinstance(as_leasing(inner), PortableStorage)
    assert "EightMethodStorage" in as_leasing(inner).guarantees


async def test_what_a_storage_does_not_keep_is_said(clock: SteppedClock) -> None:
    """As soon as it is seen."""
    portable = PortableStorage(NineFieldStorage(clock), clock=clock)
    await portable.register(job("a", clock.now()))
    assert "does not keep" in portable.guarantees


GARBAGE: list[Any] = [
    None,
    7,
    [None],
    ["a"],
    [JobRecord(id="")],
    [JobRecord(id="naive", next_run=datetime(2020, 1, 1))],  # noqa: DTZ001 - that is the point
    [JobRecord(id="paused", paused=True, next_run=datetime(2020, 1, 1, tzinfo=UTC))],
    [JobRecord(id="ahead", next_run=datetime(2040, 1, 1, tzinfo=UTC))],
    [JobRecord(id="finished")],
    [JobRecord(id=7, next_run=datetime(2020, 1, 1, tzinfo=UTC))],  # type: ignore[arg-type] # that is the point
    [JobRecord(id="text", next_run="2020-01-01")],  # type: ignore[arg-type] # that is the point
]


class OvertakenStorage(EightMethodStorage):
    """Another process writes the job right after each of our first writes, as processes that start together do."""

    async def save_job(self, record: JobRecord) -> None:
        await super().save_job(record)
        theirs = record.copy()
        theirs.revision += 1
        await super().save_job(theirs)


async def test_a_storage_to_which_others_write_too_does_not_pass_for_forgetful(clock: SteppedClock) -> None:
    """What is read back may be theirs; going by what was remembered instead of it would undo what they do."""
    portable = PortableStorage(OvertakenStorage(clock), clock=clock)
    await portable.register(job("a", next_run=clock.now() + SECOND))
    assert "does not keep" not in portable.guarantees


class RobbedStorage(EightMethodStorage):
    """Another process removes each job right after we have saved it."""

    async def save_job(self, record: JobRecord) -> None:
        await super().save_job(record)
        await super().delete_job(record.id)


async def test_who_adds_a_job_that_another_removes_at_once_has_added_it(clock: SteppedClock) -> None:
    """It is as if it were removed a moment later: nothing that the one who adds it could be blamed for."""
    portable = PortableStorage(RobbedStorage(clock), clock=clock)
    registered = await portable.register(job("a", next_run=clock.now() + SECOND))
    assert registered.record.next_run == clock.now() + SECOND


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
async def test_garbage_among_the_due_jobs_is_passed_over(
    clock: SteppedClock, garbage: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a line in the log, and none more at the next poll; what is good, once though it came twice, is found."""
    inner, good = EightMethodStorage(clock), job("good", clock.now())
    answer = [*garbage, good, good] if isinstance(garbage, list) else garbage

    async def get_due_jobs(_: datetime) -> Any:
        return answer

    monkeypatch.setattr(inner, "get_due_jobs", get_due_jobs)
    portable, messages = PortableStorage(inner, clock=clock), list[str]()
    for _ in range(2):
        page = await portable.due(clock.now(), clock.now() + SECOND)
        assert [due.job_id for due in page.due] == (["good"] if isinstance(garbage, list) else [])
        messages = messages or caplog.messages.copy()
    assert "get_due_jobs" in caplog.text
    assert caplog.messages == messages


@pytest.mark.parametrize("error", [ValueError("boom"), asyncio.CancelledError(), TimeoutError()])
async def test_what_a_storage_raises_becomes_a_storage_error(
    portable: PortableStorage, inner: EightMethodStorage, clock: SteppedClock, error: BaseException,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Even a cancellation that nobody asked for; the original is its cause."""

    async def fail(*_: object) -> Any:
        raise error

    for name in ("get_job", "get_due_jobs", "acquire_lock"):
        monkeypatch.setattr(inner, name, fail)
    for call in (
        portable.get_job("a"),
        portable.due(clock.now(), clock.now()),
        portable.claim([ClaimRequest("a", clock.now(), clock.now(), 0)], "me/1", TTL),
    ):
        with pytest.raises(StorageError) as caught:
            await call
        assert caught.value.__cause__ is error


async def test_a_record_that_cannot_be_read_is_an_error_when_it_is_asked_for(
    portable: PortableStorage, inner: EightMethodStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None is taken for "there is none"."""

    async def get_job(job_id: str) -> Any:
        return None if job_id == "none" else "words"

    monkeypatch.setattr(inner, "get_job", get_job)
    with pytest.raises(JobNotFoundError):
        await portable.get_job("none")
    with pytest.raises(StorageError, match="cannot be read"):
        await portable.get_job("words")


async def test_one_failure_of_a_batch_is_told_when_the_others_are_done(
    portable: PortableStorage, inner: EightMethodStorage, clock: SteppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked again, those that were granted are found to be the asker's."""
    requests = []
    for name in "abc":
        record = (await portable.register(job(name, clock.now()))).record
        requests.append(ClaimRequest(name, clock.now(), clock.now(), record.revision))
    real = inner.save_job

    async def save_job(record: JobRecord) -> None:
        if record.id == "b":
            raise ConnectionError("gone")
        await real(record)

    with monkeypatch.context() as patch:
        patch.setattr(inner, "save_job", save_job)
        with pytest.raises(StorageError, match="gone"):
            await portable.claim(requests, "me/1", TTL)
    verdicts = (await portable.claim(requests, "me/1", TTL)).verdicts
    assert [type(v) for v in verdicts] == [Granted] * 3
    assert [v.attempt for v in verdicts if isinstance(v, Granted)] == [1, 1, 1]


async def test_two_processes_run_an_occurrence_once(inner: EightMethodStorage, clock: SteppedClock) -> None:
    """Each has a portable path of its own; between them there is only the storage's lock."""
    ways = [PortableStorage(inner, clock=clock) for _ in range(8)]
    record = (await ways[0].register(job("a", clock.now()))).record
    pointer, runs = clock.now(), 0
    for turn in range(20):
        request = ClaimRequest("a", pointer, pointer, record.revision)
        answers = await asyncio.gather(*(way.claim([request], f"i{n}/{turn}", TTL) for n, way in enumerate(ways)))
        granted = [(n, a.verdicts[0]) for n, a in enumerate(answers) if isinstance(a.verdicts[0], Granted)]
        assert len(granted) == 1
        number, grant = granted[0]
        assert isinstance(grant, Granted)
        following = pointer + SECOND
        row = RunRecord("a", pointer, RunStatus.COMPLETED, token=grant.lease.token)
        outcome = Outcome(grant.lease, row, PointerMove(pointer, record.revision, following))
        again = await asyncio.gather(
            ways[number].settle([outcome]), *(way.claim([request], "x/1", TTL) for way in ways)
        )
        assert again[0].settled[0].verdict is SettleVerdict.DONE
        assert not any(isinstance(answer.verdicts[0], Granted) for answer in again[1:])
        runs, pointer = runs + 1, following
        clock.advance(SECOND)
    assert (await inner.get_job("a")).run_count == runs
    assert inner.locks == {}


@pytest.mark.parametrize("turns", range(10))
async def test_changes_of_one_process_take_turns(portable: PortableStorage, clock: SteppedClock, turns: int) -> None:
    """A record that is saved while another verb holds an older reading of it is not lost."""
    record = (await portable.register(job("a", clock.now()))).record
    record.name = "new"
    pausing = asyncio.create_task(portable.set_paused("a"))
    for _ in range(turns):
        await asyncio.sleep(0)
    await portable.save_job(record)
    await pausing
    assert (await portable.get_job("a")).name == "new"


async def test_who_cannot_see_a_lease_waits_a_moment(
    portable: PortableStorage, inner: EightMethodStorage, clock: SteppedClock
) -> None:
    """A lock that is held for longer than the record tells must not be asked for without end."""
    record = (await portable.register(job("a", clock.now()))).record
    await inner.acquire_lock("a", "stranger", TTL)
    request = ClaimRequest("a", clock.now(), clock.now(), record.revision)
    (held,) = (await portable.claim([request], "me/1", TTL)).verdicts
    assert isinstance(held, Held)
    assert SECOND <= held.until - clock.now() <= TTL


async def test_a_manual_request_of_ours_is_seen_though_the_job_is_not_due(
    portable: PortableStorage, inner: EightMethodStorage, clock: SteppedClock
) -> None:
    """The eight methods do not show it; who asked for it remembers, as long as it waits."""
    await portable.register(job("a", clock.now() + TTL))
    waiting = await portable.trigger("a", Trigger(clock.now()))
    (due,) = (await portable.due(clock.now(), clock.now() + SECOND)).due
    assert due.trigger == waiting.at
    assert (await PortableStorage(inner, clock=clock).due(clock.now(), clock.now() + SECOND)).due == []
    await portable.delete_job("a")
    assert (await portable.due(clock.now(), clock.now() + SECOND)).due == []


async def test_changes_are_hinted_at_within_the_process(portable: PortableStorage, clock: SteppedClock) -> None:
    """Many changes are one hint; closing ends the listening."""
    heard = 0

    async def listen() -> None:
        nonlocal heard
        async for _ in portable.changes():
            heard += 1

    task = asyncio.create_task(listen())
    await asyncio.sleep(0)
    for name in "ab":
        await portable.register(job(name, clock.now()))
    await asyncio.sleep(0.01)
    assert 1 <= heard <= 2
    await portable.close()
    async with asyncio.timeout(5):
        await task


@pytest.mark.parametrize(
    ("url", "kind"),
    [("memory:", "InMemoryStorage"), ("memory://", "InMemoryStorage"), ("file:jobs.yaml", "FileStorage"),
     ("file:///srv/a%20b.json", "FileStorage"), ("some/jobs.xml", "FileStorage"), ("./jobs.yml", "FileStorage")],
)  # fmt: skip
def test_a_url_opens_a_storage(url: str, kind: str) -> None:
    """At once and without touching anything: it connects when it is used."""
    assert type(open_storage(url)).__name__ == kind


@pytest.mark.parametrize("url", ["jobs.txt", "mongodb://host/db", "ftp:jobs.txt", ""])
def test_a_url_of_no_storage_is_unsupported(url: str) -> None:
    """And the error says what there is."""
    with pytest.raises(InvalidOptionError, match="unsupported"):
        open_storage(url)


def test_an_empty_url_is_shown_as_such() -> None:
    """It comes of a variable that is not set, and is not the folder that one is in."""
    with pytest.raises(InvalidOptionError, match=r"^url='': unsupported: use memory:, .* or a path"):
        open_storage("")


def test_options_that_storages_share_are_handed_on(tmp_path: Path) -> None:
    """With a URL from a configuration one may not know whose they are."""
    storage = open_storage(f"sqlite:{tmp_path}/a.db", namespace="billing", history=7)
    assert isinstance(storage, SQLiteStorage)
    assert (storage._tables._bounds.of_job, "billing_jobs" in storage._tables._sql.insert) == (7, True)


@pytest.mark.parametrize("url", ["memory:", "file:jobs.yaml"])
def test_a_namespace_where_there_is_none_is_refused(url: str) -> None:
    """Two programs would share their jobs unawares."""
    with pytest.raises(InvalidOptionError, match="Storage has none"):
        open_storage(url, namespace="billing")


@pytest.mark.parametrize(
    ("url", "path"),
    [("file:///srv/a%20b.json", "/srv/a b.json"), ("sqlite:jobs%231.db", "jobs#1.db"),
     ("sqlite:///srv/what%3F/jobs.db", "/srv/what?/jobs.db"), ("file://[a\tb/jobs.yaml", "[a\tb/jobs.yaml"),
     ("what?/jobs#1%20.xml", "what?/jobs#1%20.xml")],
)  # fmt: skip
def test_a_file_url_has_a_path(url: str, path: str) -> None:
    """With its blanks, whole; what is no URL is the path as it is."""
    assert str(open_storage(url).path) == path  # type: ignore[attr-defined] # a FileStorage or a SQLiteStorage


@pytest.mark.parametrize(
    ("url", "problem"),
    [("sqlite:jobs#1.db", "has a fragment.* write %23"), ("sqlite:jobs.db?timeout=5", r"has a query.* write %3F"),
     ("file:/srv/what?/jobs.yaml", "has a query"), ("file:C#/jobs.yaml", "has a fragment"),
     ("sqlite:jobs.db#", "has a fragment"), ("sqlite:jobs.db?", "has a query")],
)  # fmt: skip
def test_no_part_of_a_file_url_is_ignored(url: str, problem: str) -> None:
    """Jobs would be kept in another file than the one that was named, or without what was asked for."""
    with pytest.raises(InvalidOptionError, match=problem):
        open_storage(url)


async def test_a_definition_that_is_not_there_is_not_compared(portable: PortableStorage, clock: SteppedClock) -> None:
    """A job whose function lives elsewhere can be registered without one."""
    await portable.register(job("a", clock.now()))
    joined = await portable.register(JobRecord(id="a", name="new"))
    assert joined.record.schedule == Definition("every so often", "every so often, bound")
