"""
The leasing verbs for a storage that has only the eight methods of the Go original.

Each verb is made of them: lock, read again, apply the rule, save, and, for a settle, give the lock back. That it is the
lock that proves whose word counts, and that a save writes the whole record, makes the promise weaker than that of a
storage with the verbs of its own; `guarantees` says how. What comes back from a storage is checked, not believed.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from ..claims import (
    ClaimAnswer,
    ClaimRequest,
    ClaimVerdict,
    DuePage,
    Gone,
    Granted,
    Held,
    Lease,
    Outcome,
    Registered,
    RegisterVerdict,
    Release,
    RenewAnswer,
    SettleAnswer,
    Settled,
    SettleVerdict,
)
from ..clock import Clock
from ..errors import InvalidOptionError
from ..models import Definition, Due, InstanceInfo, JobRecord, RunRecord, Trigger, due_of, place_of
from ._doors import check_ends, check_requests, checked, refuse_naive, shifted
from ._portable.in_turn import WRITE_TTL, InTurn
from ._table import claiming, endings, planning
from ._table.instants import microseconds_of
from ._table.shelf import is_after
from ._table.table import HEARD_OF
from .base import LeasingStorage, Storage

_AT_ONCE = 16
"""How many jobs of one batch are worked on at a time."""
_ASK_AGAIN = timedelta(seconds=5)
"""When to look again at a lock whose end cannot be seen; sooner where leases are short."""

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def as_leasing(storage: Storage, *, clock: Clock | None = None) -> LeasingStorage:
    """Return the storage itself if it has the leasing verbs, else one around it that makes them of the eight."""
    if isinstance(storage, type) or not isinstance(storage, Storage):
        raise InvalidOptionError(
            "storage", storage, "must have the eight methods of a Storage, as what open_storage(url) returns"
        )
    return storage if isinstance(storage, LeasingStorage) else PortableStorage(storage, clock=clock)


class PortableStorage(InTurn):
    """A `LeasingStorage` around an eight-method `Storage`. History and instances are known to this process only."""

    @property
    def guarantees(self) -> str:
        """What this storage can promise, in words."""
        return (
            f"{type(self._inner.storage).__name__} through its eight methods: an occurrence is run by who holds its "
            "lock; as records are written whole, a change made by another process between a read and the write after "
            "it can be lost; due times and leases are judged by each instance's own clock; manual runs of jobs that "
            "are not due, history and instances are known to the process that they come from"
            f"{self._inner.what_is_forgotten}"
        )

    # ── registering ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def register(self, record: JobRecord) -> Registered:
        """Create the job, or join the one that is there."""
        record = checked(record)
        async with self._writing(record.id):
            existing = await self._inner.find(record.id)
            if existing is None:
                registered = await self._create(record)
            else:
                registered = await self._join(existing, record)
        self._hints.give()
        return registered

    async def _create(self, record: JobRecord) -> Registered:
        now, own = self._clock.now(), record.copy()
        own.revision = planning.next_revision(own, now, self._floor)
        own.token = max(own.token, self._floor)
        await self._inner.save(own)
        return Registered(now, RegisterVerdict.CREATED, await self._inner.find(record.id) or own)

    async def _join(self, existing: JobRecord, record: JobRecord) -> Registered:
        now, before = self._clock.now(), existing.copy()
        verdict = planning.register(existing, record, now, floor=self._floor)
        if existing != before:
            await self._inner.save(existing)
        return Registered(now, verdict, await self._inner.find(record.id) or existing)  # None: it was removed since

    # ── what comes due ───────────────────────────────────────────────────────────────────────────────────────────────

    async def due(
        self,
        now: datetime,
        until: datetime,
        *,
        exclude: Collection[str] = (),
        limit: int = 1000,
        after: Due | None = None,
    ) -> DuePage:
        """Return a page of what can be claimed before `until`, as far as the eight methods show it."""
        own_now = self._clock.now()
        end = shifted(until, now, own_now)
        skip = frozenset(exclude)
        records = await self._inner.due_records(end)
        records += await self._records_asked_for({record.id for record in records})
        found = (_due_of(record, own_now) for record in records if record.id not in skip)
        start = None if after is None else (after.when, after.job_id)
        page = [due for due in found if due is not None and due.when < end and is_after(due, start)]
        page.sort(key=place_of)
        return DuePage(own_now, page[:limit], len(page) > limit)

    async def _records_asked_for(self, seen: set[str]) -> list[JobRecord]:
        asked_for = [await self._inner.find(job_id) for job_id in sorted(self._asked_for - seen)]
        records = [record for record in asked_for if record is not None and (record.manual or record.triggered)]
        self._asked_for -= self._asked_for - seen - {record.id for record in records}
        return records

    # ── claims and what follows from them ────────────────────────────────────────────────────────────────────────────

    async def claim(self, requests: Sequence[ClaimRequest], owner_id: str, ttl: timedelta) -> ClaimAnswer:
        """Grant each request whose job is as the asker saw it, whose time has come, and whose lock can be had."""
        check_requests(requests)
        verdicts = await _each(requests, lambda request: self._claim(request, owner_id, ttl))
        return ClaimAnswer(self._clock.now(), verdicts)

    async def _claim(self, request: ClaimRequest, owner: str, ttl: timedelta) -> ClaimVerdict:
        async with self._turn(request.job_id):
            if not await self._inner.lock(request.job_id, owner, ttl):
                return await self._why_held(request.job_id, ttl)
            record = await self._inner.find(request.job_id)
            verdict = Gone() if record is None else await self._claim_locked(record, request, owner, ttl)
            if request.frees or not isinstance(verdict, Granted):
                await self._inner.unlock(request.job_id, owner)
            return verdict

    async def _why_held(self, job_id: str, ttl: timedelta) -> ClaimVerdict:
        record, now = await self._inner.find(job_id), self._clock.now()
        if record is None:
            return Gone()
        if record.lease_until is not None and now < record.lease_until <= now + ttl:
            return Held(record.lease_until)
        return Held(now + min(_ASK_AGAIN, ttl / 3))

    async def _claim_locked(self, record: JobRecord, request: ClaimRequest, owner: str, ttl: timedelta) -> ClaimVerdict:
        now = self._clock.now()
        mine = claiming.regrant(record, request, owner)
        if mine is not None:
            flight = claiming.flight_of(record, mine.lease)
            if flight is not None:
                claiming.renew_flight(record, flight, now + ttl)
                await self._inner.save(record)
            return mine
        refused = claiming.refuse(record, request, now)
        if refused is not None:
            return refused
        rows = list(_buried(record, now))
        least = max(microseconds_of(now), self._floor + 1)
        granted = claiming.grant(record, request, claiming.Terms(owner, now, now + ttl, least))
        await self._inner.save(record)
        for row in rows:
            self._history.add(row)
        return granted

    async def renew(self, leases: Sequence[Lease], ttl: timedelta) -> RenewAnswer:
        """Extend the locks of those leases whose job still has them."""
        renewed = await _each(leases, lambda lease: self._renew(lease, ttl))
        return RenewAnswer(
            self._clock.now(), [lease for lease, holds in zip(leases, renewed, strict=True) if not holds]
        )

    async def _renew(self, lease: Lease, ttl: timedelta) -> bool:
        async with self._turn(lease.job_id):
            record = await self._inner.find(lease.job_id)
            if record is None:
                return False
            flight = claiming.flight_of(record, lease)
            if flight is not None:
                claiming.renew_flight(record, flight, self._clock.now() + ttl)
                await self._inner.save(record)
                return True
            return claiming.holds(record, lease) and await self._relock(lease, ttl) is not None

    async def _relock(self, lease: Lease, ttl: timedelta) -> JobRecord | None:
        """Take the lease's lock again and return the record read under it; None, and no lock, if the lease is lost."""
        if not await self._inner.lock(lease.job_id, lease.owner, ttl):
            return None
        record = await self._inner.find(lease.job_id)
        if record is not None and claiming.holds(record, lease):
            return record
        await self._inner.unlock(lease.job_id, lease.owner)
        return None

    async def settle(self, outcomes: Sequence[Outcome]) -> SettleAnswer:
        """Write each outcome once, under the lock that was taken for its run."""
        check_ends(outcomes)
        settled = await _each(outcomes, self._settle)
        return SettleAnswer(self._clock.now(), settled)

    async def _settle(self, outcome: Outcome) -> Settled:
        lease = outcome.lease
        async with self._turn(lease.job_id):
            record = await self._relock(lease, WRITE_TTL)
            if record is None:
                return await self._settle_other(outcome)
            endings.settle(record, outcome)
            await self._inner.save(record)
            await self._inner.unlock(lease.job_id, lease.owner)
            return self._settled(record, outcome)

    async def _settle_other(self, outcome: Outcome) -> Settled:
        """Settle a flight, which has no lock; or say that this was settled, or is stale."""
        record = await self._inner.find(outcome.lease.job_id)
        if record is None:
            return Settled(SettleVerdict.STALE)
        flight = claiming.flight_of(record, outcome.lease)
        if flight is not None:
            endings.settle_flight(record, flight, outcome)
            await self._inner.save(record)
            return self._settled(record, outcome)
        if record.settled_token == outcome.lease.token or self._history.holds(outcome.run):
            return Settled(SettleVerdict.REPEATED, _due_of(record, self._clock.now()))
        return Settled(SettleVerdict.STALE)

    def _settled(self, record: JobRecord, outcome: Outcome) -> Settled:
        if outcome.skipped is not None:
            self._history.add(outcome.skipped)
        self._history.add(outcome.run)
        return Settled(SettleVerdict.DONE, _due_of(record, self._clock.now()))

    async def release(self, releases: Sequence[Release]) -> list[Due | None]:
        """Give leases back unsettled."""
        check_ends(releases)
        due = await _each(releases, self._release)
        self._hints.give()
        return due

    async def _release(self, given: Release) -> Due | None:
        lease = given.lease
        async with self._turn(lease.job_id):
            record = await self._relock(lease, WRITE_TTL)
            if record is None:
                return await self._release_flight(given)
            endings.release(record, given)
            await self._inner.save(record)
            await self._inner.unlock(lease.job_id, lease.owner)
            return self._released(record, given)

    async def _release_flight(self, given: Release) -> Due | None:
        record = await self._inner.find(given.lease.job_id)
        flight = None if record is None else claiming.flight_of(record, given.lease)
        if record is None or flight is None:
            return None if record is None else _due_of(record, self._clock.now())
        endings.release_flight(record, flight, given)
        await self._inner.save(record)
        return self._released(record, given)

    def _released(self, record: JobRecord, given: Release) -> Due | None:
        if given.run is not None:
            self._history.add(given.run)
        if record.manual is not None:
            self._asked_for.add(record.id)
        return _due_of(record, self._clock.now())

    # ── what users and pollers do ────────────────────────────────────────────────────────────────────────────────────

    async def advance(self, job_id: str, move: RunRecord, *, revision: int, next_run: datetime | None) -> Due | None:
        """Move the pointer without a run, if the lock can be had."""
        refuse_naive(next_run=next_run)
        async with self._writing(job_id) as locked:
            record, now = await self._inner.find(job_id), self._clock.now()
            if record is None:
                return None
            if locked and planning.advance(record, move, revision=revision, next_run=next_run, now=now):
                await self._inner.save(record)
                self._history.add(move)
            due = _due_of(record, now)
            return due if due is None or locked else due._replace(when=max(due.when, now + _ASK_AGAIN))

    async def set_paused(self, job_id: str) -> JobRecord:
        """Pause the job."""
        async with self._writing(job_id):
            record = await self._inner.get(job_id)
            record.paused = True
            await self._inner.save(record)
        self._hints.give()
        return record

    async def resume(self, job_id: str, *, revision: int, next_run: datetime | None) -> JobRecord | None:
        """Let the job run again from `next_run`."""
        now = self._clock.now()
        return await self._change(
            job_id, lambda record: planning.resume(record, revision=revision, next_run=next_run, now=now)
        )

    async def reschedule(
        self, job_id: str, definition: Definition, *, revision: int, next_run: datetime | None
    ) -> JobRecord | None:
        """Replace schedule and pointer."""
        now, floor = self._clock.now(), self._floor
        return await self._change(
            job_id,
            lambda record: planning.reschedule(
                record, definition, revision=revision, next_run=next_run, now=now, floor=floor
            ),
        )

    async def _change(self, job_id: str, rule: Callable[[JobRecord], bool]) -> JobRecord | None:
        async with self._writing(job_id):
            record = await self._inner.get(job_id)
            before = record.copy()
            if not rule(record):
                return None
            if record != before:
                await self._inner.save(record)
        self._hints.give()
        return record

    async def trigger(self, job_id: str, trigger: Trigger) -> Trigger:
        """Ask for a manual run; this instance sees it even if the job is paused or not due."""
        async with self._writing(job_id):
            record = await self._inner.get(job_id)
            waiting = planning.trigger(record, trigger, self._clock.now(), self._history.latest_manual(job_id))
            await self._inner.save(record)
        self._asked_for.add(job_id)
        self._hints.give()
        return waiting

    async def list_runs(self, job_id: str | None = None, *, limit: int = 100, offset: int = 0) -> list[RunRecord]:
        """Return the latest rows of this process's history after the first `offset` of them, the newest first."""
        return self._history.latest(job_id, limit, offset)

    async def heartbeat(self, instance: InstanceInfo) -> None:
        """Say, within this process, that an instance is alive."""
        seen = InstanceInfo(instance.instance_id, instance.started, self._clock.now(), instance.jobs)
        self._instances[instance.instance_id] = seen

    async def list_instances(self) -> list[InstanceInfo]:
        """Return the instances of this process that were heard of lately."""
        now = self._clock.now()
        heard_of = [instance for instance in self._instances.values() if now - instance.seen <= HEARD_OF]
        self._instances = {instance.instance_id: instance for instance in heard_of}
        return heard_of

    def changes(self) -> AsyncIterator[None]:
        """Yield at once when this process has changed something."""
        return self._hints.listen()


def _due_of(record: JobRecord, now: datetime) -> Due | None:
    lease_until = record.lease_until if record.owner is not None else None
    return due_of(record, lease_until if lease_until is not None and lease_until > now else None)


def _buried(record: JobRecord, now: datetime) -> Iterable[RunRecord]:
    """Take those who have not been heard of for longer than their leases off a job whose lock was there to be had."""
    if record.owner is not None:
        yield endings.abandon(record, now)
    for flight in record.flights:
        if flight.lease_until <= now:
            yield endings.abandon_flight(record, flight, now)


async def _each(items: Sequence[Item], work: Callable[[Item], Awaitable[Answer]]) -> list[Answer]:
    """Work on some of the items at a time; all are finished with before the first failure, if any, is told."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def one(item: Item) -> Answer:
        async with places:
            return await work(item)

    answers = await asyncio.gather(*map(one, items), return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return [answer for answer in answers if not isinstance(answer, BaseException)]
