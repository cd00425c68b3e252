"""What holds for a Redis that many hosts share: who gets what, what is found due, and what is tidied up."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from chrono_async.claims import Granted, Moved, Outcome, PointerMove
from chrono_async.errors import JobNotFoundError
from chrono_async.models import InstanceInfo, JobRecord, RunRecord, RunStatus
from chrono_async.storage import RedisStorage
from chrono_async.storage._ledger.memory import Memory
from chrono_async.storage._ledger.sheet import Kept, Stored
from chrono_async.storage._redis import link
from chrono_async.storage._redis.rows import FARTHEST

from .redis_steps import (
    LONG_AGO,
    MINUTE,
    TTL,
    Open,
    all_due,
    claim,
    jobs,
    keys_of,
    let_all_read_first,
    put,
    request,
    run,
    scripts_run,
)
from .set_clocks import an_hour_ahead_at_first

# ── who gets what ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_two_storages_that_race_for_200_jobs_get_each_once(open_: Open) -> None:
    """Two hosts ask for the same batch at the same moment; each occurrence has one owner, and none is lost."""
    one, two = open_(), open_()
    await put(one, jobs(200))
    requests = [request(due) for due in await all_due(one)]
    assert len(requests) == 200
    let_all_read_first(20, one, two)
    answers = await asyncio.gather(
        *(storage.claim(requests[at : at + 20], f"{name}/{at}", TTL)
          for at in range(0, 200, 20) for name, storage in (("one", one), ("two", two)))
    )  # fmt: skip
    granted = [verdict.lease for answer in answers for verdict in answer.verdicts if isinstance(verdict, Granted)]
    assert sorted(lease.job_id for lease in granted) == [record.id for record in jobs(200)]
    assert {(r.id, r.owner, r.token) for r in await two.list_jobs()} == {(g.job_id, g.owner, g.token) for g in granted}


async def test_one_of_a_hundred_tasks_on_two_hosts_gets_an_occurrence(open_: Open) -> None:
    """Who was beaten to the write reads again, and is told who has it."""
    one, two = open_(), open_()
    await put(one, jobs(1))
    (due,) = await all_due(one)
    let_all_read_first(100, one, two)
    answers = await asyncio.gather(*((one, two)[n % 2].claim([request(due)], f"{n}/1", TTL) for n in range(100)))
    assert sum(isinstance(answer.verdicts[0], Granted) for answer in answers) == 1


async def test_counters_are_exact_when_two_hosts_take_turns(open_: Open) -> None:
    """As many runs as were settled, whoever settled them."""
    one, two = open_(), open_()
    await put(one, jobs(1))
    for n in range(10):
        await run((one, two)[n % 2], "job 00000")
    assert (await one.get_job("job 00000")).run_count == 10


async def test_what_another_host_has_changed_is_seen(open_: Open) -> None:
    """A storage remembers jobs, and asks the server whether they are still so; also of those that it wrote itself."""
    one, two = open_(), open_()
    await put(one, jobs(2))
    paused, free = await all_due(one)
    await two.set_paused("job 00000")
    verdicts = (await one.claim([request(paused), request(free)], "me/1", TTL)).verdicts
    assert [type(verdict) for verdict in verdicts] == [Moved, Granted]
    await two.delete_job("job 00001")
    with pytest.raises(JobNotFoundError):
        await one.get_job("job 00001")


async def test_what_is_remembered_is_nobody_elses(open_: Open) -> None:
    """A record that its holder changes changes nothing that a later call works with."""
    storage = open_()
    await put(storage, jobs(1))
    for look in (storage.get_job, storage.set_paused):
        (await look("job 00000")).name = "changed"
        assert (await storage.get_job("job 00000")).name == "Job"


async def test_what_is_forgotten_while_the_server_is_asked_is_not_lost(open_: Open) -> None:
    """It answers that the job is as it was; that must not come to mean that there is none."""
    storage = open_()
    await put(storage, jobs(1))
    await all_due(storage)
    real = storage._link.ask

    async def forgetful(*words: Any) -> list[Any]:
        storage._memory = Memory()
        return await real(*words)

    storage._link.ask = forgetful  # type: ignore[method-assign]
    assert (await storage.get_job("job 00000")).name == "Job"


def test_no_more_is_remembered_than_there_is_room_for() -> None:
    """The newest stay."""
    memory, kept = Memory[tuple[()]](most=2), Kept(JobRecord(id="any"), None, {})
    for version, job_id in enumerate("abac"):
        memory.note({job_id: Stored(version, (), kept)})
    assert [job_id for job_id in "abcd" if memory.take([job_id])] == ["a", "c"]


async def test_namespaces_do_not_touch(open_: Open) -> None:
    """Two programs on one server, with jobs of the same ids."""
    one, two = open_(namespace=uuid4().hex), open_(namespace=uuid4().hex)
    await put(one, jobs(3))
    await one.heartbeat(InstanceInfo("me", LONG_AGO, LONG_AGO))
    await run(one, "job 00000")
    assert await two.list_jobs() == await two.list_runs() == await two.list_instances() == await all_due(two) == []


# ── the index of what is due ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("limit", [1, 7, 1000])
async def test_pages_follow_the_order_of_the_texts(open_: Open, limit: int) -> None:
    """Among equal times the ids decide, by their characters and not by the server's language; each comes once."""
    storage = open_()
    ids = ["Z", "a", "ä", "B", "a b", "ab", "\ud800", "\U0001f570", "0", "é" * 40, "\n", "\x7f", "{", '"', "\\"]
    await put(storage, [JobRecord(id=job_id, next_run=LONG_AGO) for job_id in ids])
    assert [due.job_id for due in await all_due(storage, limit)] == sorted(ids)


