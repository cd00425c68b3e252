"""
The rules of the leasing verbs, as pure functions on a job's record.

`now` is an argument, and so is whatever concerns locks, which are kept beside the records: nothing here reads a clock
or touches a medium. Who calls must make the call and the write of the record one step: under a lock, in a transaction.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from ...claims import (
    ClaimRequest,
    Early,
    Granted,
    Held,
    Lease,
    Moved,
    Outcome,
    PointerMove,
    RegisterVerdict,
    Release,
)
from ...models import (
    Definition,
    Flight,
    JobRecord,
    JobStatus,
    RunRecord,
    RunStatus,
    Trigger,
    due_of,
    pending_manual,
)
from .instants import microseconds_of

_MICROSECOND = timedelta(microseconds=1)

Refusal = Moved | Held | Early


class Terms(NamedTuple):
    """On what terms a claim is granted."""

    owner: str
    now: datetime
    lease_until: datetime
    least: int
    """No token may be smaller."""


# ── registering ──────────────────────────────────────────────────────────────────────────────────────────────────────


def register(existing: JobRecord, record: JobRecord, now: datetime, *, floor: int = 0) -> RegisterVerdict:
    """Join `existing`, by the definition that code last declared. A pointer that is to be set must lie ahead."""
    if record.schedule is None or _declares_the_same(existing, record.schedule):
        verdict = RegisterVerdict.JOINED
    elif existing.schedule is None and (existing.next_run is not None or existing.run_count):
        existing.schedule = record.schedule
        existing.revision = next_revision(existing, now, floor)
        verdict = RegisterVerdict.CHANGED
    elif record.next_run is not None and record.next_run <= now:
        return RegisterVerdict.LATE
    else:
        _replace(existing, record.schedule, record.next_run, next_revision(existing, now, floor))
        existing.next_run = _unless_spent(existing, record, record.next_run)
        verdict = RegisterVerdict.CHANGED
    existing.name, existing.options = record.name, record.options
    return verdict


def _declares_the_same(existing: JobRecord, schedule: Definition) -> bool:
    return existing.schedule is not None and existing.schedule.declared == schedule.declared


def next_revision(record: JobRecord, now: datetime, floor: int) -> int:
    """Return a revision greater than any that this id has had."""
    return max(record.revision + 1, floor + 1, microseconds_of(now))


def _replace(record: JobRecord, schedule: Definition, next_run: datetime | None, revision: int) -> None:
    record.schedule, record.revision = schedule, revision
    _point(record, next_run)


def _point(record: JobRecord, next_run: datetime | None) -> None:
    """Move the pointer. What the claim of another occurrence left behind does not concern the new one."""
    record.next_run = next_run
    record.claimed = record.not_before = None
    record.attempt = record.tries = 0


def _unless_spent(counted: JobRecord, options: JobRecord, next_run: datetime | None) -> datetime | None:
    most = options.options.max_runs
    return next_run if most is None or counted.scheduled_runs < most else None


# ── claiming ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def refuse(record: JobRecord, request: ClaimRequest, now: datetime) -> Refusal | None:
    """Say why a claim of a job that no lock holds is not to be granted; None when it is."""
    if request.manual:
        manual = pending_manual(record)
        if manual is None or manual.at != request.fire_time:
            return Moved()
    elif not _is_as_seen(record, request):
        return Moved()
    elif request.fire_time > now:  # a manual one was due when it was made: its fire time is only its name
        return Early(request.fire_time - now)
    if record.not_before is not None and record.not_before > now:
        return Held(record.not_before)
    return None


def _is_as_seen(record: JobRecord, request: ClaimRequest) -> bool:
    pointer = record.next_run
    if pointer is None or pointer != request.next_run or record.revision != request.revision or record.paused:
        return False
    if record.manual is not None and pending_manual(record) is record.manual:
        return False  # a manual run that was begun goes first, so that an owner's run is never of two kinds
    claimed = record.claimed
    if claimed is not None and pointer <= claimed:
        return request.fire_time == claimed
    return request.fire_time >= pointer


def abandon(record: JobRecord, now: datetime) -> RunRecord:
    """End the lease of an owner that has not been heard of, and return the row that says so."""
    manual = record.manual
    row = RunRecord(
        record.id,
        record.running or record.claimed or now,
        RunStatus.ABANDONED,
        instance_id=_instance_of(record.owner or ""),
        attempt=record.attempt if manual is None else manual.attempt,
        token=record.token,
        manual=manual is not None,
        finished=now,
    )
    if manual is not None and manual is not pending_manual(record):
        record.manual = None
    _end_lease(record, JobStatus.FAILED)
    return row


def _instance_of(owner: str) -> str:
    """An owner id is unique per claim: by custom the instance's id, a slash, and what makes it so."""
    return owner.rpartition("/")[0] or owner


