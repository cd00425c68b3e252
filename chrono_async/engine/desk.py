"""
The verbs: what users do to jobs, each a conditional write in the storage, told to the engine afterwards.

A write that is refused because the record has moved is tried again on what it has become. Functions stay here; so a job
whose function lives elsewhere can be paused, resumed, triggered and removed all the same.
"""

import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from ..claims import Registered, RegisterVerdict
from ..durations import Duration
from ..errors import (
    InvalidDelayError,
    JobAlreadyExistsError,
    JobNotFoundError,
    ScheduleError,
    StorageError,
    TriggerPendingError,
)
from ..events import JobAdded, JobEvent, JobPaused, JobRemoved, JobRescheduled, JobResumed
from ..models import Definition, JobInfo, JobRecord, Trigger, due_of, run_id
from ..options import (
    LocalOptions,
    check_func,
    is_coroutine_function,
    read_bool,
)
from ..policies import default_grace
from ..schedules import OneShotSchedule, Schedule, WindowedSchedule, bind, declared, dump, load, window_of
from .given import NewJob, check_schedule, delayed_or_at
from .registry import LocalJob, as_given, held_to_its_word
from .run import Why, dump_arguments, parse_arguments
from .state import State

_logger = logging.getLogger("chrono_async")

_TRIES = 20


def _compare_windows(new: NewJob, stored: Schedule) -> None:
    """Say so where a job is joined whose window is another than code says: options alone replace no schedule."""
    start, end = window_of(stored)
    if new.options.start_at in {None, start} and new.options.end_at in {None, end}:
        return
    _logger.warning(
        "job %r keeps the schedule that is stored, with start_at=%s and end_at=%s: to change these, reschedule it",
        *(new.id, start, end),
    )


def _is_put_off(new: NewJob, info: JobInfo) -> bool:
    """
    Whether a delay that is given again is to count from now: who replaces a job of his own means it.

    The storage has joined it, as it must where a restarted process declares what has run, or is still to run.
    """
    schedule, options = new.schedule, new.options
    if not isinstance(schedule, OneShotSchedule) or schedule.delay is None or options.start_at or options.end_at:
        return False
    return info.next_run != schedule.at


def _warn_if_never(answer: Registered) -> None:
    """Say so where a job that is new, or whose schedule is, has no fire time ahead; a joined one keeps what it has."""
    if answer.verdict is not RegisterVerdict.JOINED and answer.record.next_run is None:
        _logger.warning("job %r has no fire time ahead: it will never run by itself", answer.record.id)


