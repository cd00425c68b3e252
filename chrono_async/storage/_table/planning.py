"""
The rules of what a job is to do next: its definition, its pointer, and the manual request that waits on it.
"""

from datetime import datetime, timedelta

from ...claims import RegisterVerdict
from ...models import Definition, JobRecord, RunRecord, Trigger
from .instants import microseconds_of

_MICROSECOND = timedelta(microseconds=1)


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
        existing.next_run = unless_spent(record.next_run, runs=existing.scheduled_runs, most=record.options.max_runs)
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


def unless_spent(next_run: datetime | None, *, runs: int, most: int | None) -> datetime | None:
    """Return the pointer for a job that has run so many times: none if it may not run again."""
    return next_run if most is None or runs < most else None


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