def _end_lease(record: JobRecord, status: JobStatus) -> None:
    record.owner = record.lease_until = record.running = None
    record.status = JobStatus.RUNNING if record.flights else status


def abandon_flight(record: JobRecord, flight: Flight, now: datetime) -> RunRecord:
    """Forget a flight whose lease ran out, and return the row that says so."""
    land(record, flight, JobStatus.FAILED)
    return RunRecord(
        record.id,
        flight.fire_time,
        RunStatus.ABANDONED,
        instance_id=_instance_of(flight.owner),
        attempt=1,
        token=flight.token,
        manual=flight.manual,
        finished=now,
    )


def land(record: JobRecord, flight: Flight, status: JobStatus) -> None:
    """Take a flight off the job's list; the job runs for as long as anybody runs it."""
    record.flights = tuple(other for other in record.flights if other is not flight)
    record.status = JobStatus.RUNNING if record.flights or record.owner is not None else status


def grant(record: JobRecord, request: ClaimRequest, terms: Terms) -> Granted:
    """Put the claim on a job that `refuse` had nothing against and on which no owner is left."""
    token = record.token + 1
    record.token = token = max(token, terms.least)
    record.status = JobStatus.RUNNING
    if request.manual:
        attempt, arguments = _take_manual(record)
    else:
        attempt, arguments = _take_pointer(record, request), ""
    if request.frees:
        return _let_fly(record, request, terms, attempt, arguments)
    record.owner, record.lease_until, record.running = terms.owner, terms.lease_until, request.fire_time
    return Granted(
        Lease(record.id, token, terms.owner), attempt, record.next_run, record.tries, record.last_success, arguments
    )


def _take_manual(record: JobRecord) -> tuple[int, str]:
    manual = record.manual
    if manual is None or pending_manual(record) is not manual:
        manual, record.triggered = record.triggered, None
        record.tries = 0
    assert manual is not None, "refuse() has seen one"  # noqa: S101 - a type narrowing
    record.manual = Trigger(manual.at, manual.arguments, manual.attempt + 1)
    return manual.attempt + 1, manual.arguments


def _take_pointer(record: JobRecord, request: ClaimRequest) -> int:
    pointer, claimed = record.next_run, record.claimed
    if claimed is None or pointer is None or pointer > claimed:
        record.claimed = request.fire_time
        record.attempt = record.tries = 0
    record.attempt = attempt = record.attempt + 1
    if request.moves:
        record.scheduled_runs += 1
        record.next_run = _unless_spent(record, record, request.moves_to)
        record.not_before = None
    return attempt


def _let_fly(record: JobRecord, request: ClaimRequest, terms: Terms, attempt: int, arguments: str) -> Granted:
    flight = Flight(terms.owner, record.token, request.fire_time, terms.lease_until, request.manual)
    record.flights = (*record.flights, flight)
    if request.manual:
        record.manual = None
    lease = Lease(record.id, record.token, terms.owner)
    return Granted(lease, attempt, record.next_run, record.tries, record.last_success, arguments, due_of(record))


def regrant(record: JobRecord, request: ClaimRequest, owner: str) -> Granted | None:
    """Answer a claim that was asked again: what this owner holds already, if it is that."""
    if record.owner == owner and record.running == request.fire_time:
        return _regrant_lease(record, owner)
    for flight in record.flights:
        if flight.owner == owner and flight.fire_time == request.fire_time:
            lease = Lease(record.id, flight.token, owner)
            return Granted(lease, 1, record.next_run, 0, record.last_success, "", due_of(record))
    return None


def _regrant_lease(record: JobRecord, owner: str) -> Granted:
    lease, manual = Lease(record.id, record.token, owner), record.manual
    if manual is not None:
        return Granted(lease, manual.attempt, record.next_run, record.tries, record.last_success, manual.arguments)
    return Granted(lease, record.attempt, record.next_run, record.tries, record.last_success)


def is_lost(record: JobRecord) -> bool:
    """Whether the owner's run, should its lease run out, is one that nobody will claim again, as things stand."""
    if record.owner is None:
        return False
    if record.manual is not None:
        return pending_manual(record) is not record.manual
    bound = record.bound_fire_time
    return bound is None or bound != record.running or record.paused


# ── what the holder of a lease may do ────────────────────────────────────────────────────────────────────────────────


def holds(record: JobRecord, lease: Lease) -> bool:
    """Whether this lease is the one on the job."""
    return record.owner == lease.owner and record.token == lease.token


def flight_of(record: JobRecord, lease: Lease) -> Flight | None:
    """Return the flight that this lease is of, if it is still listed."""
    for flight in record.flights:
        if flight.token == lease.token and flight.owner == lease.owner:
            return flight
    return None


def renew_flight(record: JobRecord, flight: Flight, lease_until: datetime) -> None:
    """Note how long the flight's lease now lasts."""
    renewed = replace(flight, lease_until=lease_until)
    record.flights = tuple(renewed if other is flight else other for other in record.flights)


