"""
A job and a run as flat rows of plain values, for media that have columns or fields.

Instants are `datetime`s in UTC here, whole microseconds or texts there: a medium that has no type for them converts the
columns named in `INSTANTS`. What has a shape of its own (options, manual requests, flights) is JSON.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any

from ...models import Definition, Flight, JobRecord, JobStatus, RunRecord, RunStatus, Trigger, due_at
from ...policies import DEFAULT_POLICIES, Missed, Policies
from .._table.endings import is_lost
from .._table.instants import instant_of, microseconds_of
from .._table.shelf import Lock
from .columns import encoded_column
from .sheet import Kept

PLAIN = (
    "id", "name", "status", "paused", "last_run", "next_run", "run_count", "error_count", "last_error", "revision",
    "scheduled_runs", "last_success", "token", "settled_token", "owner", "lease_until", "running", "claimed", "attempt",
    "tries", "not_before",
)  # fmt: skip
"""The columns that are a record's fields as they are."""

SHAPED = ("declared", "bound", "options", "triggered", "manual", "flights")
HELD = ("lock_owner", "lock_until")
"""Who holds the job, and until when, in whole microseconds of the clock that locks end by."""
DERIVED = ("due_at", "bury_at")
"""When there is something to do, as far as the record knows; and when there is a dead run to bury, or a lock without a
record to forget, by that clock."""

COLUMNS = (*PLAIN, *SHAPED, *HELD, *DERIVED)
INSTANTS = frozenset(
    {"last_run", "next_run", "last_success", "lease_until", "running", "claimed", "not_before", "due_at"}
)
COUNTS = frozenset({"run_count", "error_count", "revision", "scheduled_runs", "token", "settled_token", "attempt",
                    "tries", "lock_until", "bury_at"})  # fmt: skip

# A member of an enum, which has attributes, would have the garbage collector go through its row; its text does not.
_plain = attrgetter(*("status._value_" if name == "status" else name for name in PLAIN))
_NOBODY: tuple[Any, ...] = (None, 0)
_NO_RECORD: tuple[Any, ...] = (None,) * (len(PLAIN) - 1)
_NO_SHAPE: tuple[Any, ...] = (None,) * len(SHAPED)

JobRow = tuple[Any, ...]


# ── jobs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def row_of(job_id: str, kept: Kept) -> JobRow:
    """Return the row of a job; of one that is only a lock, all that is a record's is None."""
    record, lock = kept.record, kept.lock
    held = _NOBODY if lock is None else (lock.owner, _micros(lock.until))
    if record is None:
        return (job_id, *_NO_RECORD, *_NO_SHAPE, *held, None, None if lock is None else held[1])
    return (*_plain(record), *_shaped(record, kept.flights), *held, due_at(record), _bury_at(record, kept))


def _shaped(record: JobRecord, held: Mapping[int, float]) -> tuple[Any, ...]:
    schedule, options = record.schedule, record.options
    return (
        None if schedule is None else schedule.declared,
        None if schedule is None else schedule.bound,
        None if options is DEFAULT_POLICIES else _text_of(options),
        None if record.triggered is None else _trigger_text(record.triggered),
        None if record.manual is None else _trigger_text(record.manual),
        json.dumps([_flight(flight, held) for flight in record.flights]) if record.flights else None,
    )


def _bury_at(record: JobRecord, kept: Kept) -> int | None:
    """Return when somebody should look whether a run has died that no claim will ever come across."""
    is_dead_end = record.owner is not None and is_lost(record)
    if not is_dead_end and not kept.flights:
        return None  # nearly every job, at nearly every write
    ends = [_micros(until) for until in kept.flights.values()]
    if is_dead_end:
        ends.append(0 if kept.lock is None else _micros(kept.lock.until))
    return min(ends, default=None)


def kept_of(row: Sequence[Any]) -> Kept:
    """Return the job that `row_of` wrote; one of `UNREADABLE` is raised for what nobody has written so."""
    declared, bound, options, triggered, manual, flying, owner, until = row[_SHAPED:_DERIVED]
    lock = None if owner is None else Lock(owner, until / 1_000_000)
    job_id, name, status, paused = row[:4]
    if name is None:
        return Kept(None, lock, {})
    definition = None if declared is None or bound is None else Definition(declared, bound)
    policies = DEFAULT_POLICIES if options is None else _policies(options)
    fields = (job_id, name, _STATUSES[status], bool(paused), *row[4:9], definition, policies, *row[9:_SHAPED])
    record = JobRecord(*fields)
    flights: dict[int, float] = {}
    if triggered is not None or manual is not None:
        record.triggered, record.manual = _trigger(triggered), _trigger(manual)
    if flying is not None:
        record.flights, flights = _flights(flying)
    return Kept(record, lock, flights)


