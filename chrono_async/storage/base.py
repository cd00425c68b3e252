"""
What a storage must do: the eight coroutines that anyone can write in an afternoon, and the leasing verbs.

The engine knows only this page. An eight-method `Storage` gets the verbs of `LeasingStorage` from
`storage/portable.py`.

A storage may be called from many tasks at once. What it is handed and what it hands out is nobody else's: records are
copied at its door. A driver's exception leaves it as a `StorageError`, `from` the original.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from ..claims import (
    ClaimAnswer,
    ClaimRequest,
    DuePage,
    Lease,
    Outcome,
    Registered,
    Release,
    RenewAnswer,
    SettleAnswer,
    Settled,
)
from ..models import Definition, Due, InstanceInfo, JobRecord, RunRecord, Trigger


@runtime_checkable
class Storage(Protocol):
    """The least that a storage can be. Records and locks are apart: a lock needs no record."""

    async def save_job(self, record: JobRecord) -> None:
        """Insert the record, or overwrite the one of the same id."""
        ...

    async def get_job(self, job_id: str) -> JobRecord:
        """Return the record of this id, or raise `JobNotFoundError`."""
        ...

    async def delete_job(self, job_id: str) -> None:
        """Forget the record and its lock, or raise `JobNotFoundError`."""
        ...

    async def list_jobs(self) -> list[JobRecord]:
        """Return all records."""
        ...

    async def get_due_jobs(self, now: datetime) -> list[JobRecord]:
        """Return the records that are not paused and whose `next_run` is set and not later than `now`."""
        ...

    async def acquire_lock(self, job_id: str, owner_id: str, ttl: timedelta) -> bool:
        """Take the lock, atomically, or extend one's own; False when somebody else has it. It ends by itself."""
        ...

    async def release_lock(self, job_id: str, owner_id: str) -> None:
        """Give the lock back; by another than its owner nothing happens."""
        ...

    async def close(self) -> None:
        """Let go of files and connections. Closing twice is fine."""
        ...


@runtime_checkable
class LeasingStorage(Storage, Protocol):
    """
    A storage that claims, renews and settles natively: many jobs in one round trip, each conditionally.

    Every answer is unknown until it has arrived. A claim, a settle and a renewal whose answer was lost can be asked
    again: owner ids are unique per claim, so that "it is mine" answers a repeated claim, and "repeated" a repeated
    settle.

    An attribute `claim_batch` may say how many jobs it is best asked for at once, where that is not 200: a server works
    on one batch while the runs of another go on, but where each change costs a file much, fewer and larger ones do.
    """

    @property
    def guarantees(self) -> str:
        """What this storage can promise, in words."""
        ...

    async def register(self, record: JobRecord) -> Registered:
        """
        Create the job, or join the one that is there.

        The declared definitions are compared. The same: nothing changes but name and options. Another: definition,
        pointer and revision are replaced, counters and the paused flag stay. None there (a record of another program):
        the definition is adopted and a `next_run` that is set is kept. An adopted or unchanged job that has run its
        course stays finished.
        """
        ...

    async def due(
        self,
        now: datetime,
        until: datetime,
        *,
        exclude: Collection[str] = (),
        limit: int = 1000,
        after: Due | None = None,
    ) -> DuePage:
        """
        Return what can be claimed before `until`, in that order, in pages: `after` is the last one of the page before.

        `now` and `until` are the asker's; a storage with a clock of its own looks as far ahead by that clock.
        """
        ...

    async def claim(self, requests: Sequence[ClaimRequest], owner_id: str, ttl: timedelta) -> ClaimAnswer:
        """
        Grant each request whose job is as the asker saw it, whose time has come, and which nobody holds.

        A granted claim has a token greater than any before for that id (at least the storage's time in microseconds), a
        lease for `ttl`, status running, and the attempt counted. A claim over a lease that ran out unsettled leaves an
        "abandoned" row in the history. What this owner was granted before it is granted again, for `ttl` from now.
        """
        ...

    async def renew(self, leases: Sequence[Lease], ttl: timedelta) -> RenewAnswer:
        """Extend those leases whose token and owner still match, even if they had run out, to `ttl` from now."""
        ...

    async def settle(self, outcomes: Sequence[Outcome]) -> SettleAnswer:
        """
        Write each outcome once, if its token and owner still match: counters, status, row, pointer; the lease ends.

        The pointer moves only if it and the revision are as the claim left them, and never from none. Paused flag and
        definition are never touched. A deleted job stays deleted.
        """
        ...

    async def release(self, releases: Sequence[Release]) -> list[Due | None]:
        """
        Give leases back unsettled; attempts are given back too. Those that no longer match are let be.

        What an at-most-once claim did to the pointer is undone for a run with a `move`: it goes back to its `next_run`,
        and the run is not counted, if pointer, revision and latest claim are as that claim left them.
        """
        ...

    async def advance(self, job_id: str, move: RunRecord, *, revision: int, next_run: datetime | None) -> Due | None:
        """
        Move the pointer from `move.fire_time` to `next_run` without a run, with `move` as the row that says why.

        Only if pointer and revision match, no lease lives, nothing was begun, and the storage's clock has passed it.
        The answer is what comes next for the job, moved or not.
        """
        ...

    async def set_paused(self, job_id: str) -> JobRecord:
        """Pause the job; a run that is going ends as it would."""
        ...

    async def resume(self, job_id: str, *, revision: int, next_run: datetime | None) -> JobRecord | None:
        """
        Let the job run again from `next_run`; a job that is not paused is left as it is.

        None if the revision does not match, or `next_run` is in the storage's past and is not the pointer itself.
        """
        ...

    async def reschedule(
        self, job_id: str, definition: Definition, *, revision: int, next_run: datetime | None
    ) -> JobRecord | None:
        """Replace schedule and pointer, and count the revision; None as for `resume`. What code declared is kept."""
        ...

    async def trigger(self, job_id: str, trigger: Trigger) -> Trigger:
        """Ask for a manual run; while one waits unclaimed another joins it. Returns the one that waits."""
        ...

    async def list_runs(self, job_id: str | None = None, *, limit: int = 100, offset: int = 0) -> list[RunRecord]:
        """
        Return the latest rows of the history, the newest first, and as many of those at most; it is kept to a bound.

        The first `offset` of them are left out: so it can be read page by page. Rows that are added meanwhile put off
        the others by as many, so that a page may repeat some of the last one, and leaves none out.
        """
        ...

    async def heartbeat(self, instance: InstanceInfo) -> None:
        """Say that this instance is alive; `seen` is set by the storage's clock."""
        ...

    async def list_instances(self) -> list[InstanceInfo]:
        """Return the instances that were heard of lately."""
        ...

    def changes(self) -> AsyncIterator[None]:
        """Yield at once when another instance has changed something. Only a hint: the poll is the net under it."""
        ...


@runtime_checkable
class SettlesInTransaction(Protocol):
    """What a storage can do whose jobs lie in a database in which users keep their own things, too."""

    async def settle_in(self, connection: object, outcome: Outcome) -> Settled:
        """
        Settle as `settle` does, in the transaction that a user's connection is in: with it or not at all.

        From then until that transaction has ended, a renewal of this lease does not answer. `InvalidOptionError` for
        what is no connection to this database, or in no transaction.
        """
        ...
