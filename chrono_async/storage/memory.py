"""
Jobs in memory: nothing outlives the process. For one process, however many schedulers in it share the storage.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime, timedelta

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
)
from ..clock import Clock, SystemClock
from ..durations import Duration
from ..models import Definition, Due, InstanceInfo, JobRecord, RunRecord, Trigger
from ._doors import checked, in_utc, shifted
from ._hints import Hints
from ._home import Home
from ._ledger.bounds import A_MONTH, Bounds
from ._table.shelf import Alignment, Moment
from ._table.table import Table


class InMemoryStorage:
    """
    A storage that forgets. `history` rows are kept of each job, `total_history` of all together, and none for longer
    than `history_age`.

    Each call is done in one step of the event loop, so that nothing can come between its reading and its writing.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        history: int = 20,
        total_history: int = 50_000,
        history_age: Duration | None = A_MONTH,
    ) -> None:
        self._clock = clock or SystemClock()
        of_job, total, age = Bounds.checked(history, total_history, history_age)
        self._kept = Table(history=of_job, total_history=total, history_age=age)
        self._home = Home()
        self._hints = Hints()
        self._alignment = Alignment()

    @property
    def guarantees(self) -> str:
        """What this storage can promise, in words."""
        return (
            "in memory, for one process: each occurrence is claimed by one instance and settled once; "
            "all jobs and their history end with the process"
        )

    @property
    def _table(self) -> Table:
        """The jobs, for one event loop at a time: nothing keeps the steps of two threads apart."""
        self._home.check()
        return self._kept

    def _moment(self) -> Moment:
        return Moment(self._clock.now(), self._clock.boot())

    async def save_job(self, record: JobRecord) -> None:
        """Insert the record, or overwrite the one of the same id."""
        self._table.save(checked(record))
        self._hints.give()

    async def get_job(self, job_id: str) -> JobRecord:
        """Return the record of this id, or raise `JobNotFoundError`."""
        return self._table.get(job_id).copy()

    async def delete_job(self, job_id: str) -> None:
        """Forget the record and its lock, or raise `JobNotFoundError`."""
        self._table.delete(job_id)
        self._hints.give_others()

    async def list_jobs(self) -> list[JobRecord]:
        """Return all records."""
        return [record.copy() for record in self._table.records.values()]

    async def get_due_jobs(self, now: datetime) -> list[JobRecord]:
        """Return the records that are not paused and whose `next_run` is set and not later than `now`."""
        return [record.copy() for record in self._table.due_records(in_utc(now, "now"))]

    async def acquire_lock(self, job_id: str, owner_id: str, ttl: timedelta) -> bool:
        """Take the lock, or extend one's own; False when somebody else has it."""
        return self._table.acquire(job_id, owner_id, ttl, self._moment())

    async def release_lock(self, job_id: str, owner_id: str) -> None:
        """Give the lock back; by another than its owner nothing happens."""
        self._table.give_back(job_id, owner_id)

    async def close(self) -> None:
        """End the hints. What is kept is kept, until the storage itself is forgotten."""
        self._home.check()
        self._hints.end()
        self._home.leave()

    async def register(self, record: JobRecord) -> Registered:
        """Create the job, or join the one that is there."""
        registered = self._table.register(checked(record), self._clock.now())
        self._hints.give_others()
        return registered

    async def due(
        self,
        now: datetime,
        until: datetime,
        *,
        exclude: Collection[str] = (),
        limit: int = 1000,
        after: Due | None = None,
    ) -> DuePage:
        """Return a page of what can be claimed before `until`."""
        at = self._moment()
        self._table.bury_lost(at)
        end, aligned = shifted(until, now, at.now), self._alignment.aligned(at)
        page, more = self._table.due(end, aligned, exclude=exclude, limit=limit, after=after)
        return DuePage(at.now, page, more)

    async def claim(self, requests: Sequence[ClaimRequest], owner_id: str, ttl: timedelta) -> ClaimAnswer:
        """Grant each request whose job is as the asker saw it, whose time has come, and which nobody holds."""
        at = self._moment()
        return ClaimAnswer(at.now, self._table.claim(requests, owner_id, ttl, at))

    async def renew(self, leases: Sequence[Lease], ttl: timedelta) -> RenewAnswer:
        """Extend those leases whose token and owner still match."""
        at = self._moment()
        return RenewAnswer(at.now, self._table.renew(leases, ttl, at))

    async def settle(self, outcomes: Sequence[Outcome]) -> SettleAnswer:
        """Write each outcome once, if its token and owner still match."""
        at = self._moment()
        return SettleAnswer(at.now, self._table.settle(outcomes, at))

    async def release(self, releases: Sequence[Release]) -> list[Due | None]:
        """Give leases back unsettled."""
        due = self._table.release(releases, self._moment())
        self._hints.give_others()
        return due

    async def advance(self, job_id: str, move: RunRecord, *, revision: int, next_run: datetime | None) -> Due | None:
        """Move the pointer without a run."""
        return self._table.advance(job_id, move, revision=revision, next_run=next_run, at=self._moment())

    async def set_paused(self, job_id: str) -> JobRecord:
        """Pause the job."""
        record = self._table.set_paused(job_id)
        self._hints.give_others()
        return record.copy()

    async def resume(self, job_id: str, *, revision: int, next_run: datetime | None) -> JobRecord | None:
        """Let the job run again from `next_run`."""
        record = self._table.resume(job_id, revision=revision, next_run=next_run, now=self._clock.now())
        self._hints.give_others()
        return record and record.copy()

    async def reschedule(
        self, job_id: str, definition: Definition, *, revision: int, next_run: datetime | None
    ) -> JobRecord | None:
        """Replace schedule and pointer."""
        now = self._clock.now()
        record = self._table.reschedule(job_id, definition, revision=revision, next_run=next_run, now=now)
        self._hints.give_others()
        return record and record.copy()

    async def trigger(self, job_id: str, trigger: Trigger) -> Trigger:
        """Ask for a manual run."""
        waiting = self._table.trigger(job_id, trigger, self._clock.now())
        self._hints.give_others()
        return waiting

    async def list_runs(self, job_id: str | None = None, *, limit: int = 100, offset: int = 0) -> list[RunRecord]:
        """Return the latest rows of the history after the first `offset` of them, the newest first."""
        return self._table.history.latest(job_id, limit, offset)

    async def heartbeat(self, instance: InstanceInfo) -> None:
        """Say that this instance is alive."""
        self._table.heartbeat(instance, self._clock.now())

    async def list_instances(self) -> list[InstanceInfo]:
        """Return the instances that were heard of lately."""
        return self._table.list_instances(self._clock.now())

    def changes(self) -> AsyncIterator[None]:
        """Yield at once when anybody has changed something."""
        return self._hints.listen()