async def test_a_page_can_follow_one_whose_last_job_is_gone(open_: Open) -> None:
    """What was claimed or removed between two pages hides nothing."""
    storage = open_()
    await put(storage, jobs(5))
    page = await storage.due(LONG_AGO, LONG_AGO, limit=2)
    await storage.delete_job("job 00001")
    await storage.claim([request(page.due[0])], "me/1", TTL)
    rest = await storage.due(LONG_AGO, LONG_AGO, after=page.due[-1])
    assert [due.job_id for due in rest.due] == ["job 00002", "job 00003", "job 00004"]


async def test_ten_thousand_due_jobs_cost_tens_of_round_trips(open_: Open, admin: Any) -> None:
    """Reading them, claiming them and settling them, in batches as an engine does."""
    storage = open_()
    await put(storage, jobs(10_000))
    before = await scripts_run(admin)
    due = await all_due(storage)
    assert len(due) == 10_000
    claims = await storage.claim([request(one) for one in due[:2000]], "me/1", TTL)
    outcomes = [
        Outcome(
            v.lease, RunRecord(v.lease.job_id, LONG_AGO, RunStatus.COMPLETED), PointerMove(v.next_run, 0, v.next_run)
        )
        for v in claims.verdicts
        if isinstance(v, Granted)
    ]
    await storage.settle(outcomes)
    assert len(outcomes) == 2000
    assert await scripts_run(admin) - before <= 30


async def test_ten_thousand_excluded_jobs_are_left_out_in_one_round_trip(open_: Open, admin: Any) -> None:
    """An instance that can run few of many jobs does not page through the others."""
    storage = open_()
    await put(storage, jobs(10_001))
    before = await scripts_run(admin)
    page = await storage.due(LONG_AGO, LONG_AGO, exclude={record.id for record in jobs(10_000)}, limit=100)
    assert [due.job_id for due in page.due] == ["job 10000"]
    assert not page.more
    assert await scripts_run(admin) - before == 1