_SHAPED = len(PLAIN)
_DERIVED = _SHAPED + len(SHAPED) + len(HELD)
_STATUSES = {status.value: status for status in JobStatus}


# A hundred thousand jobs with the same options share one object, and its text.
@lru_cache(maxsize=1024)
def _text_of(options: Policies) -> str | None:
    return None if options == DEFAULT_POLICIES else options.model_dump_json(exclude_defaults=True)


@lru_cache(maxsize=1024)
def _policies(text: str) -> Policies:
    return Policies.model_validate_json(text)


def _trigger_text(trigger: Trigger) -> str:
    values: list[Any] = [microseconds_of(trigger.at), trigger.arguments, trigger.attempt]
    if trigger.tries or trigger.not_before is not None:
        values += [trigger.tries, None if trigger.not_before is None else microseconds_of(trigger.not_before)]
    return json.dumps(values)


def _trigger(text: str | None) -> Trigger | None:
    if text is None:
        return None
    at, arguments, attempt, *pause = json.loads(text)
    tries, wait = pause or (0, None)
    return Trigger(instant_of(at), arguments, attempt, tries, None if wait is None else instant_of(wait))


def _flight(flight: Flight, held: Mapping[int, float]) -> list[Any]:
    times = (microseconds_of(flight.fire_time), microseconds_of(flight.lease_until))
    return [flight.owner, flight.token, *times, flight.manual, _micros(held.get(flight.token, 0.0))]


def _flights(text: str) -> tuple[tuple[Flight, ...], dict[int, float]]:
    rows = json.loads(text)
    flights = (
        Flight(owner, token, instant_of(at), instant_of(end), manual) for owner, token, at, end, manual, _ in rows
    )
    return tuple(flights), {row[1]: row[5] / 1_000_000 for row in rows}


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

RUN_COLUMNS = (
    "job_id", "fire_time", "status", "instance_id", "attempt", "token", "manual", "started", "finished", "error",
    "retry_count", "missed_count", "missed_first", "missed_last",
)  # fmt: skip
OF_MISSED = 3
"""How many of these, the last, tell of missed fire times: nearly no run has any."""
RUN_INSTANTS = frozenset({"fire_time", "started", "finished", "missed_first", "missed_last"})


def run_row(run: RunRecord) -> tuple[Any, ...]:
    """Return a run of the history as a row."""
    missed = run.missed
    return (*run[:-1], None, None, None) if missed is None else (*run[:-1], missed.count, missed.first, missed.last)


def run_of(row: Sequence[Any]) -> RunRecord:
    """Return the run that `run_row` wrote."""
    *plain, count, first, last = row
    plain[2], plain[6] = _RUN_STATUSES[plain[2]], bool(plain[6])
    plain.append(None if count is None else Missed(count, first, last))
    return RunRecord(*plain)


_RUN_STATUSES = {status.value: status for status in RunStatus}


# ── instants as numbers ──────────────────────────────────────────────────────────────────────────────────────────────


# Jobs of one schedule share their fire times, a batch its lease: most instants have just been seen.
_cached_microseconds = lru_cache(4096)(microseconds_of)
_cached_instant = lru_cache(4096)(instant_of)

_JOB_INSTANTS = frozenset(at for at, name in enumerate(COLUMNS) if name in INSTANTS)
_RUN_INSTANTS = frozenset(at for at, name in enumerate(RUN_COLUMNS) if name in RUN_INSTANTS)


def jobs_in_numbers(rows: Iterable[JobRow]) -> list[tuple[Any, ...]]:
    """Return rows of jobs with whole microseconds in place of instants: what JSON can say."""
    return _in_numbers(rows, _JOB_INSTANTS)


def job_from_numbers(values: Sequence[Any]) -> JobRow:
    """Return the row that has these numbers."""
    return _from_numbers(values, _JOB_INSTANTS)


def runs_in_numbers(runs: Iterable[RunRecord]) -> list[tuple[Any, ...]]:
    """Return rows of runs with whole microseconds in place of instants."""
    return _in_numbers(map(run_row, runs), _RUN_INSTANTS)


def run_from_numbers(values: Sequence[Any]) -> RunRecord:
    """Return the run whose row has these numbers."""
    return run_of(_from_numbers(values, _RUN_INSTANTS))


def _in_numbers(rows: Iterable[Sequence[Any]], instants: Collection[int]) -> list[tuple[Any, ...]]:
    columns = enumerate(zip(*rows, strict=True))
    converted = [encoded_column(_cached_microseconds, column) if at in instants else column for at, column in columns]
    return list(zip(*converted, strict=True))


def _from_numbers(row: Sequence[Any], instants: Iterable[int]) -> tuple[Any, ...]:
    values = list(row)
    for at in instants:
        value = values[at]
        if value is not None:
            values[at] = _cached_instant(value)
    return tuple(values)


def _micros(seconds: float) -> int:
    return round(seconds * 1_000_000)
