"""
The front desk: `AsyncScheduler`, its lifecycle and its verbs. What they do is done in `engine/`.
"""

import os
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack, cast, overload

from ._html import JobList, RunList, scheduler_html
from .clock import Clock, SystemClock
from .decorators import JobDecorators, no_schedule
from .durations import Duration, to_non_negative, to_positive
from .engine import (
    Declarations,
    Desk,
    Health,
    LeaderElection,
    Session,
    Settings,
    State,
    ThreadSafe,
    check_text,
    make_instance_id,
    read_job,
    stop_on_signals,
    take_health,
    to_rows,
    wait_for_result,
    warn_if_one_of_several,
)
from .errors import InvalidOptionError, SchedulerRunningError, SchedulerStoppedError
from .events import Event, EventBus, Listener, Subscription
from .models import InstanceInfo, JobInfo, JobResult, RunRecord
from .options import JobFunc, JobOptions
from .schedules import CronSchedule, IntervalSchedule, Schedule
from .storage import InMemoryStorage, Storage, as_leasing

A = TypeVar("A", bound=Event)
B = TypeVar("B", bound=Event)
C = TypeVar("C", bound=Event)


class AsyncScheduler(JobDecorators):
    """
    Runs coroutines and functions on schedules: `async with AsyncScheduler() as s: await s.add_cron_job(...)`.

    Durations are `timedelta`s or seconds. With a storage that several instances share, each fire time of a job is run
    by one of them; `guarantees` says in words what the storage in use can promise. A storage that was handed in is not
    closed. Safe to use from any task of its event loop; from other threads through `threadsafe`.
    """

    def __init__(
        self,
        *,
        storage: Storage | None = None,
        instance_id: str | None = None,
        lock_ttl: Duration = timedelta(minutes=5),
        storage_poll_interval: Duration | None = None,
        check_interval: Duration | None = None,
        timezone: str = "UTC",
        leader: LeaderElection | None = None,
        max_concurrent_runs: int | None = None,
        max_threads: int = 40,
        storage_timeout: Duration = timedelta(seconds=10),
        blocked_loop_threshold: Duration | None = timedelta(seconds=1),
        clock: Clock | None = None,
    ) -> None:
        settings = Settings(
            instance_id=make_instance_id() if instance_id is None else instance_id,
            id_made_in=os.getpid() if instance_id is None else None,
            lock_ttl=to_positive(lock_ttl, "lock_ttl"),
            poll_interval=_poll_interval(storage_poll_interval, check_interval),
            timezone=timezone,
            storage_timeout=to_positive(storage_timeout, "storage_timeout"),
            max_concurrent_runs=max_concurrent_runs,
            max_threads=max_threads,
            leader=leader,
            blocked_loop_threshold=_optional(blocked_loop_threshold, "blocked_loop_threshold"),
        )
        clock = _read_clock(clock)
        self._has_own_storage = storage is None
        leasing = as_leasing(InMemoryStorage(clock=clock) if storage is None else storage, clock=clock)
        self._state = State.make(settings, leasing, clock, EventBus())
        self._desk = Desk(self._state)
        self._declarations = Declarations(self._state, self._desk)
        self._session: Session | None = None
        self._is_starting = False

    # ── lifecycle ────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def instance_id(self) -> str:
        """The name of this instance, unlike any other's."""
        return self._state.settings.instance_id

    @property
    def is_running(self) -> bool:
        """Whether the scheduler was started and nobody has asked it to stop."""
        return self._session is not None and not self._session.is_stopping

    @property
    def guarantees(self) -> str:
        """What the storage in use can promise, in words."""
        return self._state.door.storage.guarantees

    async def start(self) -> None:
        """Begin to run jobs, in tasks of the scheduler's own. `SchedulerRunningError` if it runs, or still drains."""
        if self._is_starting or (self._session is not None and not self._session.is_over):
            raise SchedulerRunningError("the scheduler is running; stop it before starting it again")
        if self._has_own_storage:
            warn_if_one_of_several()
        self._is_starting = True
        try:
            self._state.begin()
            await self._declarations.register()
            self._session = Session(self._state, self._declarations)
        finally:
            self._is_starting = False

    async def stop(self, timeout: Duration | None = None) -> None:
        """
        Drain: claim nothing more, let what runs finish, give leases back. After `timeout` cancel what still runs.

        That may take longer than `timeout`: what is cancelled gets 5 seconds to end, and then outcomes are written and
        callbacks finished for at most `storage_timeout`. A thread at work is left behind; the interpreter waits for it
        at its exit.
        A cancelled run is recorded as such and left due for the next instance or start, unless it is at most once and
        has begun.
        Called from inside a job this asks for the end and returns at once, since the drain waits for that very job.
        `SchedulerStoppedError` if the scheduler does not run.
        """
        session = self._session
        if session is None or session.is_over:
            raise SchedulerStoppedError("the scheduler does not run")
        session.request_stop(None if timeout is None else to_non_negative(timeout, "timeout") / timedelta(seconds=1))
        if not session.is_called_from_inside():
            await session.ended()

    async def run_forever(self, *, handle_signals: bool = True) -> None:
        """
        Run until somebody calls `stop()`; starts the scheduler if it does not run yet.

        SIGINT and SIGTERM drain, a second one cancels what still runs; unless `handle_signals` is False. Cancelling a
        call that has started the scheduler does the same, and it returns when that is over; else it ends nothing.
        """
        starts = self._session is None or self._session.is_over
        if starts:
            await self.start()
        session = cast("Session", self._session)
        async with stop_on_signals(session.request_stop, enabled=handle_signals):
            await (session.outlived() if starts else session.ended())

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None and not self._session.is_over:
            await self.stop()

    # ── jobs ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def add_job(
        self,
        id: str,
        name: str,
        func: JobFunc,
        schedule: Schedule,
        *,
        replace: bool = False,
        **options: Unpack[JobOptions],
    ) -> JobInfo:
        """
        Add a job with any schedule. See `JobOptions` for what can be said of it.

        `JobAlreadyExistsError` if this instance has a job of that id, unless `replace` or it was removed elsewhere; one
        that only the storage knows is joined: it keeps its next run and its counters unless its schedule was declared
        differently.
        """
        return await self._desk.add(read_job(id, name, func, schedule, options), replace=replace)

    async def add_cron_job(
        self,
        id: str,
        name: str,
        func: JobFunc,
        expr: str,
        *,
        timezone: str | None = None,
        day_match: Literal["either", "both"] = "either",
        dialect: Literal["standard", "extended"] = "standard",
        replace: bool = False,
        **options: Unpack[JobOptions],
    ) -> JobInfo:
        """Add a job with a cron expression, in `timezone` or the scheduler's; else as `add_job`."""
        expr = no_schedule(expr, "add_job")
        schedule = CronSchedule(expr, timezone=timezone, day_match=day_match, dialect=dialect)
        return await self.add_job(id, name, func, schedule, replace=replace, **options)

    async def add_interval_job(
        self,
        id: str,
        name: str,
        func: JobFunc,
        every: Duration,
        *,
        replace: bool = False,
        **options: Unpack[JobOptions],
    ) -> JobInfo:
        """Add a job that runs every so often, on a grid that starts now or at `start_at`; else as `add_job`."""
        schedule = IntervalSchedule(no_schedule(every, "add_job"))
        return await self.add_job(id, name, func, schedule, replace=replace, **options)

    async def add_one_shot_job(
        self,
        id: str,
        name: str,
        func: JobFunc,
        delay: Duration | None = None,
        *,
        at: datetime | None = None,
        replace: bool = False,
        **options: Unpack[JobOptions],
    ) -> JobInfo:
        """Add a job that runs once: after `delay`, counted from now, or `at` an instant; else as `add_job`."""
        schedule = await self._desk.one_shot(no_schedule(delay, "add_job"), at)
        return await self.add_job(id, name, func, schedule, replace=replace, **options)

    async def remove_job(self, job_id: str) -> None:
        """Forget the job everywhere, and cancel its run."""
        await self._desk.remove(_job_id(job_id))

    async def pause_job(self, job_id: str) -> JobInfo:
        """Keep the job from running until it is resumed; a run that is going ends as it would."""
        return await self._desk.pause(_job_id(job_id))

    async def resume_job(self, job_id: str) -> JobInfo:
        """Let a paused job run again: its next run counts from now; a one-shot keeps its time, even one gone by."""
        return await self._desk.resume(_job_id(job_id))

    async def reschedule_job(self, job_id: str, schedule: Schedule) -> JobInfo:
        """Give the job another schedule, from now on and everywhere; it outlives restarts that declare the old one."""
        return await self._desk.reschedule(_job_id(job_id), schedule)

    async def trigger_job(
        self, job_id: str, *, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None
    ) -> str:
        """
        Ask for one run as soon as may be, also while the job is paused. Returns its run id, for `wait_for_job`.

        `args` and `kwargs`, what JSON can hold, take the place of the job's own. One request waits at a time: a second
        one joins it. Works for a job whose function lives elsewhere.
        """
        return await self._desk.trigger(_job_id(job_id), args, kwargs)

    async def get_job(self, job_id: str) -> JobInfo:
        """Return the job as it stands in the storage; `JobNotFoundError` if it is not there."""
        return await self._desk.get(_job_id(job_id))

    async def list_jobs(self) -> list[JobInfo]:
        """Return all jobs of the storage, those of other instances too."""
        return JobList(await self._desk.list())

    async def wait_for_job(
        self, job_id: str, *, run_id: str | None = None, timeout: Duration | None = None
    ) -> JobResult:
        """
        Wait for the job's next run to end, or for that of `run_id`, and return its result.

        A job that has run its course gives its last result at once. `TimeoutError` after `timeout`, with 0 unless there
        is a result already; `JobNotFoundError` when the job is not there, or is removed meanwhile; `RunNotFoundError`
        when the named run is not to come any more, and the history does not tell how it ended.
        """
        if run_id is not None:
            check_text(run_id, "a run's id")
        patience = None if timeout is None else to_non_negative(timeout, "timeout")
        return await wait_for_result(self._state, _job_id(job_id), run_id, patience)

    # ── what goes on ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def list_runs(self, job_id: str | None = None, *, limit: int = 100, offset: int = 0) -> list[RunRecord]:
        """
        Return the latest rows of the history, the newest first; the storage keeps it to a bound.

        `offset` leaves out as many of them, to read on where a page has ended.
        """
        if job_id is not None:
            _job_id(job_id)
        limit, offset = to_rows(limit, "limit"), to_rows(offset, "offset")
        call = self._state.door.storage.list_runs(job_id, limit=limit, offset=offset)
        return RunList(await self._state.door.ask(call, reads=True))

    async def list_instances(self) -> list[InstanceInfo]:
        """Return the instances that were heard of lately, and which jobs they have functions for."""
        return await self._state.door.ask(self._state.door.storage.list_instances(), reads=True)

    # Of several types mypy makes their common base, where it is not told what their union is.

    @overload
    def subscribe(self, listener: Listener[Event], *, buffer: int = 1000) -> Subscription[Event]: ...
    @overload
    def subscribe(
        self, listener: Listener[A | B], a: type[A], b: type[B], /, *, buffer: int = 1000
    ) -> Subscription[A | B]: ...
    @overload
    def subscribe(
        self, listener: Listener[A | B | C], a: type[A], b: type[B], c: type[C], /, *, buffer: int = 1000
    ) -> Subscription[A | B | C]: ...
    @overload
    def subscribe(
        self, listener: Listener[A], a: type[A], /, *more: type[A], buffer: int = 1000
    ) -> Subscription[A]: ...
    def subscribe(self, listener: Listener[Any], *types: type[Event], buffer: int = 1000) -> Subscription[Event]:
        """Call `listener`, a function or a coroutine function, with each event of these types (none: all), in order."""
        return self._state.bus.call(listener, *types, buffer=buffer)

    @overload
    def events(self, *, buffer: int = 1000) -> Subscription[Event]: ...
    @overload
    def events(self, a: type[A], b: type[B], /, *, buffer: int = 1000) -> Subscription[A | B]: ...
    @overload
    def events(self, a: type[A], b: type[B], c: type[C], /, *, buffer: int = 1000) -> Subscription[A | B | C]: ...
    @overload
    def events(self, a: type[A], /, *more: type[A], buffer: int = 1000) -> Subscription[A]: ...
    def events(self, *types: type[Event], buffer: int = 1000) -> Subscription[Event]:
        """Return a buffer of events to iterate over: `with s.events() as events: async for event in events: ...`."""
        return self._state.bus.listen(*types, buffer=buffer)

    def health(self) -> Health:
        """Return how the instance is doing, without asking anybody."""
        return take_health(self._state, self._session)

    def _repr_html_(self) -> str:
        return scheduler_html(self.health(), self.guarantees, self._state.registry.schedules)

    @property
    def threadsafe(self) -> ThreadSafe:
        """The way in from other threads."""
        return ThreadSafe(lambda: None if self._session is None or self._session.is_over else self._session.loop)


def _job_id(job_id: str) -> str:
    return check_text(job_id, "a job's id")


def _read_clock(clock: Clock | None) -> Clock:
    if clock is None:
        return SystemClock()
    if isinstance(clock, type) or not all(callable(getattr(clock, name, None)) for name in ("now", "boot")):
        raise InvalidOptionError("clock", clock, "must have the methods now() and boot()")
    return clock


def _poll_interval(given: Duration | None, alias: Duration | None) -> timedelta:
    if given is None and alias is not None:
        return to_positive(alias, "check_interval")
    return to_positive(timedelta(seconds=30) if given is None else given, "storage_poll_interval")


def _optional(value: Duration | None, what: str) -> timedelta | None:
    return None if value is None else to_positive(value, what)
