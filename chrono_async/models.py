"""
What is kept and what is handed around: the job's record, what is due, a run's row and its result.

Every instant is aware and in UTC.
"""

from contextlib import suppress
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from enum import StrEnum
from operator import attrgetter
from typing import NamedTuple

from ._json import ErrorField, ScheduleField
from .errors import ScheduleError
from .policies import DEFAULT_POLICIES, Missed, Policies
from .schedules import Schedule, load


class JobStatus(StrEnum):
    """What a job's latest run is, or came to."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class RunStatus(StrEnum):
    """What a row of the history tells."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    ABANDONED = "abandoned"
    """The lease ran out before the run was settled: its process died, or was cut off."""
    SKIPPED = "skipped"
    """Fire times that came while an earlier run was going."""
    MISSED = "missed"
    """Fire times that passed while nobody looked."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A job's schedule, as text: as code declared it, and with what registration fixed."""

    declared: str
    """What a later registration is compared with; a user's `reschedule` does not change it."""
    bound: str


@dataclass(frozen=True, slots=True)
class Trigger:
    """A manual request to run, with a fire time, attempts, tries and a pause of its own."""

    at: datetime
    arguments: str = ""
    """`{"args": [...], "kwargs": {...}}` as JSON, or empty for the job's own."""
    attempt: int = 0
    tries: int = 0
    """Tries that it had behind it when it was released."""
    not_before: datetime | None = None
    """No claim before then: it waits for its retry."""


@dataclass(frozen=True, slots=True)
class Flight:
    """A run that `Overlap.ALLOW` let go of its job's lease; it has one of its own until it settles."""

    owner: str
    token: int
    fire_time: datetime
    lease_until: datetime
    manual: bool = False


@dataclass(slots=True)
class JobRecord:
    """
    A job as a storage keeps it. `JobRecord(id="a", name="A")` is a pending job without a next run.

    `next_run` is the occurrence that is to be done: it moves on when its outcome is settled, not before. The owner's
    lease says who is doing it, the token says whose word counts.
    """

    id: str
    name: str = ""
    status: JobStatus = JobStatus.PENDING
    paused: bool = False
    last_run: datetime | None = None
    next_run: datetime | None = None
    run_count: int = 0
    error_count: int = 0
    last_error: str = ""

    schedule: Definition | None = None
    options: Policies = DEFAULT_POLICIES
    revision: int = 0
    """Grows when the schedule is replaced, never restarts for an id."""
    scheduled_runs: int = 0
    """The runs that count towards `max_runs`: all but the manual ones."""
    last_success: datetime | None = None

    token: int = 0
    settled_token: int = 0
    owner: str | None = None
    lease_until: datetime | None = None
    running: datetime | None = None
    """The fire time that the owner runs: set and ended with the lease, whatever becomes of the pointer meanwhile."""
    claimed: datetime | None = None
    """Fire time of the latest claim, or of what is queued; while `next_run <= claimed`, the next claim is for it."""
    attempt: int = 0
    tries: int = 0
    """Tries that the pointer's occurrence had behind it when it was released; a manual run has its own."""
    not_before: datetime | None = None
    """No claim of the pointer's occurrence before then: it waits for its retry."""
    triggered: Trigger | None = None
    """A manual request that waits."""
    manual: Trigger | None = None
    """A manual request that was claimed and is not settled."""
    flights: tuple[Flight, ...] = ()

    def copy(self) -> "JobRecord":
        """Return a record of its own with the same values (every value is immutable)."""
        return JobRecord(*_all_fields(self))

    @property
    def bound_fire_time(self) -> datetime | None:
        """The fire time that the next claim must run because it was begun or queued, if any."""
        if self.claimed is None or self.next_run is None or self.next_run > self.claimed:
            return None
        return self.claimed


_all_fields = attrgetter(*(f.name for f in fields(JobRecord)))


class Due(NamedTuple):
    """What an instance must know of a job in order to claim it."""

    job_id: str
    when: datetime
    """The earliest moment at which a claim can be granted."""
    next_run: datetime | None
    revision: int
    bound: datetime | None = None
    """The fire time that must be run, since it was begun or queued before."""
    trigger: datetime | None = None
    """The fire time of a manual request: it goes first."""


def pending_manual(record: JobRecord) -> Trigger | None:
    """Return the manual request to run next: one that was begun goes before one that waits."""
    manual = record.manual
    if manual is None or (manual.attempt and record.options.at_most_once):
        return record.triggered
    return manual


def earliest(record: JobRecord) -> datetime | None:
    """Return when the job has something to do, whether or not it waits for a retry: a manual request even if paused."""
    pointer = None if record.paused else record.next_run
    if record.triggered is None and record.manual is None:
        return pointer
    manual = pending_manual(record)
    if manual is None:
        return pointer
    return manual.at if pointer is None else min(manual.at, pointer)