def settle(record: JobRecord, outcome: Outcome) -> None:
    """Write the outcome of the run that holds the job, and end its lease."""
    if record.manual is not None:
        record.manual = record.not_before = None
        record.tries = 0
    elif outcome.move is not None:
        _move(record, outcome.move)
    record.owner = record.lease_until = record.running = None
    count(record, outcome)


def settle_flight(record: JobRecord, flight: Flight, outcome: Outcome) -> None:
    """Write the outcome of a flight: the claim has moved the pointer already."""
    land(record, flight, JobStatus.PENDING)
    count(record, outcome)


def _move(record: JobRecord, move: PointerMove) -> None:
    record.scheduled_runs += not move.is_counted
    if record.next_run is None or record.next_run != move.expected or record.revision != move.revision:
        return
    record.next_run = pointer = _unless_spent(record, record, move.next_run)
    record.claimed = pointer if move.queued else None
    record.not_before = None
    record.attempt = record.tries = 0


def _status_after(status: RunStatus) -> JobStatus:
    if status is RunStatus.COMPLETED:
        return JobStatus.COMPLETED
    return JobStatus.CANCELLED if status is RunStatus.CANCELLED else JobStatus.FAILED


def count(record: JobRecord, outcome: Outcome) -> None:
    """Write what a run leaves on its job: counters, last run, error, status."""
    run = outcome.run
    status = _status_after(run.status)
    record.run_count += 1
    record.last_run = run.started or run.fire_time
    if status is JobStatus.FAILED:
        record.error_count += 1
        record.last_error = run.error
    elif status is JobStatus.COMPLETED:
        record.last_success = run.fire_time
    if outcome.lease.token > record.settled_token:  # noqa: PLR1730 - max() would cost this path a call
        record.settled_token = outcome.lease.token
    record.status = JobStatus.RUNNING if record.flights or record.owner is not None else status


def release(record: JobRecord, given: Release) -> None:
    """Give the lease back unsettled, and the attempt with it, unless the pointer has been moved meanwhile."""
    manual = record.manual
    if manual is not None:
        record.manual = replace(manual, attempt=max(0, manual.attempt - 1))
        record.tries, record.not_before = given.tries, given.not_before
    elif record.running is not None and record.bound_fire_time == record.running:
        record.attempt = max(0, record.attempt - 1)
        record.tries, record.not_before = given.tries, given.not_before
    _end_lease(record, status_of(given))


def status_of(given: Release) -> JobStatus:
    """Say what a job is whose run was given back: cut short, or waiting again."""
    return JobStatus.PENDING if given.run is None else _status_after(given.run.status)


# ── what users and pollers do to the pointer ─────────────────────────────────────────────────────────────────────────


def advance(record: JobRecord, move: RunRecord, *, revision: int, next_run: datetime | None, now: datetime) -> bool:
    """Move the pointer of a job that no lock holds past fire times that get no run; whether it was so moved."""
    last = move.fire_time if move.missed is None else max(move.fire_time, move.missed.last)
    if record.next_run != move.fire_time or record.revision != revision or record.paused or last > now:
        return False
    if record.bound_fire_time is not None:
        return False
    _point(record, next_run)
    return True


def resume(record: JobRecord, *, revision: int, next_run: datetime | None, now: datetime) -> bool:
    """Let a paused job run again; False when that was decided on an old view of it."""
    if not record.paused:
        return True
    if not _may_point(record, revision, next_run, now):
        return False
    record.paused = False
    if next_run != record.next_run:
        _point(record, next_run)
    return True


def reschedule(
    record: JobRecord,
    definition: Definition,
    *,
    revision: int,
    next_run: datetime | None,
    now: datetime,
    floor: int = 0,
) -> bool:
    """Replace the bound schedule and the pointer; False when that was decided on an old view of the job."""
    if not _may_point(record, revision, next_run, now):
        return False
    declared = definition.declared if record.schedule is None else record.schedule.declared
    _replace(record, Definition(declared, definition.bound), next_run, next_revision(record, now, floor))
    return True


def _may_point(record: JobRecord, revision: int, next_run: datetime | None, now: datetime) -> bool:
    if record.revision != revision:
        return False
    return next_run is None or next_run >= now or next_run == record.next_run


def trigger(record: JobRecord, request: Trigger, now: datetime, latest: datetime | None = None) -> Trigger:
    """
    Put a manual request on the job, or join the one that waits, and return the one that waits.

    Its fire time is its name, so it must be later than that of the `latest` manual run before it.
    """
    if record.triggered is not None:
        return record.triggered
    at = min(request.at, now)
    taken = [flight.fire_time for flight in record.flights if flight.manual]
    taken += [latest] if latest is not None else []
    taken += [record.manual.at] if record.manual is not None else []
    if taken and at <= max(taken):
        at = max(taken) + _MICROSECOND
    record.triggered = Trigger(at, request.arguments)
    return record.triggered
