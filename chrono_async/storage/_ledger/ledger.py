"""
The verbs of a storage that keeps each job by itself: in rows, in hashes, in keys.

Each verb is a rule of `Table` on a sheet that holds only the jobs it concerns. How a sheet is read and written back,
all or nothing for each job, is the medium's part. So the rules stand once, whatever the jobs are kept in.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Generic, NamedTuple, TypeVar

from ...claims import (
    ClaimAnswer,
    ClaimRequest,
    Lease,
    Outcome,
    Registered,
    Release,
    RenewAnswer,
    SettleAnswer,
    SettleVerdict,
)
from ...models import Definition, Due, JobRecord, RunRecord, Trigger
from .._doors import checked
from .._table.shelf import Moment
from .._table.table import Table

Item = TypeVar("Item")
Answer = TypeVar("Answer")

Verb = Callable[[Table, Moment, Sequence[Item]], Sequence[Answer]]
"""Works on a table that holds the items' jobs, and gives one answer an item."""


class Call(NamedTuple, Generic[Item, Answer]):
    """A verb, and what it is to work on."""

    items: Sequence[Item]
    job_of: Callable[[Item], str]
    verb: Verb[Item, Answer]
    floors: bool = False
    """Whether it needs what tokens and revisions have come to in jobs that are gone."""
    history: bool = False
    """Whether it needs the jobs' latest runs."""


_job_id = attrgetter("job_id")
_id_of_lease = attrgetter("lease.job_id")


