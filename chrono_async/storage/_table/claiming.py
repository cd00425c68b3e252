"""
The rules of claims: what is granted and what is refused, what a grant leaves on the job, and who holds it then.
"""

from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from ...claims import ClaimRequest, Early, Granted, Held, Lease, Moved
from ...models import Due, Flight, JobRecord, JobStatus, Trigger, due_of, pending_manual
from .planning import unless_spent

Refusal = Moved | Held | Early


class Terms(NamedTuple):
    """On what terms a claim is granted."""

    owner: str
    now: datetime
    lease_until: datetime
    least: int
    """No token may be smaller."""


def refuse(record: JobRecord, request: ClaimRequest, now: datetime) -> Refusal | None:
    """Say why a claim of a job that no lock holds is not to be granted; None when it is."""
    if request.manual:
        manual = pending_manual(record)
        if manual is None or manual.at != request.fire_time:
            return Moved()
        wait = manual.not_before
    elif not _is_as_seen(record, request):
        return Moved()
    elif request.fire_time > now:  # a manual one was due when it was made: its fire time is only its name
        return Early(request.fire_time - now)
    else:
        wait = record.not_before
    return None if wait is None or wait <= now else Held(wait)


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


def grant(record: JobRecord, request: ClaimRequest, terms: Terms) -> Granted:
    """Put the claim on a job that `refuse` had nothing against and on which no owner is left."""
    token = record.token + 1
    record.token = token = max(token, terms.least)
    record.status = JobStatus.RUNNING
    if request.manual:
        manual = _take_manual(record)
        attempt, tries, arguments = manual.attempt, manual.tries, manual.arguments
    else:
        attempt, tries, arguments = _take_pointer(record, request), record.tries, ""
    if request.frees:
        due = _let_fly(record, request, terms)
    else:
        record.owner, record.lease_until, record.running = terms.owner, terms.lease_until, request.fire_time
        due = None
    lease = Lease(record.id, token, terms.owner)
    return Granted(lease, attempt, record.next_run, tries, record.last_success, arguments, due)


def _take_manual(record: JobRecord) -> Trigger:
    manual = record.manual
    if manual is None or pending_manual(record) is not manual:
        manual, record.triggered = record.triggered, None
    assert manual is not None, "refuse() has seen one"  # noqa: S101 - a type narrowing
    record.manual = taken = replace(manual, attempt=manual.attempt + 1)
    return taken


def _take_pointer(record: JobRecord, request: ClaimRequest) -> int:
    pointer, claimed = record.next_run, record.claimed
    if claimed is None or pointer is None or pointer > claimed:
        record.claimed = request.fire_time
        record.attempt = record.tries = 0
    record.attempt = attempt = record.attempt + 1
    if request.moves:
        record.scheduled_runs += 1
        runs, most = record.scheduled_runs, record.options.max_runs
        record.next_run = unless_spent(request.moves_to, runs=runs, most=most)
        record.not_before = None
    return attempt


def _let_fly(record: JobRecord, request: ClaimRequest, terms: Terms) -> Due | None:
    """Let the run go of its job's lease; return what comes next."""
    flight = Flight(terms.owner, record.token, request.fire_time, terms.lease_until, request.manual)
    record.flights = (*record.flights, flight)
    if request.manual:
        record.manual = None
    return due_of(record)


def regrant(record: JobRecord, request: ClaimRequest, owner: str) -> Granted | None:
    """Answer a claim that was asked again: what this owner holds already, if it is that."""
    if record.owner == owner and record.running == request.fire_time:
        return _regrant_lease(record, request, owner)
    for flight in record.flights:
        if flight.owner == owner and flight.fire_time == request.fire_time:
            lease = Lease(record.id, flight.token, owner)
            return Granted(lease, 1, record.next_run, 0, record.last_success, "", due_of(record))
    return None


def _regrant_lease(record: JobRecord, request: ClaimRequest, owner: str) -> Granted:
    """Answer with the pointer as the claim left it: whoever has resumed the job since may have set another."""
    lease, manual = Lease(record.id, record.token, owner), record.manual
    if manual is not None:
        return Granted(lease, manual.attempt, record.next_run, manual.tries, record.last_success, manual.arguments)
    runs, most = record.scheduled_runs, record.options.max_runs
    pointer = unless_spent(request.moves_to, runs=runs, most=most) if request.moves else request.next_run
    return Granted(lease, max(1, record.attempt), pointer, record.tries, record.last_success)


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
