"""The loop that reads, decides and writes on condition, over a medium that is a dictionary."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from chrono_async.claims import ClaimRequest, Gone, Granted
from chrono_async.errors import JobNotFoundError, StorageCorruptError, StorageError
from chrono_async.models import JobRecord
from chrono_async.storage._ledger import optimistic
from chrono_async.storage._ledger.optimistic import OptimisticLedger, Reading, Written
from chrono_async.storage._ledger.rows import JobRow, kept_of, row_of
from chrono_async.storage._ledger.sheet import Change, Floors, Kept, Stored
from chrono_async.storage._table.shelf import Moment

NOW = datetime(2030, 1, 1, tzinfo=UTC)
AT = Moment(NOW, 1000.0)
MINUTE = timedelta(minutes=1)


class Medium(OptimisticLedger[JobRow]):
    """Rows with versions; `meanwhile` is what others do between a reading and its writing."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[int, JobRow]] = {}
        self.floors = Floors()
        self.reads: list[list[str]] = []
        self.writes: list[list[str]] = []
        self.unreadable: set[str] = set()
        self.meanwhile: Callable[[Sequence[Change[JobRow]]], None] = lambda _: None

    async def _read(self, job_ids: Sequence[str], *, floors: bool, history: bool) -> Reading[JobRow]:
        self.reads.append(list(job_ids))
        found = {job_id: self.rows[job_id] for job_id in job_ids if job_id in self.rows}
        stored = {job_id: Stored(version, row, kept_of(row)) for job_id, (version, row) in found.items()}
        return Reading(AT, stored, self.floors, unreadable=self.unreadable)

    async def _write(self, changes: Sequence[Change[JobRow]], floors: Floors | None) -> Written:
        self.meanwhile(changes)
        self.writes.append([change.job_id for change in changes])
        self.floors = floors or self.floors
        return Written(NOW, {change.job_id for change in changes if self._put(change)})

    def _put(self, change: Change[JobRow]) -> bool:
        version, _ = self.rows.get(change.job_id, (0, ()))
        if version != change.version:
            return False
        if change.row is None:
            del self.rows[change.job_id]
        else:
            self.rows[change.job_id] = (version + 1, change.row)
        return True

    def _row_of(self, job_id: str, kept: Kept) -> JobRow:
        return row_of(job_id, kept)

    def touch(self, job_id: str) -> None:
        version, row = self.rows[job_id]
        self.rows[job_id] = (version + 1, row)


@pytest.fixture
def medium() -> Medium:
    return Medium()


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimistic, "_LONGEST_PAUSE", 0.0)


def requests(*names: str) -> list[ClaimRequest]:
    return [ClaimRequest(name, NOW, NOW, 0) for name in names]


def test_a_ledger_without_a_part_of_its_medium_cannot_be_made() -> None:
    """It would only be told of at its first use, by an error that names something else."""

    class Half(OptimisticLedger[JobRow]):
        async def _write(self, changes: Sequence[Change[JobRow]], floors: Floors | None) -> Written:
            raise NotImplementedError

    with pytest.raises(TypeError, match=r"abstract methods '?_read'?, '?_row_of'?"):
        Half()  # type: ignore[abstract] # that is the point


async def test_only_what_somebody_else_has_written_is_asked_again(medium: Medium) -> None:
    """And its answer takes the place of the first."""
    for name in "abc":
        await medium.save_job(JobRecord(id=name, next_run=NOW))
    medium.reads.clear()
    medium.writes.clear()

    def once(changes: Sequence[Change[JobRow]]) -> None:
        medium.meanwhile = lambda _: None
        medium.touch("b")

    medium.meanwhile = once
    answer = await medium.claim(requests("a", "b", "nobody", "c"), "me/1", MINUTE)
    assert [type(verdict) for verdict in answer.verdicts] == [Granted, Granted, Gone, Granted]
    assert medium.reads == [["a", "b", "nobody", "c"], ["b"]]
    assert medium.writes == [["a", "b", "c"], ["b"]]


