"""
All jobs of a storage, in memory, and the leasing verbs on them.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from ...claims import (
    ClaimRequest,
    ClaimVerdict,
    Gone,
    Granted,
    Held,
    Lease,
    Moved,
    Outcome,
    Registered,
    RegisterVerdict,
    Release,
    Settled,
    SettleVerdict,
)
from ...models import Definition, Due, InstanceInfo, JobRecord, RunRecord, Trigger, due_of, earliest
from .._doors import check_ends, check_requests, refuse_naive
from . import claiming, endings, planning
from .instants import microseconds_of
from .shelf import Lock, Moment, Shelf

HEARD_OF = timedelta(minutes=10)
"""How long an instance is listed after it has last been heard of."""
_GONE = Gone()
_MOVED = Moved()
_STALE = Settled(SettleVerdict.STALE)
_REPEATED = SettleVerdict.REPEATED
_DONE = SettleVerdict.DONE


class Table(Shelf):
    """A shelf on which jobs are registered, claimed and settled."""

    # ── registering ──────────────────────────────────────────────────────────────────────────────────────────────────

    def register(self, record: JobRecord, now: datetime) -> Registered:
        """Create the job, or join the one that is there."""
        existing = self.records.get(record.id)
        if existing is None:
            return Registered(now, RegisterVerdict.CREATED, self._create(record, now).copy())
        before = earliest(existing)
        verdict = planning.register(existing, record, now, floor=self.revision_floor)
        self._index_anew(existing, before)
        return Registered(now, verdict, existing.copy())

    def _create(self, record: JobRecord, now: datetime) -> JobRecord:
        self._refuse_unreadable(record.id)
        self.records[record.id] = own = record.copy()
        own.revision = planning.next_revision(own, now, self.revision_floor)
        own.token = max(own.token, self.token_floor)
        self._index_anew(own, None)
        self._note_wait(own)
        return own

    # ── claims and what follows from them ────────────────────────────────────────────────────────────────────────────

    def claim(self, requests: Sequence[ClaimRequest], owner: str, ttl: timedelta, at: Moment) -> list[ClaimVerdict]:
        """Judge each request on its own."""
        check_requests(requests)
        least = max(microseconds_of(at.now), self.token_floor + 1)
        terms = claiming.Terms(owner, at.now, at.now + ttl, least)
        lock = Lock(owner, at.boot + ttl.total_seconds())
        return [self._claim(request, terms, lock, at) for request in requests]

    def _claim(self, request: ClaimRequest, terms: claiming.Terms, lock: Lock, at: Moment) -> ClaimVerdict:
        record = self.records.get(request.job_id)
        if record is None:
            return _GONE
        held = self.locks.get(request.job_id)
        if held is not None and held.until > at.boot and held.owner != lock.owner:
            return Held(at.now + timedelta(seconds=held.until - at.boot))
        if record.owner is not None or record.flights:
            return self._claim_again(record, request, terms, lock, at)
        refused = claiming.refuse(record, request, at.now)
        return self._grant(record, request, terms, lock) if refused is None else refused

    def _claim_again(
        self, record: JobRecord, request: ClaimRequest, terms: claiming.Terms, lock: Lock, at: Moment
    ) -> ClaimVerdict:
        """Judge a claim of a job that somebody runs, or ran when last heard of: perhaps the asker."""
        mine = claiming.regrant(record, request, lock.owner)
        if mine is not None:
            self._hold(record, mine.lease, lock, terms.lease_until)
            return mine
        if record.owner == lock.owner:
            return _MOVED
        refused = claiming.refuse(record, request, at.now)
        if refused is not None:
            return refused
        self._bury(record, at)
        return self._grant(record, request, terms, lock)

    def _grant(self, record: JobRecord, request: ClaimRequest, terms: claiming.Terms, lock: Lock) -> Granted:
        granted = claiming.grant(record, request, terms)
        if request.frees:
            self.flights[record.id, granted.lease.token] = lock.until
        else:
            self.locks[record.id] = lock
        return granted

    def _hold(self, record: JobRecord, lease: Lease, lock: Lock, lease_until: datetime) -> bool:
        """Let a lease or a flight last as long as `lock`; whether it is still one."""
        if claiming.holds(record, lease):
            self.locks[record.id] = lock
            record.lease_until = lease_until
            return True
        flight = claiming.flight_of(record, lease)
        if flight is None:
            return False
        self.flights[record.id, flight.token] = lock.until
        claiming.renew_flight(record, flight, lease_until)
        return True

    def _bury(self, record: JobRecord, at: Moment) -> None:
        """Write down an owner and the flights that have not been heard of for longer than their leases."""
        if record.owner is not None and self._living(record.id, at.boot) is None:
            self.history.add(endings.abandon(record, at.now), at.now)
        for flight in record.flights:
            if self.flights.get((record.id, flight.token), 0) <= at.boot:
                self.flights.pop((record.id, flight.token), None)
                self.history.add(endings.abandon_flight(record, flight, at.now), at.now)

    def dead(self, boot: float) -> list[str]:
        """Return the jobs whose lock or flight has run out; of a run that is due again, its next claim will tell."""
        dead = [job_id for job_id, lock in self.locks.items() if lock.until <= boot and self._is_over(job_id)]
        return dead + [job_id for (job_id, _), until in self.flights.items() if until <= boot]

    def _is_over(self, job_id: str) -> bool:
        """Whether a lock that has run out is of no run that will be claimed again, as long as nobody reschedules it."""
        record = self.records.get(job_id)
        return record is None or record.owner is None or endings.is_lost(record)

    def bury_lost(self, at: Moment, suspects: Iterable[str] = ()) -> None:
        """
        Write down the dead runs that nobody will claim again, and forget locks and flights that have run out.

        `suspects` may have a dead owner whose lock is gone already: somebody else has taken it over and given it back.
        """
        for job_id in {*self.dead(at.boot), *suspects}:
            record = self.records.get(job_id)
            if record is not None and (record.flights or endings.is_lost(record)):
                self._bury(record, at)
            if self._living(job_id, at.boot) is None:
                self.locks.pop(job_id, None)
        for key in [key for key, until in self.flights.items() if until <= at.boot]:
            del self.flights[key]  # of a job that cannot be read, say: each look would come across it

    def renew(self, leases: Sequence[Lease], ttl: timedelta, at: Moment) -> list[Lease]:
        """Extend each lease that still is one; return the others."""
        until, lease_until = at.boot + ttl.total_seconds(), at.now + ttl
        return [lease for lease in leases if not self._renew(lease, until, lease_until, at.boot)]

    def _renew(self, lease: Lease, until: float, lease_until: datetime, boot: float) -> bool:
        record = self.records.get(lease.job_id)
        if record is None:
            return False
        lock = self._living(lease.job_id, boot)
        if lock is not None and lock.owner != lease.owner and claiming.holds(record, lease):
            return False
        return self._hold(record, lease, Lock(lease.owner, until), lease_until)

    def shorten(self, job_id: str, until: float, length: timedelta, at: Moment) -> None:
        """Let the lock that ends at `until` end when its length has passed from now, if that is earlier."""
        lock, record = self.locks.get(job_id), self.records.get(job_id)
        end = at.boot + length.total_seconds()
        if lock is None or lock.until != until or lock.until <= end:
            return
        self.locks[job_id] = Lock(lock.owner, end)
        if record is not None and record.owner == lock.owner:
            record.lease_until = at.now + length

    def settle(self, outcomes: Sequence[Outcome], at: Moment) -> list[Settled]:
        """Write each outcome on its own."""
        check_ends(outcomes)
        return [self._settle(outcome, at) for outcome in outcomes]

    def _settle(self, outcome: Outcome, at: Moment) -> Settled:
        lease = outcome.lease
        record = self.records.get(lease.job_id)
        if record is None:
            return _STALE
        if not claiming.holds(record, lease):
            return self._settle_other(record, outcome, at)
        pointer = record.next_run
        endings.settle(record, outcome)
        lock = self.locks.get(record.id)
        if lock is not None and lock.owner == lease.owner:
            del self.locks[record.id]
        if record.next_run is not pointer:
            self._index_anew(record, pointer)
        return self._settled(record, outcome, at)

    def _settle_other(self, record: JobRecord, outcome: Outcome, at: Moment) -> Settled:
        flight = claiming.flight_of(record, outcome.lease)
        if flight is not None:
            endings.settle_flight(record, flight, outcome)
            self.flights.pop((record.id, flight.token), None)
            return self._settled(record, outcome, at)
        if outcome.lease.token == record.settled_token or self.history.holds(outcome.run):
            return Settled(_REPEATED, self._due_of(record, at))
        return _STALE

    def _settled(self, record: JobRecord, outcome: Outcome, at: Moment) -> Settled:
        if outcome.skipped is not None:
            self.history.add(outcome.skipped, at.now)
        self.history.add(outcome.run, at.now)
        return Settled(_DONE, self._due_of(record, at))

    def _due_of(self, record: JobRecord, at: Moment) -> Due | None:
        held = self._held_until(record.id, at) if record.id in self.locks else None
        return due_of(record, held)

    def release(self, releases: Sequence[Release], at: Moment) -> list[Due | None]:
        """Give each lease back that still is one."""
        check_ends(releases)
        return [self._release(given, at) for given in releases]

    def _release(self, given: Release, at: Moment) -> Due | None:
        record = self.records.get(given.lease.job_id)
        if record is None:
            return None
        if self._let_go(record, given) and given.run is not None:
            self.history.add(given.run, at.now)
        return self._due_of(record, at)

    def _let_go(self, record: JobRecord, given: Release) -> bool:
        if claiming.holds(record, given.lease):
            before = earliest(record)
            endings.release(record, given)
            self.give_back(record.id, given.lease.owner)
            self._index_anew(record, before)
            self._note_wait(record)
            return True
        flight = claiming.flight_of(record, given.lease)
        if flight is not None:
            before = earliest(record)
            endings.release_flight(record, flight, given)
            self.flights.pop((record.id, flight.token), None)
            self._index_anew(record, before)
        return flight is not None

    # ── what users and pollers do ────────────────────────────────────────────────────────────────────────────────────

    def advance(
        self, job_id: str, move: RunRecord, *, revision: int, next_run: datetime | None, at: Moment
    ) -> Due | None:
        """Move the pointer past fire times that get no run, if all is as it was seen."""
        refuse_naive(next_run=next_run)
        record = self.records.get(job_id)
        if record is None:
            return None
        before = earliest(record)
        if self._living(job_id, at.boot) is None and planning.advance(
            record, move, revision=revision, next_run=next_run, now=at.now
        ):
            self.history.add(move, at.now)
            self._index_anew(record, before)
        return self._due_of(record, at)

    def set_paused(self, job_id: str) -> JobRecord:
        """Pause the job; the table's own record is returned."""
        record = self.get(job_id)
        record.paused = True
        return record

    def resume(self, job_id: str, *, revision: int, next_run: datetime | None, now: datetime) -> JobRecord | None:
        """Let the job run again; the table's own record is returned, or None."""
        record = self.get(job_id)
        before = earliest(record)
        if not planning.resume(record, revision=revision, next_run=next_run, now=now):
            return None
        self._index_anew(record, before)
        return record

    def reschedule(
        self, job_id: str, definition: Definition, *, revision: int, next_run: datetime | None, now: datetime
    ) -> JobRecord | None:
        """Replace schedule and pointer; the table's own record is returned, or None."""
        record = self.get(job_id)
        before, floor = earliest(record), self.revision_floor
        if not planning.reschedule(record, definition, revision=revision, next_run=next_run, now=now, floor=floor):
            return None
        self._index_anew(record, before)
        return record

    def trigger(self, job_id: str, request: Trigger, now: datetime) -> Trigger:
        """Put a manual request on the job, or join the one that waits."""
        record = self.get(job_id)
        before = earliest(record)
        waiting = planning.trigger(record, request, now, self.history.latest_manual(job_id))
        self._index_anew(record, before)
        return waiting

    def heartbeat(self, instance: InstanceInfo, now: datetime) -> None:
        """Note that the instance is alive; those not heard of for long are forgotten, and rows that are too old."""
        self.history.sweep(now)
        seen = InstanceInfo(instance.instance_id, instance.started, now, instance.jobs)
        self.instances[instance.instance_id] = seen
        for other in list(self.instances.values()):
            if now - other.seen > HEARD_OF:
                del self.instances[other.instance_id]

    def list_instances(self, now: datetime) -> list[InstanceInfo]:
        """Return the instances that were heard of lately."""
        return [instance for instance in self.instances.values() if now - instance.seen <= HEARD_OF]
