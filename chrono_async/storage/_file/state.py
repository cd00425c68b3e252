"""
What a state file says: between a table and a tree of plain values.

A job's first nine fields have the names that the Go original gives them, so that its state files load; ours stand
beside them, where they differ from their defaults. A record that cannot be read costs that record, which is kept as it
stands.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from ...models import (
    Definition,
    Flight,
    InstanceInfo,
    JobRecord,
    JobStatus,
    RunRecord,
    RunStatus,
    Trigger,
)
from ...policies import DEFAULT_POLICIES, Missed, Policies
from .._doors import UNREADABLE
from .._table.shelf import Lock
from .._table.table import Table
from .._told import Told
from .documents import Tree

VERSION = 1
_GO_STATUSES = [JobStatus.PENDING, JobStatus.RUNNING, JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED]
_GO_NO_TIME = "0001-01-01"
_NOTHING = ("", "null", "~")
"""What a person may have written where there is no time or no number."""

Escape = Callable[[str], str]


class UnreadableError(ValueError):
    """A part of a state file makes no sense."""


# ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def tree_of(table: Table, boot_id: str, unreadable: Iterable[Tree], escape: Escape) -> Tree:
    """Return all that a table holds; `escape` makes the text of an exception one that the format can hold."""
    jobs: list[Tree] = [_job(record, escape) for record in table.records.values()]
    return {
        "version": VERSION,
        "tokenFloor": table.token_floor,
        "revisionFloor": table.revision_floor,
        "bootId": boot_id,
        "jobs": [*jobs, *unreadable],
        "locks": [*_locks(table)],
        "runs": [{**_run(row, escape), **_times(written=written)} for row, written in table.history.entries()],
        "instances": [_instance(instance) for instance in table.instances.values()],
    }


def _job(record: JobRecord, escape: Escape) -> Tree:
    tree: dict[str, Any] = {
        "id": record.id,
        "name": record.name,
        "status": record.status.value,
        "paused": record.paused,
        **_times(lastRun=record.last_run, nextRun=record.next_run),
        "runCount": record.run_count,
        "errorCount": record.error_count,
        "lastError": escape(record.last_error),
    }
    return {**tree, **_ours(record), **_begun(record)}


def _ours(record: JobRecord) -> Tree:
    tree: dict[str, Any] = _set(
        revision=record.revision,
        scheduledRuns=record.scheduled_runs,
        token=record.token,
        settledToken=record.settled_token,
    )
    if record.schedule is not None:
        tree["schedule"] = {"declared": record.schedule.declared, "bound": record.schedule.bound}
    if record.options is not DEFAULT_POLICIES and record.options != DEFAULT_POLICIES:
        tree["options"] = _options(record.options)
    return {**tree, **_times(lastSuccess=record.last_success)}


def _begun(record: JobRecord) -> Tree:
    """Return what a claim leaves on a job."""
    tree: dict[str, Any] = _set(owner=record.owner, attempt=record.attempt, tries=record.tries)
    tree |= _times(
        leaseUntil=record.lease_until, running=record.running, claimed=record.claimed, notBefore=record.not_before
    )
    for name, trigger in (("triggered", record.triggered), ("manual", record.manual)):
        if trigger is not None:
            tree[name] = _request(trigger)
    if record.flights:
        tree["flights"] = [_flight(flight) for flight in record.flights]
    return tree


def _request(trigger: Trigger) -> Tree:
    times = _times(at=trigger.at, notBefore=trigger.not_before)
    return {**times, "arguments": trigger.arguments, "attempt": trigger.attempt, **_set(tries=trigger.tries)}


def _flight(flight: Flight) -> Tree:
    times = _times(fireTime=flight.fire_time, leaseUntil=flight.lease_until)
    return {"owner": flight.owner, "token": flight.token, **times, "manual": flight.manual}


def _set(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value or value == ""}


def _times(**moments: datetime | None) -> dict[str, str]:
    return {name: _stamp(moment) for name, moment in moments.items() if moment is not None}


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _options(options: Policies) -> str:
    values = options.model_dump(exclude_defaults=True)
    return json.dumps({name: _seconds(value) for name, value in values.items()})


def _seconds(value: object) -> object:
    return value / timedelta(seconds=1) if isinstance(value, timedelta) else value


def _locks(table: Table) -> Iterator[Tree]:
    for job_id, lock in table.locks.items():
        yield {"jobId": job_id, "owner": lock.owner, "until": _micros(lock.until)}
    for (job_id, token), until in table.flights.items():
        yield {"jobId": job_id, "token": token, "until": _micros(until)}


def _micros(boot: float) -> int:
    return round(boot * 1_000_000)


def _run(row: RunRecord, escape: Escape) -> Tree:
    tree: dict[str, Any] = {"jobId": row.job_id, **_times(fireTime=row.fire_time), "status": row.status.value}
    tree |= _set(
        instanceId=row.instance_id,
        attempt=row.attempt,
        token=row.token,
        manual=row.manual,
        error=escape(row.error) or None,
        retryCount=row.retry_count,
    )
    if row.missed is not None:
        tree["missed"] = {"count": row.missed.count, **_times(first=row.missed.first, last=row.missed.last)}
    return {**tree, **_times(started=row.started, finished=row.finished)}


def _instance(instance: InstanceInfo) -> Tree:
    times = _times(started=instance.started, seen=instance.seen)
    return {"instanceId": instance.instance_id, **times, "jobs": json.dumps(sorted(instance.jobs))}


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def fill(table: Table, document: object, boot_id: str, told: Told | None = None) -> list[Tree]:
    """
    Put what a file says into an empty table; return the jobs that cannot be read, as they stand there.

    What is wrong is told, unless it has been `told` before.
    """
    told = told or Told()
    if document is None:
        raise UnreadableError("is empty")
    tree = _mapping({"jobs": document} if isinstance(document, list) else document, "the file")
    if _count(tree.get("version"), "version") > VERSION:
        raise UnreadableError(f"was written by a newer version of this library (format {tree['version']})")
    table.token_floor = _count(tree.get("tokenFloor"), "tokenFloor")
    table.revision_floor = _count(tree.get("revisionFloor"), "revisionFloor")
    unreadable = [job for job in _jobs(tree.get("jobs")) if not _take_job(table, job, told)]
    ids = (job.get("id") for job in unreadable if isinstance(job, Mapping))
    table.unreadable = {_text(job_id, "id") for job_id in ids if isinstance(job_id, str | int | float)}
    if tree.get("bootId") == boot_id:  # the locks of an earlier life of this machine have ended with it
        _each(tree.get("locks"), "a lock", lambda lock: _take_lock(table, lock), told)
    _each(tree.get("runs"), "a run", lambda row: _take_run(table, row), told)
    _each(tree.get("instances"), "an instance", lambda instance: _take_instance(table, instance), told)
    return unreadable


def _jobs(jobs: object) -> list[Any]:
    """Return the jobs of a list, or of a mapping by id."""
    if jobs is None or jobs == "":
        return []
    if isinstance(jobs, Mapping):
        return [{"id": job_id, **job} if isinstance(job, Mapping) else {"id": job_id} for job_id, job in jobs.items()]
    if not isinstance(jobs, list):
        raise UnreadableError("jobs: must be a list, or a mapping by id")
    return jobs


def _take_job(table: Table, job: object, told: Told) -> bool:
    try:
        table.save(_read_job(_mapping(job, "a job")))
    except UNREADABLE as error:
        told.error(f"a job in the state file cannot be read and is left as it is: {error}: {job!r:.200}")
        return False
    return True


def _read_job(tree: Tree) -> JobRecord:
    record = JobRecord(
        id=_text(tree.get("id"), "id"),
        name=_text(tree.get("name"), "name"),
        status=_status(tree.get("status")),
        paused=_truth(tree.get("paused"), "paused"),
        last_run=_moment(tree.get("lastRun"), "lastRun"),
        next_run=_moment(tree.get("nextRun"), "nextRun"),
        run_count=_count(tree.get("runCount"), "runCount"),
        error_count=_count(tree.get("errorCount"), "errorCount"),
        last_error=_text(tree.get("lastError"), "lastError"),
    )
    if not record.id:
        raise UnreadableError("id: must not be empty")
    _read_ours(record, tree)
    _read_begun(record, tree)
    return record


def _read_ours(record: JobRecord, tree: Tree) -> None:
    if tree.get("schedule"):
        schedule = _mapping(tree["schedule"], "schedule")
        declared, bound = _text(schedule.get("declared"), "declared"), _text(schedule.get("bound"), "bound")
        record.schedule = Definition(declared, bound)
    if tree.get("options"):
        record.options = Policies.model_validate_json(_text(tree["options"], "options"))
    record.revision = _count(tree.get("revision"), "revision")
    record.scheduled_runs = _count(tree.get("scheduledRuns"), "scheduledRuns")
    record.last_success = _moment(tree.get("lastSuccess"), "lastSuccess")
    record.token = _count(tree.get("token"), "token")
    record.settled_token = _count(tree.get("settledToken"), "settledToken")


def _read_begun(record: JobRecord, tree: Tree) -> None:
    record.owner = _text(tree["owner"], "owner") if "owner" in tree else None
    record.lease_until = _moment(tree.get("leaseUntil"), "leaseUntil")
    record.running = _moment(tree.get("running"), "running")
    record.claimed = _moment(tree.get("claimed"), "claimed")
    record.attempt = _count(tree.get("attempt"), "attempt")
    record.tries = _count(tree.get("tries"), "tries")
    record.not_before = _moment(tree.get("notBefore"), "notBefore")
    record.triggered = _trigger(tree.get("triggered"))
    record.manual = _trigger(tree.get("manual"))
    record.flights = tuple(map(_read_flight, _list(tree.get("flights"), "flights")))


def _trigger(value: object) -> Trigger | None:
    if not value:
        return None
    tree = _mapping(value, "a manual request")
    return Trigger(
        _needed(tree, "at"),
        _text(tree.get("arguments"), "arguments"),
        _count(tree.get("attempt"), "attempt"),
        _count(tree.get("tries"), "tries"),
        _moment(tree.get("notBefore"), "notBefore"),
    )


def _read_flight(flight: object) -> Flight:
    tree = _mapping(flight, "a flight")
    return Flight(
        _text(tree.get("owner"), "owner"),
        _count(tree.get("token"), "token"),
        _needed(tree, "fireTime"),
        _needed(tree, "leaseUntil"),
        _truth(tree.get("manual"), "manual"),
    )


def _take_lock(table: Table, tree: Tree) -> None:
    job_id, until = _text(tree.get("jobId"), "jobId"), _count(tree.get("until"), "until") / 1_000_000
    if "token" in tree:
        table.flights[job_id, _count(tree["token"], "token")] = until
    else:
        table.locks[job_id] = Lock(_text(tree.get("owner"), "owner"), until)


def _take_run(table: Table, tree: Tree) -> None:
    table.history.add(_read_run(tree), _moment(tree.get("written"), "written"))


def _read_run(tree: Tree) -> RunRecord:
    return RunRecord(
        _text(tree.get("jobId"), "jobId"),
        _needed(tree, "fireTime"),
        RunStatus(_text(tree.get("status"), "status")),
        instance_id=_text(tree.get("instanceId"), "instanceId"),
        attempt=_count(tree.get("attempt"), "attempt"),
        token=_count(tree.get("token"), "token"),
        manual=_truth(tree.get("manual"), "manual"),
        started=_moment(tree.get("started"), "started"),
        finished=_moment(tree.get("finished"), "finished"),
        error=_text(tree.get("error"), "error"),
        retry_count=_count(tree.get("retryCount"), "retryCount"),
        missed=_missed(tree.get("missed")),
    )


def _missed(value: object) -> Missed | None:
    if not value:
        return None
    tree = _mapping(value, "missed")
    return Missed(_count(tree.get("count"), "count"), _needed(tree, "first"), _needed(tree, "last"))


def _take_instance(table: Table, tree: Tree) -> None:
    instance_id = _text(tree.get("instanceId"), "instanceId")
    jobs = _list(json.loads(_text(tree.get("jobs"), "jobs") or "[]"), "jobs")
    if not all(isinstance(job, str) for job in jobs):
        raise UnreadableError(f"jobs: must be ids, not {jobs!r:.60}")
    started, seen = _needed(tree, "started"), _needed(tree, "seen")
    table.instances[instance_id] = InstanceInfo(instance_id, started, seen, frozenset(jobs))


def _each(items: object, what: str, take: Callable[[Tree], None], told: Told) -> None:
    """Take each item that can be read; the others, which are no jobs, are only told of."""
    for item in items if isinstance(items, list) else ():
        try:
            take(_mapping(item, what))
        except UNREADABLE as error:
            told.warning(f"{what} in the state file cannot be read: {error}: {item!r:.200}")


# ── values ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _mapping(value: object, what: str) -> Tree:
    if not isinstance(value, Mapping):
        raise UnreadableError(f"{what}: must be a mapping, not {value!r:.60}")
    return value


def _list(value: object, field: str) -> list[Any]:
    if value is None or value == "":
        return []
    if not isinstance(value, list):
        raise UnreadableError(f"{field}: must be a list, not {value!r:.60}")
    return value


def _text(value: object, field: str) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping | list):
        raise UnreadableError(f"{field}: must be text, not {value!r:.60}")
    return value if isinstance(value, str) else json.dumps(value)


def _count(value: object, field: str) -> int:
    if value is None or value in _NOTHING:
        return 0
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.removeprefix("-").isdecimal():
        with suppress(ValueError):  # there are more digits than Python reads
            return int(value)
    raise UnreadableError(f"{field}: must be a whole number, not {value!r:.60}")


def _truth(value: object, field: str) -> bool:
    word = _text(value, field).lower()
    if word in {"", "0", "false"}:
        return False
    if word in {"1", "true"}:
        return True
    raise UnreadableError(f"{field}: must be true or false, not {value!r:.60}")


def _status(value: object) -> JobStatus:
    text = _text(value, "status")
    if text.isdecimal() and int(text) < len(_GO_STATUSES):
        return _GO_STATUSES[int(text)]
    try:
        return JobStatus(text.lower() or "pending")
    except ValueError:
        raise UnreadableError(f"status: {text!r:.60} is none of {', '.join(JobStatus)} and no number up to 4") from None


def _moment(value: object, field: str) -> datetime | None:
    text = _text(value, field)
    if text in _NOTHING or text.startswith(_GO_NO_TIME):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UnreadableError(f"{field}: {text!r:.60} is no time") from None
    if moment.tzinfo is None:
        raise UnreadableError(f"{field}: {text!r:.60} has no time zone")
    return moment.astimezone(UTC)


def _needed(tree: Tree, field: str) -> datetime:
    moment = _moment(tree.get(field), field)
    if moment is None:
        raise UnreadableError(f"{field}: is missing")
    return moment