async def test_what_is_due_beyond_the_scores_is_due_after_all_else(open_: Open) -> None:
    """A double tells microseconds apart until 2255; a job at the end of the calendar is still found."""
    storage, last = open_(), datetime.max.replace(tzinfo=UTC)
    await put(storage, [JobRecord(id="a", next_run=last), JobRecord(id="b", next_run=last - MINUTE)])
    await put(storage, [JobRecord(id="first", next_run=datetime.min.replace(tzinfo=UTC))])
    assert [record.id for record in await storage.get_due_jobs(datetime.now(UTC))] == ["first"]
    assert {record.id for record in await storage.get_due_jobs(last)} == {"first", "a", "b"}
    page = await storage.due(datetime.now(UTC), last)
    assert [(due.job_id, due.when) for due in page.due[1:]] == [("a", last), ("b", last - MINUTE)]
    assert last.timestamp() * 1e6 > FARTHEST


async def test_jobs_are_due_for_the_eight_methods_whoever_holds_them(open_: Open) -> None:
    """`get_due_jobs` tells of pointers, not of locks."""
    storage = open_()
    await put(storage, jobs(2500))
    await claim(storage, "job 00000")
    due = await storage.get_due_jobs(LONG_AGO)
    assert sorted(record.id for record in due) == [record.id for record in jobs(2500)]


# ── what is tidied up ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_looking_for_what_is_due_buries_the_dead(open_: Open) -> None:
    """A run of at most once whose process died is claimed by nobody again: looking writes it down."""
    storage = open_()
    await put(storage, jobs(1))
    await claim(storage, "job 00000", owner="dead/1", moves=True, moves_to=None, ttl=timedelta(milliseconds=50))
    async with asyncio.timeout(10):
        while not await storage.list_runs():
            assert await all_due(storage) == []
    (row,) = await storage.list_runs()
    assert (row.status, row.instance_id) == (RunStatus.ABANDONED, "dead")
    assert (await storage.get_job("job 00000")).owner is None


async def test_a_lock_without_a_job_leaves_nothing_behind(open_: Open, admin: Any, namespace: str) -> None:
    """Whoever locks a new name each time must not fill the server."""
    storage = open_()
    assert await storage.acquire_lock("a", "me", timedelta(milliseconds=20))
    async with asyncio.timeout(10):
        while await admin.hlen(f"{{{namespace}}}:jobs"):
            await all_due(storage)
    assert await keys_of(admin, namespace) == {f"{{{namespace}}}:meta"}


async def test_history_is_kept_to_a_bound_for_each_and_for_all(open_: Open, admin: Any, namespace: str) -> None:
    """The newest stay, and nothing of the others does."""
    storage = open_(history=3, total_history=5)
    await put(storage, jobs(2))
    for n in range(5):
        await run(storage, "job 00000", f"a{n}")
    for n in range(4):
        await run(storage, "job 00001", f"b{n}")
    assert [row.error for row in await storage.list_runs()] == ["b3", "b2", "b1", "a4", "a3"]
    assert [row.error for row in await storage.list_runs("job 00000")] == ["a4", "a3"]
    assert [row.error for row in await storage.list_runs("job 00001", limit=2)] == ["b3", "b2"]
    assert await storage.list_runs(limit=0) == []
    assert await admin.hlen(f"{{{namespace}}}:runs") == await admin.zcard(f"{{{namespace}}}:order") == 5


async def test_old_history_is_forgotten(open_: Open, admin: Any, namespace: str) -> None:
    """By a heartbeat, when it is older than one wants it."""
    storage, forgetful = open_(), open_(history_age=timedelta(microseconds=1))
    await put(storage, jobs(1))
    await run(storage, "job 00000")
    await storage.heartbeat(InstanceInfo("me", LONG_AGO, LONG_AGO))
    assert len(await storage.list_runs()) == 1
    await forgetful.heartbeat(InstanceInfo("me", LONG_AGO, LONG_AGO))
    assert await storage.list_runs() == await storage.list_runs("job 00000") == []
    left = await keys_of(admin, namespace)
    assert not left & {f"{{{namespace}}}:{name}" for name in ("runs", "log", "order")}


