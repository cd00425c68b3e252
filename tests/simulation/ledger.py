"""
A server that keeps rows with versions, and an instance's way to it: the code that PostgreSQL and Redis run on.

What the verbs come to is worked out within the instance, on what it has read or recalls, and written on condition. Each
reading and each writing goes over the network by itself: it can be late, lost before its effect or after it, and its
process can stand still or die in between. An effect is noted where it is written, an answer that needs none as of when
it was read.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

from chrono_async import JobRecord
from chrono_async.claims import ClaimAnswer, DuePage, RenewAnswer, SettleAnswer, Settled, SettleVerdict
from chrono_async.clock import Clock
from chrono_async.models import Due, InstanceInfo, RunRecord, due_of, place_of
from chrono_async.storage._hints import Hints
from chrono_async.storage._ledger.ledger import Call
from chrono_async.storage._ledger.optimistic import Reading, Written
from chrono_async.storage._ledger.recalling import RecallingLedger
from chrono_async.storage._ledger.rows import COLUMNS, JobRow, kept_of, row_of
from chrono_async.storage._ledger.sheet import Change, Floors, Kept, Stored
from chrono_async.storage._table.shelf import Moment
from chrono_async.storage._table.table import Table

from .history import Claimed, Renewed
from .network import Network
from .server import TTL
from .witness import NOTED, Witness

_DUE_AT, _BURY_AT = COLUMNS.index("due_at"), COLUMNS.index("bury_at")


class Page(NamedTuple):
    """What a server says is due, with the rows; or, if there are such, the jobs with a dead run to write down."""

    now: datetime
    dead: Sequence[str] = ()
    due: Sequence[Due] = ()
    stored: Mapping[str, Stored[JobRow]] = MappingProxyType({})
    more: bool = False


class RowServer:
    """Rows, each with its version, and a clock; what it does, it does in one step."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.rows: dict[str, tuple[int, JobRow]] = {}
        self.records: dict[str, JobRecord] = {}
        self.runs: list[RunRecord] = []
        self.instances: dict[str, InstanceInfo] = {}
        self.floors, self.version = Floors(), 0
        self.hints = Hints()

    def moment(self) -> Moment:
        """Return what time it is: leases end by the wall clock."""
        now = self.clock.now()
        return Moment(now, now.timestamp())

    def _stored(self, job_ids: Collection[str]) -> dict[str, Stored[JobRow]]:
        found = {job_id: self.rows[job_id] for job_id in job_ids if job_id in self.rows}
        return {job_id: Stored(version, row, kept_of(row)) for job_id, (version, row) in found.items()}

    def read(self, job_ids: Sequence[str], *, history: bool) -> Reading[JobRow]:
        """Return these jobs as they are."""
        runs = [run for run in self.runs if history and run.job_id in job_ids]
        return Reading(self.moment(), self._stored(job_ids), self.floors, runs)

    def write(
        self, changes: Sequence[Change[JobRow]], floors: Floors | None, as_of: datetime | None, until: datetime | None
    ) -> Written:
        """Write those changes whose job is as it was read, unless the clock does not show what it is taken to show."""
        now = self.clock.now()
        if (as_of is not None and now < as_of) or (until is not None and now > until):
            return Written(now, ())
        self.version += 1
        if floors is not None:
            self.floors = Floors(*map(max, zip(self.floors, floors, strict=True)))
        return Written(now, {change.job_id for change in changes if self._put(change)}, self.version)

    def _put(self, change: Change[JobRow]) -> bool:
        if self.rows.get(change.job_id, (0, ()))[0] != change.version:
            return False
        self.runs += change.runs
        self.rows.pop(change.job_id, None)
        self.records.pop(change.job_id, None)
        if change.row is not None:
            self.rows[change.job_id] = (self.version, change.row)
            record = kept_of(change.row).record
            if record is not None:
                self.records[change.job_id] = record
        return True

    def page(self, ahead: timedelta, exclude: Collection[str], limit: int, after: Due | None) -> Page:
        """Return what is due before then; or else the jobs that have a dead run, if there are any."""
        at = self.moment()
        ends = {job_id: row[_BURY_AT] for job_id, (_, row) in self.rows.items()}
        dead = [job_id for job_id, end in ends.items() if end is not None and end <= at.boot * 1_000_000]
        if dead:
            return Page(at.now, dead)
        times = {job_id: row[_DUE_AT] for job_id, (_, row) in self.rows.items() if job_id not in exclude}
        stored = self._stored([job_id for job_id, when in times.items() if when is not None and when < at.now + ahead])
        dues = (_due(found.kept, at) for found in stored.values())
        found = sorted((due for due in dues if due is not None and due.when < at.now + ahead), key=place_of)
        found = [due for due in found if after is None or place_of(due) > place_of(after)]
        shown = {due.job_id: stored[due.job_id] for due in found[:limit]}
        return Page(at.now, (), found[:limit], shown, len(found) > limit)

    def beat(self, instance: InstanceInfo) -> dict[str, float]:
        """Note that an instance is alive; return the leases that seem too long, since the clock has gone back."""
        at = self.moment()
        self.instances[instance.instance_id] = InstanceInfo(
            instance.instance_id, instance.started, at.now, instance.jobs
        )
        locks = {job_id: found.kept.lock for job_id, found in self._stored(list(self.rows)).items()}
        return {job_id: lock.until for job_id, lock in locks.items() if lock and lock.until > at.boot + TTL + 0.001}


