"""
Jobs in a file that several processes of one host may share: YAML, JSON or XML.

Each change is one step in a worker thread: lock the sidecar, read again what another process has changed, apply, write
anew, replace. Changes that come while a step is under way wait for the next, and are written together.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime, timedelta
from os import PathLike
from os.path import realpath
from pathlib import Path
from typing import ClassVar

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
from ..errors import InvalidOptionError
from ..models import Definition, Due, InstanceInfo, JobRecord, RunRecord, Trigger
from ._doors import checked, in_utc, shifted
from ._file.codec import Codec, format_of
from ._file.steps import Result, Steps, Verb
from ._hints import Hints
from ._ledger.bounds import A_MONTH, Bounds
from ._table.shelf import Alignment, Moment
from ._table.table import Table


class FileStorage:
    """
    A storage in the file at `path`, whose ending says its format: `.yaml`, `.yml`, `.json` or `.xml`.

    Folder and file appear at the first change; a path that is a link stays one. The file is written whole for each
    step: it is meant for some thousands of jobs, not for hundreds of thousands. Of each job `history` runs are kept, of
    all together `total_history`, and none for longer than `history_age`.
    """

    claim_batch: ClassVar[int] = 1000
    """How many jobs are best claimed at once: for each batch the file is written whole."""

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        clock: Clock | None = None,
        history: int = 20,
        total_history: int = 2_000,
        history_age: Duration | None = A_MONTH,
    ) -> None:
        self.path: Path = Path(path)
        real = Path(realpath(self.path))  # a link is followed once: to replace the file must not put one in its place
        codec = Codec(real, format_of(self.path), Bounds.checked(history, total_history, history_age))
        self._format = codec.format
        self._steps = Steps(real, codec, clock or SystemClock())
        self._hints = Hints()
        self._alignment = Alignment()

    @property
    def guarantees(self) -> str:
        """What this storage can promise, in words."""
        return (
            "in a file, for the processes of one host: each occurrence is claimed by one instance and settled once; "
            "what was answered is on disk, and a kill leaves the state before or after a change; "
            "leases end by the host's boot clock, and with a reboot"
        )

    def _hold(self, **texts: str) -> None:
        """Refuse a text that this format cannot hold, before anything is written."""
        for name, text in texts.items():
            bad = self._format.bad_character(text)
            if bad is not None:
                raise InvalidOptionError(name, text, f"a {self._format.name} file cannot hold the character {bad!r}")

    def _checked(self, record: JobRecord) -> JobRecord:
        record = checked(record)
        self._hold(id=record.id, name=record.name, owner=record.owner or "")
        if record.schedule is not None:
            self._hold(declared=record.schedule.declared, bound=record.schedule.bound)
        for flight in record.flights:
            self._hold(owner=flight.owner)
        for trigger in filter(None, (record.triggered, record.manual)):
            self._hold(arguments=trigger.arguments)
        return record

    async def _change(self, verb: Verb[Result]) -> Result:
        return await self._steps.take(verb, writes=True)

    async def _look(self, verb: Verb[Result]) -> Result:
        return await self._steps.take(verb, writes=False)

    # ── the eight ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def save_job(self, record: JobRecord) -> None:
        """Insert the record, or overwrite the one of the same id."""
        own = self._checked(record).copy()
        await self._change(lambda table, _: table.save(own))
        self._hints.give()

    async def get_job(self, job_id: str) -> JobRecord:
        """Return the record of this id, or raise `JobNotFoundError`."""
        return await self._look(lambda table, _: table.get(job_id).copy())

    async def delete_job(self, job_id: str) -> None:
        """Forget the record and its lock, or raise `JobNotFoundError`."""
        await self._change(lambda table, _: table.delete(job_id))
        self._hints.give_others()

    async def list_jobs(self) -> list[JobRecord]:
        """Return all records that can be read."""
        return await self._look(lambda table, _: [record.copy() for record in table.records.values()])

    async def get_due_jobs(self, now: datetime) -> list[JobRecord]:
        """Return the records that are not paused and whose `next_run` is set and not later than `now`."""
        moment = in_utc(now, "now")
        return await self._look(lambda table, _: [record.copy() for record in table.due_records(moment)])

    async def acquire_lock(self, job_id: str, owner_id: str, ttl: timedelta) -> bool:
        """Take the lock, or extend one's own; False when somebody else has it."""
        self._hold(job_id=job_id, owner_id=owner_id)
        return await self._change(lambda table, at: table.acquire(job_id, owner_id, ttl, at))

    async def release_lock(self, job_id: str, owner_id: str) -> None:
        """Give the lock back; by another than its owner nothing happens."""
        await self._change(lambda table, _: table.give_back(job_id, owner_id))

    async def close(self) -> None:
        """Wait until everything is written. The file is open only while a step works on it."""
        await self._steps.finish()
        self._hints.end()

    # ── the leasing verbs ────────────────────────────────────────────────────────────────────────────────────────────

    async def register(self, record: JobRecord) -> Registered:
        """Create the job, or join the one that is there."""
        own = self._checked(record).copy()
        registered = await self._change(lambda table, at: table.register(own, at.now))
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

        def look(table: Table, at: Moment) -> tuple[DuePage, bool]:
            end, aligned = shifted(until, now, at.now), self._alignment.aligned(at)
            page, more = table.due(end, aligned, exclude=exclude, limit=limit, after=after)
            return DuePage(at.now, page, more, table.unreadable), bool(table.dead(at.boot))

        page, is_any_dead = await self._look(look)
        if is_any_dead:  # to bury them may change who is due, and when
            await self._change(lambda table, at: table.bury_lost(at))
            page, _ = await self._look(look)
        return page

    async def claim(self, requests: Sequence[ClaimRequest], owner_id: str, ttl: timedelta) -> ClaimAnswer:
        """Grant each request whose job is as the asker saw it, whose time has come, and which nobody holds."""
        self._hold(owner_id=owner_id)
        wanted = list(requests)
        return await self._change(lambda table, at: ClaimAnswer(at.now, table.claim(wanted, owner_id, ttl, at)))

    async def renew(self, leases: Sequence[Lease], ttl: timedelta) -> RenewAnswer:
        """Extend those leases whose token and owner still match."""
        held = list(leases)
        return await self._change(lambda table, at: RenewAnswer(at.now, table.renew(held, ttl, at)))

    async def settle(self, outcomes: Sequence[Outcome]) -> SettleAnswer:
        """Write each outcome once, if its token and owner still match."""
        ended = list(outcomes)
        return await self._change(lambda table, at: SettleAnswer(at.now, table.settle(ended, at)))

    async def release(self, releases: Sequence[Release]) -> list[Due | None]:
        """Give leases back unsettled."""
        given = list(releases)
        due = await self._change(lambda table, at: table.release(given, at))
        self._hints.give_others()
        return due

    async def advance(self, job_id: str, move: RunRecord, *, revision: int, next_run: datetime | None) -> Due | None:
        """Move the pointer without a run."""
        return await self._change(
            lambda table, at: table.advance(job_id, move, revision=revision, next_run=next_run, at=at)
        )

    async def set_paused(self, job_id: str) -> JobRecord:
        """Pause the job."""
        record = await self._change(lambda table, _: table.set_paused(job_id).copy())
        self._hints.give_others()
        return record

    async def resume(self, job_id: str, *, revision: int, next_run: datetime | None) -> JobRecord | None:
        """Let the job run again from `next_run`."""
        record = await self._change(
            lambda table, at: _copy(table.resume(job_id, revision=revision, next_run=next_run, now=at.now))
        )
        self._hints.give_others()
        return record

    async def reschedule(
        self, job_id: str, definition: Definition, *, revision: int, next_run: datetime | None
    ) -> JobRecord | None:
        """Replace schedule and pointer."""
        self._hold(bound=definition.bound, declared=definition.declared)
        record = await self._change(
            lambda table, at: _copy(
                table.reschedule(job_id, definition, revision=revision, next_run=next_run, now=at.now)
            )
        )
        self._hints.give_others()
        return record

    async def trigger(self, job_id: str, trigger: Trigger) -> Trigger:
        """Ask for a manual run."""
        self._hold(arguments=trigger.arguments)
        waiting = await self._change(lambda table, at: table.trigger(job_id, trigger, at.now))
        self._hints.give_others()
        return waiting

    async def list_runs(self, job_id: str | None = None, *, limit: int = 100, offset: int = 0) -> list[RunRecord]:
        """Return the latest rows of the history after the first `offset` of them, the newest first."""
        return await self._look(lambda table, _: table.history.latest(job_id, limit, offset))

    async def heartbeat(self, instance: InstanceInfo) -> None:
        """Say that this instance is alive."""
        self._hold(instance_id=instance.instance_id)
        await self._change(lambda table, at: table.heartbeat(instance, at.now))

    async def list_instances(self) -> list[InstanceInfo]:
        """Return the instances that were heard of lately."""
        return await self._look(lambda table, at: table.list_instances(at.now))

    def changes(self) -> AsyncIterator[None]:
        """Yield at once when this process has changed something; what others change, the poll finds."""
        return self._hints.listen()


def _copy(record: JobRecord | None) -> JobRecord | None:
    return None if record is None else record.copy()
