"""
The rules of how a run ends: settled, given back, or abandoned with its lease run out.
"""

from dataclasses import replace
from datetime import datetime

from ...claims import Outcome, PointerMove, Release
from ...models import Flight, JobRecord, JobStatus, RunRecord, RunStatus, instance_of, pending_manual
from .planning import unless_spent

# ── settled ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def settle(record: JobRecord, outcome: Outcome) -> None:
    """Write the outcome of the run that holds the job, and end its lease."""
    if record.manual is not None:
        record.manual = None
    elif outcome.move is not None:
        _move(record, outcome.move)
    record.owner = record.lease_until = record.running = None
    count(record, outcome)


def _move(record: JobRecord, move: PointerMove) -> None:
    record.scheduled_runs += not move.is_counted
    if record.next_run is None or record.next_run != move.expected or record.revision != move.revision:
        return
    runs, most = record.scheduled_runs, record.options.max_runs
    record.next_run = pointer = unless_spent(move.next_run, runs=runs, most=most)
    record.claimed = pointer if move.queued else None
    record.not_before = None
    record.attempt = record.tries = 0


def settle_flight(record: JobRecord, flight: Flight, outcome: Outcome) -> None:
    """Write the outcome of a flight: the claim has moved the pointer already."""
    land(record, flight, JobStatus.PENDING)
    count(record, outcome)


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


def _status_after(status: RunStatus) -> JobStatus:
    if status is RunStatus.COMPLETED:
        return JobStatus.COMPLETED
    return JobStatus.CANCELLED if status is RunStatus.CANCELLED else JobStatus.FAILED


# ── given back ───────────────────────────────────────────────────────────────────────────────────────────────────────


def release(record: JobRecord, given: Release) -> None:
    """Give the lease back unsettled, and the attempt with it, unless the pointer has been moved meanwhile."""
    if given.move is not None:
        _move_back(record, given.move)
    manual = record.manual
    if manual is not None:
        attempt = max(0, manual.attempt - 1)
        record.manual = replace(manual, attempt=attempt, tries=given.tries, not_before=given.not_before)
    elif record.running is not None and record.bound_fire_time == record.running:
        record.attempt = max(0, record.attempt - 1)
        record.tries, record.not_before = given.tries, given.not_before
    _end_lease(record, status_of(given))


def _move_back(record: JobRecord, move: PointerMove) -> bool:
    """Let an occurrence be due again that its claim had moved the pointer past, if the job has not gone on since."""
    is_as_left = record.next_run == move.expected and record.revision == move.revision
    if not is_as_left or record.claimed != move.next_run:
        return False
    record.next_run = move.next_run
    record.scheduled_runs -= move.is_counted
    return True


def release_flight(record: JobRecord, flight: Flight, given: Release) -> None:
    """Take a flight off the job's list; one that has not begun is due again, unless the job has gone on to the next."""
    if given.move is not None and _move_back(record, given.move):
        record.attempt = max(0, record.attempt - 1)
    land(record, flight, status_of(given))


def status_of(given: Release) -> JobStatus:
    """Say what a job is whose run was given back: cut short, or waiting again."""
    return JobStatus.PENDING if given.run is None else _status_after(given.run.status)


# ── abandoned ────────────────────────────────────────────────────────────────────────────────────────────────────────


def is_lost(record: JobRecord) -> bool:
    """Whether the owner's run, should its lease run out, is one that nobody will claim again, as things stand."""
    if record.owner is None:
        return False
    if record.manual is not None:
        return pending_manual(record) is not record.manual
    bound = record.bound_fire_time
    return bound is None or bound != record.running or record.paused


def abandon(record: JobRecord, now: datetime) -> RunRecord:
    """End the lease of an owner that has not been heard of, and return the row that says so."""
    manual = record.manual
    row = RunRecord(
        record.id,
        record.running or record.claimed or now,
        RunStatus.ABANDONED,
        instance_id=instance_of(record.owner or ""),
        attempt=record.attempt if manual is None else manual.attempt,
        token=record.token,
        manual=manual is not None,
        finished=now,
    )
    if manual is not None and manual is not pending_manual(record):
        record.manual = None
    _end_lease(record, JobStatus.FAILED)
    return row


def abandon_flight(record: JobRecord, flight: Flight, now: datetime) -> RunRecord:
    """Forget a flight whose lease ran out, and return the row that says so."""
    land(record, flight, JobStatus.FAILED)
    return RunRecord(
        record.id,
        flight.fire_time,
        RunStatus.ABANDONED,
        instance_id=instance_of(flight.owner),
        attempt=1,
        token=flight.token,
        manual=flight.manual,
        finished=now,
    )


# ── what is left on the job ──────────────────────────────────────────────────────────────────────────────────────────


def _end_lease(record: JobRecord, status: JobStatus) -> None:
    record.owner = record.lease_until = record.running = None
    record.status = JobStatus.RUNNING if record.flights else status


def land(record: JobRecord, flight: Flight, status: JobStatus) -> None:
    """Take a flight off the job's list; the job runs for as long as anybody runs it."""
    record.flights = tuple(other for other in record.flights if other is not flight)
    record.status = JobStatus.RUNNING if record.flights or record.owner is not None else status
