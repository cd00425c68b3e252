"""The table's index against a plain search, its floors, and what its locks do."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chrono_async import models
from chrono_async.claims import ClaimRequest, Granted, Outcome, PointerMove, Release
from chrono_async.models import (
    Definition,
    Due,
    InstanceInfo,
    JobRecord,
    JobStatus,
    RunRecord,
    RunStatus,
    Trigger,
)
from chrono_async.policies import Overlap, Policies, Recovery
from chrono_async.storage._table import shelf
from chrono_async.storage._table.index import DueIndex
from chrono_async.storage._table.instants import microseconds_of
from chrono_async.storage._table.shelf import Moment
from chrono_async.storage._table.table import Table

START = datetime(2030, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
TTL = 5 * SECOND

IDS = st.sampled_from("abcdef")
SHIFTS = st.integers(-3, 12)
VERBS = [
    "save",
    "register",
    "delete",
    "claim",
    "manual",
    "settle",
    "release",
    "pause",
    "resume",
    "reschedule",
    "trigger",
    "lock",
    "pass",
    "look",
    "advance",
]
STEPS = st.lists(st.tuples(st.sampled_from(VERBS), IDS, SHIFTS), max_size=60)


class World:
    """A table, a clock, and who holds what."""

    def __init__(self) -> None:
        self.table = Table()
        self.at = Moment(START, 100.0)
        self.held: dict[str, Granted] = {}
        self.number = 0

    def do(self, verb: str, job_id: str, shift: int) -> None:
        record = self.table.records.get(job_id)
        getattr(self, f"do_{verb}")(job_id, record, self.at.now + shift * SECOND)

    def do_save(self, job_id: str, record: JobRecord | None, moment: datetime) -> None:
        waits = moment + SECOND if moment > self.at.now else None
        manual = Trigger(moment, not_before=waits) if self.number % 3 == 2 else None
        self.table.save(JobRecord(id=job_id, next_run=moment, not_before=None if manual else waits, manual=manual))

    def do_register(self, job_id: str, record: JobRecord | None, moment: datetime) -> None:
        declared = str(moment)
        self.table.register(JobRecord(id=job_id, next_run=moment, schedule=Definition(declared, "")), self.at.now)

    def do_delete(self, job_id: str, record: JobRecord | None, moment: datetime) -> None:
        if record is not None:
            self.table.delete(job_id)

    def do_claim(self, job_id: str, record: JobRecord | None, moment: datetime) -> None:
        if record is not None and record.next_run is not None:
            fire_time = record.bound_fire_time or record.next_run
            self.claim(ClaimRequest(job_id, record.next_run, fire_time, record.revision))

    def do_manual(self, job_id: str, record: JobRecord | None, moment: datetime) -> None:
        manual = None if record is None else models.pending_manual(record)
        if record is not None and manual is not None:
            self.claim(ClaimRequest(job_id, record.next_run, manual.at, record.revision, manual=True))

    def claim(self, request: ClaimRequest) -> None:
        self.number += 1
        (verdict,) = self.table.claim([request], f"me/{self.number}", TTL, self.at)
        if isinstance(verdict, Granted):
            self.held[request.job_id] = verdict

    def do_settle(self, job_id: str, record: JobRecord | None, moment: datetime) -> None:
        granted = self.held.get(job_id)
        if granted is not None:
            revision = 0 if record is None else record.revision
            row = RunRecord(job_id, START, RunStatus.COMPLETED, token=granted.lease.token, error=str(self.number))
            move = PointerMove(granted.next_run, revision, moment)
            self.table.settle([Outcome(granted.lease, row, move)], self.at)

    def do_release(self, job_id: str, record: JobRecord | None, moment: datetime) -> None:
        granted = self.held.get(job_id)
        if granted is not None:
            self.table.release([Release(granted.lease, moment if moment > self.at.now else None)], self.at)

    def do_pause(self, job_id: str, record: JobRecord | None, moment: datetime) -> None:
        if record is not None:
            self.table.set_paused(job_id)

    def do_resume(self, job_id: str, record: JobRecord | None, moment: datetime) -> None:
        if record is not None:
            self.table.resume(job_id, revision=record.revision, next_run=moment, now=self.at.now)

    def do_reschedule(self, job_id: str, record: JobRecord | None, moment: datetime) -> None:
        if record is not None:
            new = Definition("x", "y")
            self.table.reschedule(job_id, new, revision=record.revision, next_run=moment, now=self.at.now)

    def do_trigger(self, job_id: str, record: JobRecord | None, moment: datetime) -> None:
        if record is not None:
            self.table.trigger(job_id, Trigger(moment), self.at.now)

    def do_lock(self, job_id: str, record: JobRecord | None, moment: datetime) -> None:
        self.table.acquire(job_id, "other", TTL, self.at)

    def do_pass(self, job_id: str, record: JobRecord | None, moment: datetime) -> None:
        self.at = Moment(self.at.now + SECOND, self.at.boot + 1)

    def do_look(self, job_id: str, record: JobRecord | None, moment: datetime) -> None:
        self.table.bury_lost(self.at)
        self.table.due(moment, self.at, limit=2)

    def do_advance(self, job_id: str, record: JobRecord | None, moment: datetime) -> None:
        if record is not None and record.next_run is not None:
            row = RunRecord(job_id, record.next_run, RunStatus.MISSED)
            self.table.advance(job_id, row, revision=record.revision, next_run=moment, at=self.at)

    def due(self, until: datetime, limit: int) -> list[Due]:
        found: list[Due] = []
        while True:
            page, more = self.table.due(until, self.at, limit=limit, after=found[-1] if found else None)
            found += page
            if not more:
                return found

    def searched(self, until: datetime) -> list[Due]:
        found = []
        for job_id, record in self.table.records.items():
            lock = self.table.locks.get(job_id)
            alive = lock is not None and lock.until > self.at.boot
            until_wall = self.at.now + timedelta(seconds=lock.until - self.at.boot) if lock and alive else None
            due = models.due_of(record, until_wall)
            if due is not None and due.when < until:
                found.append(due)
        return sorted(found, key=models.place_of)


@given(STEPS, st.integers(-2, 20), st.integers(1, 4))
@settings(max_examples=400, deadline=None)
def test_the_index_finds_what_a_search_of_all_jobs_finds(
    steps: list[tuple[str, str, int]], horizon: int, limit: int
) -> None:
    """After any history, in any pages; and the records stay well-formed."""
    world = World()
    for step in steps:
        world.do(*step)
        for record in world.table.records.values():
            assert (record.status is JobStatus.RUNNING) == (record.owner is not None)
            assert (record.owner is None) == (record.running is None) == (record.lease_until is None)
            assert record.settled_token <= record.token
    until = world.at.now + horizon * SECOND
    assert world.due(until, limit) == world.searched(until)
    come = [r.id for r in world.table.records.values() if not r.paused and r.next_run and r.next_run <= world.at.now]
    assert sorted(r.id for r in world.table.due_records(world.at.now)) == sorted(come)


@given(st.lists(st.tuples(st.integers(0, 50), IDS), max_size=3000), st.integers(0, 50))
@settings(max_examples=30, deadline=None)
def test_the_index_is_sorted_whatever_comes_and_goes(entries: list[tuple[int, str]], horizon: int) -> None:
    """Also beyond the length of one of its parts."""
    index = DueIndex()
    made = [(START + n * SECOND, job_id) for n, job_id in entries] * 2
    for entry in made:
        index.add(entry)
    for entry in made[::3]:
        index.discard(entry)
        made.remove(entry)
    assert len(index) == len(made)
    found, after, until = set(), None, START + horizon * SECOND
    while chunk := index.chunk(until, after):
        assert chunk == sorted(chunk)
        assert after is None or chunk[0] > after
        found |= set(chunk)
        after = chunk[-1]
    assert found == {entry for entry in made if entry[0] < until}


def test_a_long_index_is_cut_into_short_parts() -> None:
    """So that putting one in does not move all the others."""
    index = DueIndex()
    for n in range(20_000):
        index.add((START + (n * 7919 % 20_000) * SECOND, "a"))
    assert max(len(part) for part in index._parts) <= 1000
    assert index._lasts == [part[-1] for part in index._parts]


def test_tokens_and_revisions_grow_even_if_the_clock_goes_back() -> None:
    """Across removal and the same id added again, by a floor that the storage keeps."""
    world = World()
    first = world.table.register(JobRecord(id="a", next_run=START, schedule=Definition("d", "b")), START).record
    world.do_claim("a", world.table.records["a"], START)
    token = world.held["a"].lease.token
    world.table.delete("a")
    earlier = START - timedelta(days=1)
    world.at = Moment(earlier, 100.0)
    again = world.table.register(JobRecord(id="a", next_run=earlier, schedule=Definition("d", "b")), earlier).record
    assert again.revision > first.revision
    assert again.token >= token
    world.do_claim("a", world.table.records["a"], START)
    assert world.held["a"].lease.token > token


def test_tokens_grow_even_if_a_record_is_overwritten_by_an_older_one() -> None:
    """As who restores a backup does, with a clock that has gone back."""
    world = World()
    world.table.save(JobRecord(id="a", next_run=START, token=microseconds_of(START) + 5))
    world.table.save(JobRecord(id="a", next_run=START))
    world.do_claim("a", world.table.records["a"], START)
    assert world.held["a"].lease.token > microseconds_of(START) + 5


def test_dead_runs_that_nobody_will_claim_again_are_written_down_when_somebody_looks() -> None:
    """An at-most-once job that has finished would show as running for ever."""
    world = World()
    options = Policies(recovery=Recovery.SKIP)
    world.table.register(JobRecord(id="a", next_run=START, schedule=Definition("d", "b"), options=options), START)
    revision = world.table.records["a"].revision
    world.claim(ClaimRequest("a", START, START, revision, moves=True, moves_to=None))
    assert world.table.records["a"].status is JobStatus.RUNNING
    world.at = Moment(START + 6 * SECOND, 106.0)
    world.table.bury_lost(world.at)
    assert world.table.records["a"].status is JobStatus.FAILED
    assert [row.status for row in world.table.history] == [RunStatus.ABANDONED]
    assert world.table.locks == {}


def test_a_dead_run_is_written_down_even_if_its_lock_is_gone() -> None:
    """Somebody with the eight methods took the lock over and gave it back: no lock is left to say that it ran out."""
    world = World()
    options = Policies(recovery=Recovery.SKIP)
    world.table.register(JobRecord(id="a", next_run=START, schedule=Definition("d", "b"), options=options), START)
    revision = world.table.records["a"].revision
    world.claim(ClaimRequest("a", START, START, revision, moves=True, moves_to=None))
    world.at = Moment(START + 6 * SECOND, 106.0)
    assert world.table.acquire("a", "old style", TTL, world.at)
    world.table.bury_lost(world.at, ["a"])
    assert world.table.records["a"].status is JobStatus.RUNNING, "it may be the owner's own lock"
    world.table.give_back("a", "old style")
    world.table.bury_lost(world.at, ["a", "nobody"])
    assert world.table.records["a"].status is JobStatus.FAILED
    assert [row.status for row in world.table.history] == [RunStatus.ABANDONED]


def test_a_dead_run_that_is_due_again_is_left_to_its_next_claim() -> None:
    """Until then its owner may be heard of again."""
    world = World()
    world.table.register(JobRecord(id="a", next_run=START, schedule=Definition("d", "b")), START)
    world.do_claim("a", world.table.records["a"], START)
    world.at = Moment(START + 6 * SECOND, 106.0)
    world.table.bury_lost(world.at)
    assert world.table.renew([world.held["a"].lease], TTL, world.at) == []


def flying(world: World) -> JobRecord:
    """Return a job of which a run flies."""
    world.table.save(JobRecord(id="a", next_run=START, options=Policies(overlap=Overlap.ALLOW)))
    world.claim(ClaimRequest("a", START, START, 0, moves=True, moves_to=START + 60 * SECOND, frees=True))
    return world.table.get("a").copy()


def test_a_record_that_is_overwritten_takes_its_flights_along() -> None:
    """All but those that the new one lists: what no record knows of would be looked at, and never buried."""
    world = World()
    record = flying(world)
    world.table.save(record)
    assert len(world.table.flights) == 1
    world.table.save(JobRecord(id="a"))
    assert world.table.flights == {}


def test_a_flight_that_no_record_lists_is_forgotten_when_it_has_ended() -> None:
    """As that of a job in a file that cannot be read: a look that finds it takes the file's lock."""
    world = World()
    flying(world)
    del world.table.records["a"]
    world.table.bury_lost(world.at)
    assert len(world.table.flights) == 1, "somebody may put the job right"
    world.at = Moment(START + 6 * SECOND, 106.0)
    world.table.bury_lost(world.at)
    assert world.table.dead(world.at.boot) == []


