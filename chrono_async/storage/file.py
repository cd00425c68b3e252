"""
Jobs in a file that several processes of one host may share: YAML, JSON or XML.

Each change is one step in a worker thread: lock the sidecar, read again what another process has changed, apply, write
anew, replace. Changes that come while a step is under way wait for the next, and are written together.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from datetime import datetime, timedelta
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar, cast

import aiofiles

from .._threads import run_in_thread
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
from ..errors import InvalidOptionError, StorageCorruptError, StorageError
from ..models import Definition, Due, InstanceInfo, JobRecord, RunRecord, Trigger
from ._boot import boot_id
from ._doors import checked, in_utc, shifted
from ._file.commit import SharedFile, Version
from ._file.documents import FORMATS, DamagedError, Format, Tree
from ._file.state import UnreadableError, fill, tree_of
from ._hints import Hints
from ._table.shelf import Alignment, Moment
from ._table.table import Table

Result = TypeVar("Result")
Verb = Callable[[Table, Moment], Result]


class FileStorage:
    """
    A storage in the file at `path`, whose ending says its format: `.yaml`, `.yml`, `.json` or `.xml`.

    Folder and file appear at the first change. The file is written whole for each step: it is meant for some thousands
    of jobs, not for hundreds of thousands.
    """

    def __init__(
        self, path: str | PathLike[str], *, clock: Clock | None = None, history: int = 20, total_history: int = 2_000
    ) -> None:
        self.path: Path = Path(path)
        self._format = _format_of(self.path)
        self._clock = clock or SystemClock()
        self._bounds = (history, total_history)
        self._steps = Steps(self)
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

    # ── the file's part of a step ────────────────────────────────────────────────────────────────────────────────────

    def new_table(self) -> Table:
        """Return an empty table."""
        return Table(history=self._bounds[0], total_history=self._bounds[1])

    def moment(self) -> Moment:
        """Return the time of this host."""
        return Moment(self._clock.now(), self._clock.boot())

    def read(self, data: bytes) -> tuple[Table, list[Tree]]:
        """Return what the file's bytes say, and the jobs in it that cannot be read."""
        table = self.new_table()
        try:
            return table, fill(table, self._format.decode(data), boot_id())
        except DamagedError as error:
            raise StorageCorruptError(self._damage(error.line, error.problem)) from error
        except UnreadableError as error:
            raise StorageCorruptError(self._damage(1, str(error))) from error

    def _damage(self, line: int, problem: str) -> str:
        return (
            f"{self.path}, line {line}: {problem}. The file is left as it is; put it right, or replace it with "
            f"{self.path}.bak, the state before the last change, or move it away to begin anew"
        )

    def write(self, table: Table, unreadable: list[Tree]) -> bytes:
        """Return the bytes that say what a table holds."""
        return self._format.encode(tree_of(table, boot_id(), unreadable, self._format.escaped))

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
        self._hints.end()
        await self._steps.finish()

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
            return DuePage(at.now, page, more), bool(table.dead(at.boot))

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

    async def list_runs(self, job_id: str | None = None, *, limit: int = 100) -> list[RunRecord]:
        """Return the latest rows of the history, the newest first."""
        return await self._look(lambda table, _: table.history.latest(job_id, limit))

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


class Call:
    """A verb that waits for its step, and what came of it."""

    __slots__ = ("_error", "_result", "answer", "verb", "writes")

    def __init__(self, verb: Verb[Any], answer: asyncio.Future[Any], *, writes: bool) -> None:
        self.verb: Verb[Any] = verb
        self.answer: asyncio.Future[Any] = answer
        self.writes: bool = writes
        self._result: object = None
        self._error: BaseException | None = StorageError("the outcome is unknown: the event loop stopped the step")

    def apply(self, table: Table, at: Moment) -> None:
        """Do what the verb says; an error is its caller's, not the other calls'."""
        try:
            self._result, self._error = self.verb(table, at), None
        except Exception as error:  # noqa: BLE001 - handed to whoever called
            self._error = error

    def fail(self, error: BaseException) -> None:
        """Let the caller hear that its step came to nothing."""
        self._error = error

    def tell(self) -> None:
        """Wake the caller, unless it has gone."""
        if self.answer.done():
            return
        if self._error is not None:
            self.answer.set_exception(self._error)
        else:
            self.answer.set_result(self._result)


