"""
What the engine's tasks share: who is where, and the few signals between them.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ..clock import Clock
from ..errors import ScheduleError
from ..events import EventBus, LeaseLost
from ..models import Due, JobRecord
from ..policies import Overlap
from ..storage.base import LeasingStorage
from .planner import deadline, horizon_end
from .registry import LocalJob, Registry
from .results import Results
from .run import Run, RunTable, Why
from .settings import Settings
from .storage_door import StorageDoor, job_of
from .storage_time import StorageTime
from .timeline import Timeline

_logger = logging.getLogger("chrono_async")

Foreign = dict[str, datetime | None]
"""Jobs of others, and since when they were due when the poller last looked at all; None if they were not."""


@dataclass(slots=True)
class State:
    """Shared by loop, poller, keeper, runner and settler; each of them changes it only between two awaits."""

    settings: Settings
    time: StorageTime
    door: StorageDoor
    bus: EventBus
    registry: Registry = field(default_factory=Registry)
    results: Results = field(default_factory=Results)
    runs: RunTable = field(default_factory=RunTable)
    unknown: set[str] = field(default_factory=set)
    """Jobs that nobody has taken for a poll, and that were reported."""
    foreign: Foreign = field(default_factory=dict)
    """All jobs that have no function here, as far as they are left out of polls; the unknown ones are among them."""
    adding: set[str] = field(default_factory=set)
    """Jobs whose registration is under way: the storage may know them already."""
    unreadable: set[str] = field(default_factory=set)
    """Jobs that the last look came across, and of which what is stored cannot be read: the storage has told of them."""
    left_out: set[str] = field(default_factory=set)
    """Jobs that come due, and that fail when they are looked at."""
    torn: set[str] = field(default_factory=set)
    """Jobs that fail when they are claimed or passed over, since what is stored of them cannot be read."""
    unread: dict[str, int] = field(default_factory=dict)
    """Jobs whose schedule cannot be read here, and of which of its revisions that was told."""
    ask_again: dict[str, datetime] = field(default_factory=dict)
    """When to ask again for claims of which nothing was heard, whatever a poll says of such a job meanwhile."""
    instances: tuple[str, ...] = ()
    """Who shared a burst when last one was ahead."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    """The run loop looks again."""
    hurry: asyncio.Event = field(default_factory=asyncio.Event)
    """The poller goes to the storage now."""
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    """No new claims; pauses between tries end."""
    timeline: Timeline = field(init=False)
    horizon: timedelta = field(init=False)

    def __post_init__(self) -> None:
        self.timeline = Timeline(on_earlier=self._wake)
        self.time.on_jump = self._wake  # whoever sleeps until a deadline sleeps by the time that was
        self.horizon = self.settings.horizon

    @classmethod
    def make(cls, settings: Settings, storage: LeasingStorage, clock: Clock, bus: EventBus) -> "State":
        """Put a new state together."""
        time = StorageTime(clock)
        return cls(settings, time, StorageDoor(storage, time, bus, settings.storage_timeout), bus)

    def begin(self) -> None:
        """Begin a new life: what belonged to the last one, perhaps on another event loop, is forgotten."""
        self.settings = self.settings.in_this_process()
        self.runs, self.unknown, self.foreign, self.unread, self.ask_again = RunTable(), set(), {}, {}, {}
        self.unreadable, self.left_out, self.torn = set(), set(), set()
        self.wake, self.hurry, self.draining = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def _wake(self) -> None:
        self.wake.set()

    def forget(self, job_id: str) -> None:
        """Forget what was left to others about a job: it is here now, or nowhere."""
        self.unknown.discard(job_id)
        self.foreign.pop(job_id, None)
        self.unread.pop(job_id, None)
        self.left_out.discard(job_id)
        self.torn.discard(job_id)

    def adopt(self, job: LocalJob, record: JobRecord) -> None:
        """Let the job go by the schedule in its record; one that cannot be read here leaves the job to others."""
        known = self.registry.get(job.id)
        if known is not None and known.revision == record.revision:
            job.schedule, job.revision = known.schedule, known.revision
            return
        try:
            job.adopt(record)
        except ScheduleError as error:
            self.tell_unread(record, error)

    def tell_unread(self, record: JobRecord, error: ScheduleError) -> None:
        """Say that a job's schedule cannot be read here, once for each of its revisions."""
        if self.unread.get(record.id) != record.revision:
            self.unread[record.id] = record.revision
            _logger.error("the schedule of job %r cannot be read here, so others have to run it: %s", record.id, error)

    def leaves_out(self, job_id: str, error: Exception) -> bool:
        """Leave a job out, until it is claimed, and tell of it once, if an error is about it alone; whether it is."""
        if job_of(error) != job_id:
            return False
        if job_id not in self.torn:
            self.torn.add(job_id)
            _logger.error("job %r is left out, for as long as this is so: %s", job_id, error)
        return True

    def arm(self, due: Due | None) -> None:
        """Put what comes next for a job on the timeline, if it lies within the horizon; the poller brings the rest."""
        if due is None:
            return
        job = self.registry.get(due.job_id)
        if job is None or due.revision != job.revision:
            self.hurry.set()
            return
        if self.runs.of(due.job_id) and not job.is_parallel:
            self._look_at_own_run(job, due)
            return
        at = self.ask_again.get(due.job_id) or deadline(job, due)
        if at <= horizon_end(self.time.now(), self.horizon):
            self.timeline.arm(due, at)

    def _look_at_own_run(self, job: LocalJob, due: Due) -> None:
        """What comes next for a job that runs here is settled with its run; but perhaps it ends that run."""
        if job.policies.overlap is Overlap.CANCEL_RUNNING:
            self.timeline.arm(due, self.time.now())

    def arm_later(self, due: Due, pause: timedelta) -> None:
        """Put a job back, to be looked at after a pause."""
        self.timeline.arm(due, self.time.now() + pause)

    def arm_to_ask_again(self, due: Due, pause: timedelta) -> None:
        """Put a job back whose claim was not answered: what the storage says of it meanwhile must not put that off."""
        self.ask_again[due.job_id] = self.time.now() + pause
        self.arm_later(due, pause)

    async def drains_within(self, pause: timedelta) -> bool:
        """Wait so long, but not into the drain; whether it has come."""
        try:
            async with asyncio.timeout(pause / timedelta(seconds=1)):
                await self.draining.wait()
        except TimeoutError:
            return False
        return True

    def lose(self, run: Run) -> None:
        """End a run whose lease may be somebody else's by now."""
        run.cancel(Why.LEASE_LOST)
        self.bus.tell(LeaseLost(self.time.now(), run.job.id, run.fire_time, run.lease.token))

    @property
    def free_places(self) -> int | None:
        """How many more runs may start; None for any number."""
        most = self.settings.max_concurrent_runs
        return None if most is None else most - len(self.runs)