class Ledger(ABC):
    """The conditional verbs of both protocols, over `_change`."""

    @abstractmethod
    async def _change(self, call: Call[Item, Answer]) -> tuple[datetime, list[Answer]]:
        """
        Read the items' jobs, let the verb work on them, and write what it changed, each job in one step with its runs.

        A job that somebody else has written meanwhile is read again, and the verb is asked again about its items alone.
        An exception of the verb's is the caller's, and nothing is written. Returns the storage's time and the answers,
        in the order of the items.
        """

    async def _change_one(
        self, job_id: str, verb: Callable[[Table, Moment], Answer], *, floors: bool = False, history: bool = False
    ) -> Answer:
        call = Call([job_id], str, lambda table, at, _: [verb(table, at)], floors, history)
        _, (answer,) = await self._change(call)
        return answer

    def _hold(self, **texts: str) -> None:  # noqa: B027 - a hook
        """Refuse, by name, a text that the medium cannot hold, before anything is written; any text is fine here."""

    def _changed(self) -> None:  # noqa: B027 - a hook
        """Tell other instances that there is something new to be seen."""

    # ── the eight verbs ──────────────────────────────────────────────────────────────────────────────────────────────

    async def save_job(self, record: JobRecord) -> None:
        """Insert the record, or overwrite the one of the same id."""
        own = self._held(checked(record)).copy()
        await self._change_one(own.id, lambda table, _: table.save(own), floors=True)
        self._changed()

    def _held(self, record: JobRecord) -> JobRecord:
        schedule = record.schedule or Definition("", "")
        self._hold(id=record.id, name=record.name, owner=record.owner or "")
        self._hold(
            declared=schedule.declared, bound=schedule.bound, **{f"tag {tag}": tag for tag in record.options.tags}
        )
        for trigger in filter(None, (record.triggered, record.manual)):
            self._hold(arguments=trigger.arguments)
        for flight in record.flights:
            self._hold(owner=flight.owner)
        return record

    async def get_job(self, job_id: str) -> JobRecord:
        """Return the record of this id, or raise `JobNotFoundError`."""
        return await self._change_one(job_id, lambda table, _: table.get(job_id).copy())

    async def delete_job(self, job_id: str) -> None:
        """Forget the record and its lock, or raise `JobNotFoundError`."""
        await self._change_one(job_id, lambda table, _: table.delete(job_id), floors=True)
        self._changed()

    async def acquire_lock(self, job_id: str, owner_id: str, ttl: timedelta) -> bool:
        """Take the lock, or extend one's own; False when somebody else has it."""
        self._hold(job_id=job_id, owner_id=owner_id)
        return await self._change_one(job_id, lambda table, at: table.acquire(job_id, owner_id, ttl, at))

    async def release_lock(self, job_id: str, owner_id: str) -> None:
        """Give the lock back; by another than its owner nothing happens."""
        await self._change_one(job_id, lambda table, _: table.give_back(job_id, owner_id))

    # ── claims and what follows from them ────────────────────────────────────────────────────────────────────────────

    async def register(self, record: JobRecord) -> Registered:
        """Create the job, or join the one that is there."""
        record = self._held(checked(record))
        registered = await self._change_one(record.id, lambda table, at: table.register(record, at.now), floors=True)
        self._changed()
        return registered

    async def claim(self, requests: Sequence[ClaimRequest], owner_id: str, ttl: timedelta) -> ClaimAnswer:
        """Grant each request whose job is as the asker saw it, whose time has come, and which nobody holds."""
        self._hold(owner_id=owner_id)
        now, verdicts = await self._change(
            Call(requests, _job_id, lambda table, at, asked: table.claim(asked, owner_id, ttl, at), floors=True)
        )
        return ClaimAnswer(now, verdicts)

    async def renew(self, leases: Sequence[Lease], ttl: timedelta) -> RenewAnswer:
        """Extend those leases whose token and owner still match."""

        def verb(table: Table, at: Moment, asked: Sequence[Lease]) -> list[bool]:
            lost = set(table.renew(asked, ttl, at))
            return [lease not in lost for lease in asked]

        now, renewed = await self._change(Call(leases, _job_id, verb))
        return RenewAnswer(now, [lease for lease, holds in zip(leases, renewed, strict=True) if not holds])

    async def settle(self, outcomes: Sequence[Outcome]) -> SettleAnswer:
        """Write each outcome once, if its token and owner still match."""
        call = Call(outcomes, _id_of_lease, lambda table, at, given: table.settle(given, at))
        now, settled = await self._change(call)
        stale = [at for at, answer in enumerate(settled) if answer.verdict is SettleVerdict.STALE]
        if stale:  # or was it written before, and its answer lost? The history may know.
            _, again = await self._change(call._replace(items=[outcomes[at] for at in stale], history=True))
            for at, answer in zip(stale, again, strict=True):
                settled[at] = answer
        return SettleAnswer(now, settled)

    async def release(self, releases: Sequence[Release]) -> list[Due | None]:
        """Give leases back unsettled."""
        call = Call(releases, _id_of_lease, lambda table, at, given: table.release(given, at))
        _, due = await self._change(call)
        self._changed()
        return due

    async def _bury(self, job_ids: Sequence[str]) -> None:
        """Write down the dead runs of these jobs, which no claim will ever come across."""

        def verb(table: Table, at: Moment, asked: Sequence[str]) -> Sequence[None]:
            table.bury_lost(at, asked)
            return [None] * len(asked)

        await self._change(Call(job_ids, str, verb))

    # ── what users and pollers do ────────────────────────────────────────────────────────────────────────────────────

    async def advance(self, job_id: str, move: RunRecord, *, revision: int, next_run: datetime | None) -> Due | None:
        """Move the pointer without a run."""
        return await self._change_one(
            job_id, lambda table, at: table.advance(job_id, move, revision=revision, next_run=next_run, at=at)
        )

    async def set_paused(self, job_id: str) -> JobRecord:
        """Pause the job."""
        record = await self._change_one(job_id, lambda table, _: table.set_paused(job_id).copy())
        self._changed()
        return record

    async def resume(self, job_id: str, *, revision: int, next_run: datetime | None) -> JobRecord | None:
        """Let the job run again from `next_run`."""
        record = await self._change_one(
            job_id, lambda table, at: table.resume(job_id, revision=revision, next_run=next_run, now=at.now)
        )
        self._changed()
        return _copied(record)

    async def reschedule(
        self, job_id: str, definition: Definition, *, revision: int, next_run: datetime | None
    ) -> JobRecord | None:
        """Replace schedule and pointer."""
        self._hold(declared=definition.declared, bound=definition.bound)
        record = await self._change_one(
            job_id,
            lambda table, at: table.reschedule(job_id, definition, revision=revision, next_run=next_run, now=at.now),
        )
        self._changed()
        return _copied(record)

    async def trigger(self, job_id: str, trigger: Trigger) -> Trigger:
        """Ask for a manual run."""
        self._hold(arguments=trigger.arguments)
        waiting = await self._change_one(job_id, lambda table, at: table.trigger(job_id, trigger, at.now), history=True)
        self._changed()
        return waiting


def _copied(record: JobRecord | None) -> JobRecord | None:
    """Return a record of the caller's own: the table's may be remembered."""
    return None if record is None else record.copy()
