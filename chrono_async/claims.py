"""
What is asked of a storage that leases, and what it answers.

Named tuples, since these are the small values of the hot path: immutable like the rest, and a third of the price.
Every instant is aware and in UTC.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from .models import Due, JobRecord, RunRecord


class DuePage(NamedTuple):
    """A page of what comes due, in the order of `when`, and where the next page starts."""

    now: datetime
    due: list[Due]
    more: bool = False
    unreadable: Collection[str] = ()
    """Jobs that were come across, and of which what is stored cannot be read: for people to see."""


class ClaimRequest(NamedTuple):
    """The wish to run `fire_time` of a job whose pointer and revision are as last seen."""

    job_id: str
    next_run: datetime | None
    fire_time: datetime
    revision: int
    manual: bool = False
    moves: bool = False
    """At most once: the claim itself moves the pointer, to `moves_to`."""
    moves_to: datetime | None = None
    frees: bool = False
    """`Overlap.ALLOW`: the claim frees the job's lease at once and flies on its own."""


class Lease(NamedTuple):
    """The right to run and to settle: it is proved by token and owner."""

    job_id: str
    token: int
    owner: str


class Granted(NamedTuple):
    """The claim holds."""

    lease: Lease
    attempt: int
    next_run: datetime | None
    """The pointer, as the claim left it."""
    tries: int = 0
    last_success: datetime | None = None
    arguments: str = ""
    due: Due | None = None
    """What comes next, where the claim has freed the job at once."""


class Held(NamedTuple):
    """Somebody else holds the job, or it waits, until then."""

    until: datetime


class Early(NamedTuple):
    """By the storage's clock the fire time is still that far ahead."""

    by: timedelta


class Gone(NamedTuple):
    """The job does not exist."""


class Moved(NamedTuple):
    """The job is not as it was seen: paused, rescheduled, run by another, nothing to do."""


ClaimVerdict = Granted | Held | Early | Gone | Moved


class ClaimAnswer(NamedTuple):
    """One verdict a request, in their order, and the storage's clock."""

    now: datetime
    verdicts: list[ClaimVerdict]


class PointerMove(NamedTuple):
    """Move the pointer to `next_run`, if it and the revision are as the claim left them."""

    expected: datetime | None
    revision: int
    next_run: datetime | None
    queued: bool = False
    is_counted: bool = False
    """At most once: the claim has counted the run towards `max_runs`, and moved the pointer past its fire time."""


class Outcome(NamedTuple):
    """How a run ended, to be written once, under its lease."""

    lease: Lease
    run: RunRecord
    move: PointerMove | None
    """None where the claim has freed the job already, and for manual runs, which move none."""
    skipped: RunRecord | None = None
    """The row for fire times that the run overlapped."""


class SettleVerdict(StrEnum):
    """What a storage made of an outcome."""

    DONE = "done"
    REPEATED = "repeated"
    """It was written before: the answer had been lost."""
    STALE = "stale"
    """The lease had passed to somebody else, or the job is gone: nothing was written."""


class Settled(NamedTuple):
    """The verdict on one outcome, and what comes next for its job."""

    verdict: SettleVerdict
    due: Due | None = None


class SettleAnswer(NamedTuple):
    """One answer an outcome, in their order, and the storage's clock."""

    now: datetime
    settled: list[Settled]


class RenewAnswer(NamedTuple):
    """The leases that are lost, and the storage's clock."""

    now: datetime
    lost: list[Lease]


class Release(NamedTuple):
    """Give a lease back unsettled: the occurrence is due again, at once or at `not_before`, its attempt given back."""

    lease: Lease
    not_before: datetime | None = None
    tries: int = 0
    run: RunRecord | None = None
    """The row for a run that was cut short."""
    move: PointerMove | None = None
    """At most once: the claim has moved the pointer, and as the run has not begun it goes back to its fire time."""


class RegisterVerdict(StrEnum):
    """What a storage made of a registration."""

    CREATED = "created"
    JOINED = "joined"
    """The job was there, with the same definition: nothing changed."""
    CHANGED = "changed"
    """The job was there, with another definition, which is replaced."""
    LATE = "late"
    """The new `next_run` does not lie ahead by the storage's clock: nothing was written; ask again."""


class Registered(NamedTuple):
    """The record as it now stands."""

    now: datetime
    verdict: RegisterVerdict
    record: JobRecord