class Desk:
    """Where users' wishes become writes."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def add(self, new: NewJob, *, replace: bool = False) -> JobInfo:
        """Register the job in the storage, and keep its function here."""
        read_bool(replace, "replace")
        adding = self._state.adding
        if not replace and new.id in adding:
            raise JobAlreadyExistsError(new.id)
        adding.add(new.id)
        try:
            if not replace and new.id in self._state.registry and await self._is_kept(new.id):
                raise JobAlreadyExistsError(new.id)
            is_replaced = new.id in self._state.registry
            info = await self._add(new)
            if is_replaced and _is_put_off(new, info):
                return await self.reschedule(new.id, new.schedule)
            return info
        finally:
            adding.discard(new.id)

    async def _is_kept(self, job_id: str) -> bool:
        """Ask whether the storage has a job of this instance still; without an answer it has."""
        try:
            await self._state.door.ask(self._state.door.storage.get_job(job_id), reads=True)
        except JobNotFoundError:  # another instance has removed it
            return False
        except StorageError:
            return True
        return True

    async def _add(self, new: NewJob) -> JobInfo:
        state = self._state
        await self._know_the_time()
        job = self._bind(new)
        declaration = declared(new.schedule, timezone=state.settings.timezone)
        definition = Definition(declaration, dump(as_given(job.schedule)))
        record = await self._register(new, job, definition)
        state.forget(job.id)
        if record.schedule == definition:
            job.revision = record.revision
        else:
            state.adopt(job, record)
            _compare_windows(new, job.schedule)
        state.registry.add(job)
        state.arm(due_of(record, record.lease_until))
        self._tell(JobAdded, job.id)
        return self._info(record)

    async def _know_the_time(self) -> None:
        """Ask the storage for its time before anything is counted from it: this machine's clock may be wrong."""
        if not self._state.time.is_known:
            await self._ask_the_time()

    async def _ask_the_time(self) -> None:
        """Ask it even where it is known, since the storage's clock may have been set: who resumes a job does so now."""
        state, now = self._state, self._state.time.now()
        await state.door.ask_dated(state.door.storage.due(now, now, limit=1), reads=True)

    async def one_shot(self, delay: Duration | None, at: datetime | None) -> OneShotSchedule:
        """Make a one-shot schedule; a delay counts from now by the clock that plans, and stays declared as a delay."""
        schedule = delayed_or_at(delay, at)
        if schedule.delay is None:
            return schedule
        await self._know_the_time()
        try:
            return OneShotSchedule(delay, at=self._state.time.now() + schedule.delay)
        except OverflowError:
            raise InvalidDelayError(f"delay={delay!r}: ends after the year 9999") from None

    def _bind(self, new: NewJob) -> LocalJob:
        settings, options = self._state.settings, new.options
        bound = bind(
            new.schedule,
            job_id=new.id,
            timezone=settings.timezone,
            now=self._state.time.now(),
            start_at=options.start_at,
            end_at=options.end_at,
        )
        grace = default_grace(options.policies, settings.poll_interval)
        return LocalJob(
            id=new.id,
            func=new.func,
            is_async=is_coroutine_function(new.func),
            schedule=held_to_its_word(bound),
            options=options.local,
            policies=options.policies,
            grace=grace,
            is_parallel=options.policies.is_parallel,
            at_most_once=options.policies.at_most_once,
            has_callbacks=options.local.has_callbacks,
        )

    async def _register(self, new: NewJob, job: LocalJob, definition: Definition) -> JobRecord:
        """Register; if the storage's clock turns out to be ahead, count the next run from there."""
        state = self._state
        first = self._first_run(new, job, state.time.now())
        for _ in range(_TRIES):
            record = JobRecord(new.id, new.name, next_run=first, schedule=definition, options=job.policies)
            answer = await state.door.ask_dated(state.door.storage.register(record))
            if answer.verdict is not RegisterVerdict.LATE:
                _warn_if_never(answer)
                return answer.record
            first = _next(job.schedule, answer.now)
        raise StorageError(f"the storage's clock stays ahead of every next run of job {new.id!r}")

    def _first_run(self, new: NewJob, job: LocalJob, now: datetime) -> datetime | None:
        """Return when a job that is created now runs first; a one-shot whose time has only just gone by is not lost."""
        if new.options.run_immediately:
            return now
        first = _next(job.schedule, now)
        if first is None and _is_one_shot(job.schedule):
            first = _next(job.schedule, now - max(job.grace, self._state.settings.poll_interval))
        return first

    async def remove(self, job_id: str) -> None:
        """Forget the job everywhere, and cancel its run."""
        state = self._state
        try:
            await state.door.ask(state.door.storage.delete_job(job_id))
        except JobNotFoundError:
            if job_id not in state.registry:
                raise
        state.registry.remove(job_id)
        state.ask_again.pop(job_id, None)
        state.timeline.disarm(job_id)
        for run in tuple(state.runs.of(job_id)):
            run.cancel(Why.REMOVED)
        state.forget(job_id)
        state.results.fail(job_id, JobNotFoundError(job_id))
        self._tell(JobRemoved, job_id)

    async def pause(self, job_id: str) -> JobInfo:
        """Keep the job from running until it is resumed; a run that is going ends as it would."""
        state = self._state
        record = await state.door.ask(state.door.storage.set_paused(job_id))
        job = state.registry.get(job_id)
        if job is None or job.is_parallel or not state.runs.of(job_id):  # else it may be resumed elsewhere meanwhile
            state.timeline.disarm(job_id)
            state.arm(due_of(record, record.lease_until))  # a manual request is due all the same
        self._tell(JobPaused, job_id)
        return self._info(record)

    async def resume(self, job_id: str) -> JobInfo:
        """Let a paused job run again, from now on."""
        state = self._state

        def write(record: JobRecord) -> Coroutine[Any, Any, JobRecord | None]:
            next_run = self._resumed(record)
            return state.door.storage.resume(job_id, revision=record.revision, next_run=next_run)

        await self._ask_the_time()
        record = await self._change(job_id, write)
        state.arm(due_of(record, record.lease_until))
        self._tell(JobResumed, job_id)
        return self._info(record)

    async def reschedule(self, job_id: str, schedule: Schedule) -> JobInfo:
        """Give the job another schedule, from now on."""
        state = self._state
        check_schedule(schedule)
        await self._ask_the_time()
        timezone = state.settings.timezone
        bound = bind(schedule, job_id=job_id, timezone=timezone, now=state.time.now())
        definition = Definition(declared(schedule, timezone=timezone), dump(bound))
        checked = held_to_its_word(bound)

        def write(record: JobRecord) -> Coroutine[Any, Any, JobRecord | None]:
            next_run = _next(checked, state.time.now())
            return state.door.storage.reschedule(job_id, definition, revision=record.revision, next_run=next_run)

        record = await self._change(job_id, write)
        job = state.registry.get(job_id)
        if job is not None:
            job.schedule, job.revision = checked, record.revision
            state.arm(due_of(record, record.lease_until))
        self._tell(JobRescheduled, job_id)
        return self._info(record)

    async def trigger(
        self, job_id: str, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None
    ) -> str:
        """Ask for a run now. Returns the run's id; one that waits already, with the same arguments, is joined."""
        state, arguments = self._state, dump_arguments(args, kwargs)
        self._check_fit(job_id, arguments)
        trigger = Trigger(state.time.now(), arguments)
        waiting = await state.door.ask(state.door.storage.trigger(job_id, trigger))
        await self._arm_as_stored(job_id)
        waiting_id = run_id(job_id, waiting.at, manual=True)
        if waiting.arguments != arguments:
            raise TriggerPendingError(job_id, waiting_id)
        return waiting_id

    async def _arm_as_stored(self, job_id: str) -> None:
        """Put a job where its record says; the request is made by now, so one that cannot be read is the poll's."""
        state = self._state
        try:
            record = await state.door.ask(state.door.storage.get_job(job_id), reads=True)
        except StorageError:
            state.hurry.set()
            return
        if job_id in state.registry:
            state.arm(due_of(record, record.lease_until))

    def _check_fit(self, job_id: str, arguments: str) -> None:
        """Refuse arguments that the job's function cannot take, if it lives here."""
        job = self._state.registry.get(job_id)
        if job is not None and arguments:
            args, kwargs = parse_arguments(arguments)
            check_func(job.func, LocalOptions(args=args, kwargs=kwargs))

    async def get(self, job_id: str) -> JobInfo:
        """Return the job as it stands in the storage."""
        return self._info(await self._state.door.ask(self._state.door.storage.get_job(job_id), reads=True))

    async def list(self) -> list[JobInfo]:
        """Return all jobs of the storage."""
        records = await self._state.door.ask(self._state.door.storage.list_jobs(), reads=True)
        return [self._info(record) for record in records]

    async def _change(
        self, job_id: str, write: Callable[[JobRecord], Coroutine[Any, Any, JobRecord | None]]
    ) -> JobRecord:
        """Read, write under the condition that nothing has moved, and begin again if it has."""
        state = self._state
        for _ in range(_TRIES):
            before = await state.door.ask(state.door.storage.get_job(job_id), reads=True)
            after = await state.door.ask(write(before))
            if after is not None:
                return after
            await self._ask_the_time()  # perhaps it is that: what was planned lies in the storage's past
        raise StorageError(f"job {job_id!r} is changed by others faster than it can be read")

    def _resumed(self, record: JobRecord) -> datetime | None:
        """Return the next run of a job that is resumed now: a one-shot keeps its time, others count from here."""
        try:
            schedule = self._schedule_of(record)
        except ScheduleError as error:
            raise ScheduleError(
                f"job {record.id!r} cannot be resumed here, where its schedule cannot be read: {error}"
            ) from error
        if schedule is None or _is_one_shot(schedule):
            return record.next_run
        return _next(schedule, self._state.time.now())

    def _info(self, record: JobRecord) -> JobInfo:
        schedule: Schedule | None = None
        try:
            schedule = self._schedule_of(record)
        except ScheduleError as error:
            self._state.tell_unread(record, error)
        return JobInfo.of(record, None if schedule is None else as_given(schedule))

    def _schedule_of(self, record: JobRecord) -> Schedule | None:
        """
        Return the schedule that the record speaks of; None for someone's own that lives in another process.

        `ScheduleError` if it cannot be read here.
        """
        job = self._state.registry.get(record.id)
        if job is not None and job.revision == record.revision:
            return job.schedule
        return None if record.schedule is None else load(record.schedule.bound)

    def _tell(self, kind: type[JobEvent], job_id: str) -> None:
        self._state.bus.tell(kind(self._state.time.now(), job_id))


def _next(schedule: Schedule, now: datetime) -> datetime | None:
    upcoming = schedule.next(now)
    return None if upcoming is None else upcoming.astimezone(UTC)


def _is_one_shot(schedule: Schedule) -> bool:
    if isinstance(schedule, WindowedSchedule):
        return _is_one_shot(schedule.schedule)
    return isinstance(schedule, OneShotSchedule)