def _due(kept: Kept, at: Moment) -> Due | None:
    if kept.record is None:
        return None
    is_held = kept.lock is not None and kept.lock.until > at.boot
    return due_of(kept.record, at.now + timedelta(seconds=kept.lock.until - at.boot) if is_held else None)


@dataclass
class _Asked:
    """A verb that a process has called, and what it has come to so far, job by job."""

    verb: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    judged: dict[str, list[tuple[Any, Any]]] = field(default_factory=dict)
    """Of each job the items, and the answers to them."""
    at: Moment | None = None
    """By what time it was judged."""
    read_at: float | None = None
    """When, in true time, what it was judged by was so; None where it is only recalled."""
    written: set[str] = field(default_factory=set)


_ASKED: ContextVar[_Asked] = ContextVar("asked")


def _is_last_word(call: Call[Any, Any], answer: Any) -> bool:
    """Whether an answer is given as it is: where an outcome is called stale, the history is asked first."""
    return call.history or not (isinstance(answer, Settled) and answer.verdict is SettleVerdict.STALE)


class LedgerClient(RecallingLedger[JobRow]):
    """One process's way to the rows."""

    def __init__(self, who: str, network: Network, witness: Witness, server: RowServer, clock: Clock) -> None:
        super().__init__()
        self.who, self.network, self.witness, self.server = who, network, witness, server
        self._time.boot = clock.boot

    @property
    def guarantees(self) -> str:
        """What the server promises."""
        return "in rows"

    async def _ask(self, perform: Callable[[], Any]) -> Any:
        """Have something done by the server, in one step, when the request arrives there."""

        async def performing() -> Any:
            return perform()

        return await self.network.call(self.who, _ASKED.get().verb, performing)

    # ── what the ledger needs ────────────────────────────────────────────────────────────────────────────────────────

    async def _change(self, call: Call[Any, Any]) -> tuple[datetime, list[Any]]:
        outer = _ASKED.get()
        asked = _Asked(outer.verb, outer.args, outer.kwargs)

        def judging(table: Table, at: Moment, items: Sequence[Any]) -> Sequence[Any]:
            asked.at, answers = at, call.verb(table, at, items)
            asked.judged = {call.job_of(item): [] for item in items}
            for item, answer in zip(items, answers, strict=True):
                if _is_last_word(call, answer):
                    asked.judged[call.job_of(item)].append((item, answer))
            return answers

        token = _ASKED.set(asked)
        try:
            now, answers = await super()._change(call._replace(verb=judging))
        finally:
            _ASKED.reset(token)
        told = [pair for pair in zip(call.items, answers, strict=True) if _is_last_word(call, pair[1])]
        self._note_unwritten(asked, [pair for pair in told if call.job_of(pair[0]) not in asked.written], now)
        return now, answers

    async def _read(self, job_ids: Sequence[str], *, floors: bool, history: bool) -> Reading[JobRow]:
        asked = _ASKED.get()

        def reading() -> Reading[JobRow]:
            asked.read_at = self._true_now()
            return self.server.read(job_ids, history=history)

        found: Reading[JobRow] = await self._ask(reading)
        return found

    async def _write(
        self,
        changes: Sequence[Change[JobRow]],
        floors: Floors | None,
        *,
        as_of: datetime | None = None,
        until: datetime | None = None,
    ) -> Written:
        asked = _ASKED.get()

        def writing() -> Written:
            written = self.server.write(changes, floors, as_of, until)
            asked.written.update(written.job_ids)
            for job_id in (change.job_id for change in changes if change.job_id in written.job_ids):
                self._note_written(asked, job_id, written.now)
            self.witness.look(asked.verb)
            return written

        written: Written = await self._ask(writing)
        return written

    def _row_of(self, job_id: str, kept: Kept) -> JobRow:
        return row_of(job_id, kept)

    def _changed(self) -> None:
        if not self.network.is_cut(self.who):
            self.server.hints.give_others()

    # ── what is noted ────────────────────────────────────────────────────────────────────────────────────────────────

    def _note_unwritten(self, asked: _Asked, told: Sequence[Any], now: datetime) -> None:
        """Note the answers that nothing had to be written for."""
        if self.network.is_over or asked.verb not in NOTED:
            return
        self.witness.as_of = asked.read_at
        self._note_each(asked, told, now, is_written=False)
        self.witness.as_of = None

    def _note_written(self, asked: _Asked, job_id: str, now: datetime) -> None:
        """Note what was written of a job. A lease counts from when it was judged, whatever the clock shows since."""
        if asked.verb not in NOTED or asked.at is None:
            return
        events, first = self.witness.history.events, len(self.witness.history.events)
        self._note_each(asked, asked.judged[job_id], now, is_written=True)
        early = (now - asked.at.now).total_seconds() if asked.read_at is None else self._true_now() - asked.read_at
        events[first:] = [
            event._replace(until=event.until - early) if type(event) in {Claimed, Renewed} else event
            for event in events[first:]
        ]

    def _true_now(self) -> float:
        return self.network.loop.time()

    def _note_each(self, asked: _Asked, told: Sequence[tuple[Any, Any]], now: datetime, *, is_written: bool) -> None:
        for item, answer in told:
            args, whole = asked.args, answer
            if asked.verb in _BATCHES:
                args, whole = ([item], *args[1:]), _BATCHES[asked.verb](now, item, answer)
            held = {item.lease: is_written} if asked.verb == "release" else {}
            getattr(self.witness, f"_note_{asked.verb}")(self.who, whole, held, *args, **asked.kwargs)

    # ── lists, and who is there ──────────────────────────────────────────────────────────────────────────────────────

    async def due(
        self,
        now: datetime,
        until: datetime,
        *,
        exclude: Collection[str] = (),
        limit: int = 1000,
        after: Due | None = None,
    ) -> DuePage:
        """Return a page of what can be claimed before `until`."""
        while True:
            page: Page = await self._ask(lambda: self.server.page(until - now, exclude, limit, after))
            if not page.dead:
                self._memory.note(page.stored)  # who is shown what is due will claim it next
                return DuePage(page.now, list(page.due), page.more)
            await self._bury(page.dead)

    async def list_jobs(self) -> list[JobRecord]:
        """Return all records."""
        records: list[JobRecord] = await self._ask(lambda: [record.copy() for record in self.server.records.values()])
        return records

    async def list_runs(self, job_id: str | None = None, *, limit: int = 100) -> list[RunRecord]:
        """Return the latest rows of the history, the newest first."""
        runs: list[RunRecord] = await self._ask(
            lambda: [run for run in reversed(self.server.runs) if job_id in {None, run.job_id}][:limit]
        )
        return runs

    async def heartbeat(self, instance: InstanceInfo) -> None:
        """Say that this instance is alive; and cut the leases that seem too long."""
        spans: dict[str, float] = await self._ask(lambda: self.server.beat(instance))

        def verb(table: Table, at: Moment, asked: Sequence[str]) -> list[None]:
            for job_id in asked:
                table.shorten(job_id, spans[job_id], timedelta(seconds=TTL), at)
            return [None] * len(asked)

        if spans:
            await self._change(Call(list(spans), str, verb))

    async def list_instances(self) -> list[InstanceInfo]:
        """Return the instances that were heard of."""
        instances: list[InstanceInfo] = await self._ask(lambda: list(self.server.instances.values()))
        return instances

    async def get_due_jobs(self, now: datetime) -> list[JobRecord]:
        """Nobody asks for them here."""
        raise NotImplementedError

    async def changes(self) -> AsyncIterator[None]:
        """Pass on the server's hints, unless the way is cut."""
        async for _ in self.server.hints.listen():
            if not self.network.is_cut(self.who):
                yield

    async def close(self) -> None:
        """Let go of nothing."""


_BATCHES: dict[str, Callable[[datetime, Any, Any], Any]] = {
    "claim": lambda now, _, verdict: ClaimAnswer(now, [verdict]),
    "renew": lambda now, lease, holds: RenewAnswer(now, [] if holds else [lease]),
    "settle": lambda now, _, settled: SettleAnswer(now, [settled]),
    "release": lambda now, _, due: [due],
}


def _asking(verb: str) -> Any:
    """Return the method that remembers which verb its messages are of."""
    plain = getattr(LedgerClient, verb)

    async def method(self: LedgerClient, *args: Any, **kwargs: Any) -> Any:
        if verb == "claim":
            self.witness.note_sent(*args[:2])
        token = _ASKED.set(_Asked(verb, args, kwargs))
        try:
            return await plain(self, *args, **kwargs)
        finally:
            _ASKED.reset(token)

    method.__name__ = verb
    return method


for _verb in (*NOTED, "get_job", "due", "list_jobs", "list_runs", "heartbeat", "list_instances"):
    setattr(LedgerClient, _verb, _asking(_verb))