def due_at(record: JobRecord) -> datetime | None:
    """
    Return when what is to be claimed first can be claimed, whoever may hold the job.

    A manual run that was begun goes before the pointer, in the pause before its retry too; a manual request, even in
    the pause before the pointer's.
    """
    if record.triggered is None and record.manual is None:
        when, wait = None if record.paused else record.next_run, record.not_before
    else:
        manual = pending_manual(record)
        when, wait = earliest(record), record.not_before if manual is None else manual.not_before
    return when if when is None or wait is None or wait < when else wait


def due_of(record: JobRecord, held_until: datetime | None = None) -> Due | None:
    """Say when the job can next be claimed, and what for; `held_until` is the end of a lock that lives on it."""
    if record.triggered is None and record.manual is None and record.not_before is held_until is None:
        return _pointer_due(record)
    when = due_at(record)
    if when is None:
        return None
    if held_until is not None and held_until > when:
        when = held_until
    manual = pending_manual(record)
    return Due(
        record.id, when, record.next_run, record.revision, record.bound_fire_time, None if manual is None else manual.at
    )


def _pointer_due(record: JobRecord) -> Due | None:
    """Say the same of a job with nothing but its pointer: nearly every one, after nearly every run."""
    pointer, claimed = record.next_run, record.claimed
    if pointer is None or record.paused:
        return None
    return Due(record.id, pointer, pointer, record.revision, None if claimed is None or pointer > claimed else claimed)


def place_of(due: Due) -> tuple[datetime, str]:
    """Return where it stands in the order in which jobs come due."""
    return due.when, due.job_id


class RunRecord(NamedTuple):
    """A row of the history: how an attempt ended, or fire times that had none."""

    job_id: str
    fire_time: datetime
    status: RunStatus
    instance_id: str = ""
    attempt: int = 0
    token: int = 0
    manual: bool = False
    started: datetime | None = None
    finished: datetime | None = None
    error: str = ""
    retry_count: int = 0
    missed: Missed | None = None
    """The fire times that were folded into this run; or, in a row of those that had none, which they were."""

    @property
    def run_id(self) -> str:
        """The occurrence's name, the same for each of its attempts on any instance: an idempotency key."""
        return run_id(self.job_id, self.fire_time, manual=self.manual)


def run_id(job_id: str, fire_time: datetime, *, manual: bool) -> str:
    """Name an occurrence by what it is; a manual run can never be taken for a scheduled one."""
    return f"{job_id}@{fire_time.isoformat()}{'!' if manual else ''}"


def owner_of(instance_id: str, claim: str) -> str:
    """Name the owner of a claim, which is like no other, not even the same instance's."""
    return f"{instance_id}/{claim}"


def instance_of(owner: str) -> str:
    """Return the instance that an owner is of; whoever names owners in another way is one by that name."""
    return owner.rpartition("/")[0] or owner


@dataclass(frozen=True, slots=True)
class InstanceInfo:
    """An instance that works on a storage."""

    instance_id: str
    started: datetime
    seen: datetime
    jobs: frozenset[str] = field(default=frozenset(), repr=False)
    """The ids that it has functions for."""


@dataclass(frozen=True, slots=True)
class JobResult:
    """How a run ended."""

    job_id: str
    run_id: str
    fire_time: datetime
    started: datetime
    finished: datetime
    status: JobStatus
    error: ErrorField | None = None
    """The exception itself, as the job's function raised it; a timeout is a `TimeoutError`."""
    retry_count: int = 0
    """How many more tries followed the first."""

    @property
    def duration(self) -> timedelta:
        """From the start of the first try to the end of the last, pauses between them included."""
        return self.finished - self.started


@dataclass(frozen=True, slots=True)
class JobInfo:
    """A job as it stood when it was asked for."""

    id: str
    name: str
    status: JobStatus
    paused: bool
    schedule: ScheduleField | None
    """The bound schedule; None for a schedule of one's own kind that lives in another process, or an unreadable one."""
    last_run: datetime | None
    next_run: datetime | None
    """The occurrence that is to be done; during a scheduled run, and between its tries, the one in hand."""
    run_count: int
    error_count: int
    last_error: str
    last_success: datetime | None = None
    tags: tuple[str, ...] = ()
    instance_id: str | None = None
    """The instance that runs it, as far as the storage knows; none for runs that `Overlap.ALLOW` lets overlap."""

    @classmethod
    def of(cls, record: JobRecord, schedule: Schedule | None = None) -> "JobInfo":
        """
        Tell what a record says; `schedule` stands in for one that has no text.

        One that cannot be read here, in a zone that is unknown or of a newer version's kind, is None: the rest is told.
        """
        if schedule is None and record.schedule is not None:
            with suppress(ScheduleError):
                schedule = load(record.schedule.bound)
        return cls(
            record.id,
            record.name,
            record.status,
            record.paused,
            schedule,
            record.last_run,
            record.next_run,
            record.run_count,
            record.error_count,
            record.last_error,
            record.last_success,
            record.options.tags,
            record.owner and instance_of(record.owner),
        )