async def test_no_history_is_a_choice(open_: Open) -> None:
    """Runs are settled all the same."""
    storage = open_(history=0)
    await put(storage, jobs(1))
    await run(storage, "job 00000")
    assert await storage.list_runs() == []
    assert (await storage.get_job("job 00000")).run_count == 1


async def test_instances_not_heard_of_for_long_are_forgotten(open_: Open, admin: Any, namespace: str) -> None:
    """They are not listed, and the next heartbeat of another removes what was known of them."""
    storage = open_()
    await storage.heartbeat(InstanceInfo("gone \ud800", LONG_AGO, LONG_AGO, frozenset({"a"})))
    assert [instance.instance_id for instance in await storage.list_instances()] == ["gone \ud800"]
    await admin.zadd(f"{{{namespace}}}:seen", {"gone \ud800".encode("utf-8", "surrogatepass"): 1})
    assert await storage.list_instances() == []
    await storage.heartbeat(InstanceInfo("me", LONG_AGO, LONG_AGO))
    assert await admin.hkeys(f"{{{namespace}}}:instances") == [b"me"]


async def test_a_lease_from_the_future_is_shortened_to_its_length(
    open_: Open, admin: Any, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the server's clock goes back by an hour, a dead owner holds its job for its ttl and not for an hour more."""
    storage = open_()
    await put(storage, jobs(2))
    await claim(storage, "job 00000")
    await an_hour_ahead(storage, "job 00001", admin, namespace, monkeypatch)
    renamed = jobs(2)[1]
    renamed.name = "renamed"
    await storage.register(renamed)  # a change that does not touch the lease, which began when it began
    before = {record.id: record.lease_until for record in await storage.list_jobs()}
    await storage.heartbeat(InstanceInfo("me", LONG_AGO, LONG_AGO))
    after = {record.id: record.lease_until for record in await storage.list_jobs()}
    assert after["job 00000"] == before["job 00000"]
    assert before["job 00001"] - after["job 00001"] > timedelta(minutes=59)
    now = (await storage.due(LONG_AGO, LONG_AGO)).now
    assert abs(after["job 00001"] - now - TTL) < timedelta(seconds=5)
    due = await storage.due(now, now + MINUTE)
    assert [one.job_id for one in due.due] == ["job 00000", "job 00001"]
    assert (
        await admin.zrange(f"{{{namespace}}}:leased", "(" + str(int(now.timestamp() * 1e6)), "+inf", byscore=True) == []
    )


async def test_what_was_decided_before_the_clock_went_back_is_decided_again(
    open_: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a lease could last for its ttl and an hour, and nobody would notice."""
    storage, told = open_(), list[datetime]()
    await put(storage, jobs(1))
    with monkeypatch.context() as patch:
        patch.setattr(RedisStorage, "_read", an_hour_ahead_at_first(RedisStorage._read, told))
        assert await open_().acquire_lock("job 00000", "dead", TTL)
    assert len(told) == 2
    (held,) = (await storage.due(told[1], told[1] + MINUTE)).due
    assert held.when <= told[1] + TTL


async def an_hour_ahead(
    storage: RedisStorage, job_id: str, admin: Any, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Claim a job as if the server's clock were an hour ahead of what it is soon to be."""
    real, hour = storage._link.run, 3_600_000_000

    async def ahead(script: Any, *words: Any) -> list[Any]:
        if script is link.WRITE:
            words = (*words[:-2], "", "")  # any time will do
        now, *rest = await real(script, *words)
        return [str(int(now) + hour).encode(), *rest]

    with monkeypatch.context() as patch:
        patch.setattr(storage._link, "run", ahead)
        await claim(storage, job_id)
    await admin.zincrby(f"{{{namespace}}}:leased", hour, job_id)