class Steps:
    """Gathers the calls of all tasks, and takes them to the file, one step after another."""

    def __init__(self, storage: FileStorage) -> None:
        self._storage = storage
        self._file = SharedFile(storage.path.absolute())
        self._waiting: list[Call] = []
        self._worker: asyncio.Task[None] | None = None
        self._version: Version | None = None
        self._table: Table | None = None
        self._unreadable: list[Tree] = []
        self._written = b""

    async def take(self, verb: Verb[Result], *, writes: bool) -> Result:
        """Call the verb in the next step and return its result. A caller that is cancelled does not stop it."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Result] = loop.create_future()
        self._waiting.append(Call(verb, answer, writes=writes))
        if self._worker is None or self._worker.done() or self._worker.get_loop() is not loop:
            self._worker = loop.create_task(self._work(), name="chrono-async file storage")
        return await answer

    async def finish(self) -> None:
        """Wait for the steps of all calls so far."""
        if self._worker is not None and not self._worker.done():
            await asyncio.wait([self._worker])

    async def _work(self) -> None:
        while self._waiting:
            calls, self._waiting = self._waiting, []
            try:
                await self._step(calls)
            finally:
                for call in calls:
                    call.tell()

    async def _step(self, calls: list[Call]) -> None:
        if any(call.writes for call in calls):
            await run_in_thread(self._write_step, calls)
        else:
            await self._read_step(calls)

    async def _read_step(self, calls: list[Call]) -> None:
        """Look at the file without its lock: its name always stands for a whole state."""
        try:
            version = self._file.version()
            if self._table is None or version != self._version:
                await run_in_thread(self._load, await self._bytes(version), version)
            self._apply(calls, self._table)
        except Exception as error:  # noqa: BLE001 - whatever it is, the callers hear it and the worker lives on
            self._fail(calls, error)

    async def _bytes(self, version: Version | None) -> bytes:
        if version is None:
            return b""
        async with aiofiles.open(self._file.path, "rb") as file:
            return await file.read()

    def _write_step(self, calls: list[Call]) -> None:
        """Do all that a change needs, in one go: nothing can come between, not even a cancellation."""
        try:
            with self._file.one_at_a_time(), self._file.locked():
                self._refresh()
                self._apply(calls, self._table)
                self._commit()
        except Exception as error:  # noqa: BLE001 - whatever it is, the callers hear it and the worker lives on
            self._fail(calls, error)

    def _refresh(self) -> None:
        """Read the file if it is not as this process left it."""
        version = self._file.version()
        if self._table is None or version != self._version:
            self._load(b"" if version is None else self._file.path.read_bytes(), version)

    def _load(self, data: bytes, version: Version | None) -> None:
        if version is None:
            self._table, self._unreadable = self._storage.new_table(), []
        else:
            self._table, self._unreadable = self._storage.read(data)
        self._version, self._written = version, data

    def _apply(self, calls: list[Call], table: Table | None) -> None:
        at = self._storage.moment()
        for call in calls:
            call.apply(cast(Table, table), at)

    def _commit(self) -> None:
        """Write the table, unless that says what the file says already."""
        data = self._storage.write(cast(Table, self._table), self._unreadable)
        if data == self._written or (self._version is None and self._is_blank()):
            return
        self._file.replace(data)
        self._version, self._written = self._file.version(), data

    def _is_blank(self) -> bool:
        table = cast(Table, self._table)
        return not (table.records or table.locks or table.instances or table.token_floor)

    def _fail(self, calls: list[Call], error: Exception) -> None:
        """Forget what was not written: the file says what holds."""
        self._table = None
        failure = error if isinstance(error, StorageError) else StorageError(f"{self._file.path}: {error!r}")
        if failure is not error:
            failure.__cause__ = error
        for call in calls:
            call.fail(failure)


def _format_of(path: Path) -> Format:
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        problem = f"unsupported file type {path.suffix!r}: use one of {', '.join(FORMATS)}"
        raise InvalidOptionError("path", str(path), problem) from None


def _copy(record: JobRecord | None) -> JobRecord | None:
    return None if record is None else record.copy()