def test_instances_that_are_not_heard_of_are_forgotten() -> None:
    """So that their number is bounded."""
    table = Table()
    for n in range(1000):
        table.heartbeat(InstanceInfo(str(n), START, START), START + n * 10 * SECOND)
    assert len(table.instances) < 100


def test_due_costs_what_it_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what is registered: a page of a large table looks at a page of records."""
    table, looked = Table(), []
    for n in range(20_000):
        table.save(JobRecord(id=str(n), next_run=START + n * SECOND))
    real = models.earliest
    monkeypatch.setattr(shelf, "earliest", lambda record: (looked.append(record.id), real(record))[1])
    page, _ = table.due(START + 10 * SECOND, Moment(START, 1.0))
    assert len(page) == 10
    assert len(looked) < 50


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_pages_do_not_lose_jobs_whose_time_moved_meanwhile(limit: int) -> None:
    """A run between two pages puts its job further on, where a later page finds it."""
    world = World()
    for name in "abcdef":
        world.table.save(JobRecord(id=name, next_run=START, revision=5))
    (first, *_), _ = world.table.due(START + 10 * SECOND, world.at, limit=limit)
    world.do_claim("f", world.table.records["f"], START)
    world.do_settle("f", world.table.records["f"], START + SECOND)
    rest, _ = world.table.due(START + 10 * SECOND, world.at, after=first)
    assert [(due.job_id, due.when) for due in rest][-1] == ("f", START + SECOND)
    assert len(rest) == 5


@pytest.mark.parametrize("limit", [1, 250, 499, 500, 501, 1000])
def test_a_page_that_ends_with_a_part_of_the_index_is_not_the_last(limit: int) -> None:
    """Whatever the size of the page, and of the parts."""
    world = World()
    for n in range(1700):
        world.table.save(JobRecord(id=str(n), next_run=START + n * SECOND))
    until = START + 1650 * SECOND
    assert len(world.due(until, limit)) == 1650
