"""What is done in one step, since the job is recalled, and what is read after all."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from chrono_async.claims import ClaimRequest, Early, Granted, Outcome, PointerMove, SettleVerdict
from chrono_async.models import JobRecord, RunRecord, RunStatus
from chrono_async.storage._ledger.optimistic import Reading, Written
from chrono_async.storage._ledger.recalling import RecallingLedger
from chrono_async.storage._ledger.rows import JobRow, kept_of, row_of
from chrono_async.storage._ledger.sheet import Change, Floors, Kept, Stored
from chrono_async.storage._table.shelf import Moment

START = datetime(2030, 1, 1, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


class Server:
    """Rows with versions, and a clock; `boot` is that of the machines that ask."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[int, JobRow]] = {}
        self.floors, self.now, self.boot, self.version = Floors(), START, 0.0, 0

    def pass_(self, span: timedelta) -> None:
        self.now, self.boot = self.now + span, self.boot + span.total_seconds()


class Ledger(RecallingLedger[JobRow]):
    """A way to the server that notes what is asked of it."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._time.boot = lambda: server.boot
        self.server, self.asked = server, list[str]()

    async def _read(self, job_ids: Sequence[str], *, floors: bool, history: bool) -> Reading[JobRow]:
        self.asked.append("read")
        server = self.server
        found = {job_id: server.rows[job_id] for job_id in job_ids if job_id in server.rows}
        stored = {job_id: Stored(version, row, kept_of(row)) for job_id, (version, row) in found.items()}
        return Reading(Moment(server.now, server.now.timestamp()), stored, server.floors)

    async def _write(
        self,
        changes: Sequence[Change[JobRow]],
        floors: Floors | None,
        *,
        as_of: datetime | None = None,
        until: datetime | None = None,
    ) -> Written:
        self.asked.append("write")
        server = self.server
        if not (as_of or server.now) <= server.now <= (until or server.now):
            return Written(server.now, ())
        server.version, server.floors = server.version + 1, floors or server.floors
        return Written(server.now, {change.job_id for change in changes if self._put(change)}, server.version)

    def _put(self, change: Change[JobRow]) -> bool:
        rows = self.server.rows
        if rows.get(change.job_id, (0, ()))[0] != change.version:
            return False
        if change.row is None:
            del rows[change.job_id]
        else:
            rows[change.job_id] = (self.server.version, change.row)
        return True

    def _row_of(self, job_id: str, kept: Kept) -> JobRow:
        return row_of(job_id, kept)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def ledger(server: Server) -> Ledger:
    return Ledger(server)


async def claim(ledger: Ledger, fire_time: datetime, owner: str = "me/1", job_id: str = "a") -> Granted | object:
    request = ClaimRequest(job_id, fire_time, fire_time, revision=0)
    return (await ledger.claim([request], owner, MINUTE)).verdicts[0]


async def settle(ledger: Ledger, granted: Granted, next_run: datetime) -> SettleVerdict:
    assert granted.next_run is not None
    run = RunRecord("a", granted.next_run, RunStatus.COMPLETED, token=granted.lease.token)
    outcome = Outcome(granted.lease, run, PointerMove(granted.next_run, 0, next_run))
    return (await ledger.settle([outcome])).settled[0].verdict


async def test_what_one_has_written_oneself_is_not_read_again(server: Server, ledger: Ledger) -> None:
    """Claim, renewal and settling are one step each; so is the next claim."""
    await ledger.save_job(JobRecord(id="a", next_run=START))
    ledger.asked.clear()
    for n in range(3):
        granted = await claim(ledger, START + n * MINUTE)
        assert isinstance(granted, Granted)
        server.pass_(SECOND)
        assert (await ledger.renew([granted.lease], MINUTE)).lost == []
        assert await settle(ledger, granted, START + (n + 1) * MINUTE) is SettleVerdict.DONE
        server.pass_(MINUTE)
    assert ledger.asked == ["write"] * 9
    assert (await ledger.get_job("a")).run_count == 3


async def test_what_another_has_changed_is_read(server: Server, ledger: Ledger) -> None:
    """The write on condition fails, and the answer is given on what is there."""
    await ledger.save_job(JobRecord(id="a", next_run=START))
    await Ledger(server).set_paused("a")
    ledger.asked.clear()
    assert not isinstance(await claim(ledger, START), Granted)
    assert ledger.asked == ["write", "read"]


async def test_where_others_are_at_work_what_is_free_is_read_at_once(server: Server, ledger: Ledger) -> None:
    """They will have changed more than that; what one holds oneself is recalled as ever."""
    for job_id in "abc":
        await ledger.save_job(JobRecord(id=job_id, next_run=START))
    mine = await claim(ledger, START, job_id="c")
    assert isinstance(mine, Granted)
    for job_id in "ab":
        await claim(Ledger(server), START, owner="other/1", job_id=job_id)
    ledger.asked.clear()
    await claim(ledger, START, owner="me/2")
    assert ledger.asked == ["write", "read"]
    await claim(ledger, START, owner="me/2", job_id="b")
    await ledger.renew([mine.lease], 2 * MINUTE)
    assert ledger.asked[2:] == ["read", "write"]


async def test_no_refusal_is_given_on_what_is_only_recalled(server: Server, ledger: Ledger) -> None:
    """What has been paused may have been resumed by now."""
    await ledger.save_job(JobRecord(id="a", next_run=START))
    await ledger.set_paused("a")
    await Ledger(server).resume("a", revision=0, next_run=START)
    assert isinstance(await claim(ledger, START), Granted)


async def test_a_job_that_another_has_removed_is_not_brought_back(server: Server, ledger: Ledger) -> None:
    """A change of what is gone fits no version."""
    await ledger.save_job(JobRecord(id="a", next_run=START))
    await Ledger(server).delete_job("a")
    assert not isinstance(await claim(ledger, START), Granted)
    assert server.rows == {}


@pytest.mark.parametrize("seconds", [-30, 30])
async def test_nothing_is_decided_by_a_time_that_the_server_does_not_have(
    server: Server, ledger: Ledger, seconds: int
) -> None:
    """Its clock was set: a lease would last for too long, or be over before it began."""
    await ledger.save_job(JobRecord(id="a", next_run=START - MINUTE))
    server.now += seconds * SECOND
    ledger.asked.clear()
    assert isinstance(await claim(ledger, START - MINUTE), Granted)
    assert ledger.asked == ["write", "read", "write"]
    lock = kept_of(server.rows["a"][1]).lock
    assert lock is not None
    assert lock.until == (server.now + MINUTE).timestamp()
    ledger.asked.clear()
    await ledger.release_lock("a", "me/1")
    assert ledger.asked == ["write"], "the new time is known"


async def test_who_asks_too_early_is_told_by_the_servers_own_clock(server: Server, ledger: Ledger) -> None:
    """The time that is carried on lags a little: it must not make a claim late."""
    await ledger.save_job(JobRecord(id="a", next_run=START + 10 * SECOND))
    server.now += 9.5 * SECOND
    early = await claim(ledger, START + 10 * SECOND)
    assert early == Early(SECOND / 2)
    server.now += SECOND / 2
    assert isinstance(await claim(ledger, START + 10 * SECOND), Granted)


async def test_tokens_grow_past_those_of_a_record_that_was_overwritten(server: Server, ledger: Ledger) -> None:
    """The floor is known of all that is recalled."""
    server.now = START - 1000 * MINUTE  # so that no token is raised by the time
    high = (server.now.timestamp() + 3600) * 1_000_000
    await ledger.save_job(JobRecord(id="a", next_run=server.now, token=int(high)))
    await ledger.save_job(JobRecord(id="a", next_run=server.now))
    ledger.asked.clear()
    granted = await claim(ledger, server.now)
    assert isinstance(granted, Granted)
    assert granted.lease.token > high
    assert ledger.asked == ["write"]


async def test_a_job_that_is_added_under_a_lock_begins_where_others_have_ended(server: Server, ledger: Ledger) -> None:
    """A lock without a record is not recalled: what tokens have come to elsewhere is read."""
    assert await ledger.acquire_lock("a", "me", MINUTE)
    another = Ledger(server)
    await another.save_job(JobRecord(id="b", token=7))
    await another.delete_job("b")
    assert (await ledger.register(JobRecord(id="a"))).record.token == 7


async def test_a_verb_that_raises_on_what_is_recalled_is_asked_about_what_is_there(
    server: Server, ledger: Ledger
) -> None:
    """A lock without a record is no job, until somebody adds one."""
    assert await ledger.acquire_lock("a", "me", MINUTE)
    await Ledger(server).save_job(JobRecord(id="a"))
    assert (await ledger.set_paused("a")).paused