async def test_a_claim_that_was_beaten_is_judged_by_what_is_there_now(medium: Medium) -> None:
    """The pointer has moved: nobody gets an occurrence twice."""
    await medium.save_job(JobRecord(id="a", next_run=NOW))

    def settle(changes: Sequence[Change[JobRow]]) -> None:
        medium.meanwhile = lambda _: None
        medium.rows["a"] = (7, row_of("a", Kept(JobRecord(id="a", next_run=NOW + MINUTE), None, {})))

    medium.meanwhile = settle
    (verdict,) = (await medium.claim(requests("a"), "me/1", MINUTE)).verdicts
    assert not isinstance(verdict, Granted)
    assert medium.rows["a"][0] == 7


async def test_who_is_always_beaten_hears_so_in_the_end(medium: Medium) -> None:
    """A call ends, whatever others do."""
    await medium.save_job(JobRecord(id="a"))
    medium.meanwhile = lambda _: medium.touch("a")
    with pytest.raises(StorageError, match="'a' was changed by others"):
        await medium.set_paused("a")


async def test_a_long_batch_is_taken_in_parts_and_answered_as_one(medium: Medium) -> None:
    """A statement stays short; what belongs to one job stays together, in its order."""
    names = [f"job {n}" for n in range(1100)]
    for name in names:
        medium.rows[name] = (1, row_of(name, Kept(JobRecord(id=name, next_run=NOW), None, {})))
    asked = requests(*names, "job 0", "nobody")
    verdicts = (await medium.claim(asked, "me/1", MINUTE)).verdicts
    assert [len(part) for part in medium.reads] == [500, 500, 101]
    assert all(isinstance(verdict, Granted) for verdict in verdicts[:-1])
    assert verdicts[-2] == verdicts[0], "asked again by the same owner: the same lease"
    assert isinstance(verdicts[-1], Gone)


async def test_an_empty_batch_still_tells_the_time(medium: Medium) -> None:
    """An answer has the storage's clock, even if nothing was asked."""
    assert await medium.claim([], "me/1", MINUTE) == (NOW, [])


async def test_a_verb_that_raises_writes_nothing(medium: Medium) -> None:
    """Its exception is the caller's."""
    with pytest.raises(JobNotFoundError):
        await medium.delete_job("nobody")
    assert medium.writes == []


async def test_what_changes_nothing_is_not_written(medium: Medium) -> None:
    """Asking for a record costs no write."""
    await medium.save_job(JobRecord(id="a"))
    medium.writes.clear()
    await medium.get_job("a")
    await medium.release_lock("a", "nobody")
    assert medium.writes == []


async def test_what_cannot_be_read_is_never_overwritten(medium: Medium) -> None:
    """A job of that id cannot be made beside it; the claims of other jobs go on."""
    await medium.save_job(JobRecord(id="a", next_run=NOW))
    medium.unreadable = {"bad"}
    for call in (medium.save_job(JobRecord(id="bad")), medium.get_job("bad"), medium.acquire_lock("bad", "me", MINUTE)):
        with pytest.raises(StorageCorruptError, match="'bad'"):
            await call
    verdicts = (await medium.claim(requests("bad", "a"), "me/1", MINUTE)).verdicts
    assert [type(verdict) for verdict in verdicts] == [Gone, Granted]


async def test_many_writers_of_one_job_all_get_their_turn(medium: Medium) -> None:
    """Each of them reads what the one before has written."""
    await medium.save_job(JobRecord(id="a"))
    real = medium._read

    async def read(job_ids: Sequence[str], *, floors: bool, history: bool) -> Reading[JobRow]:
        reading = await real(job_ids, floors=floors, history=history)
        await asyncio.sleep(0)  # so that they come between each other's reading and writing
        return reading

    medium._read = read  # type: ignore[method-assign]
    await asyncio.gather(*(medium.acquire_lock("a", "me", n * MINUTE) for n in range(1, 21)))
    assert medium.rows["a"][0] == 21
