"""
The poller: it goes to the storage every poll interval, or at once when there is a hint, and loads what comes due.

So an instance holds only its horizon, whatever the storage's size, and finds other instances' jobs, changes and deaths.
"""

import asyncio
import logging
import random
from contextlib import suppress
from datetime import datetime, timedelta
from typing import NamedTuple

from ..errors import JobNotFoundError, StorageCorruptError, StorageError
from ..events import JobUnknown
from ..models import Due, InstanceInfo
from .bursts import is_burst
from .overruns import tell_of_overruns
from .planner import horizon_end
from .registry import LocalJob
from .state import Foreign, State

_logger = logging.getLogger("chrono_async")

_PAGE = 1000
_SHORTEST_PAUSE = 0.01
_PAUSE_A_JOB = 0.0001
"""A few times what it takes to load one: while others add thousands, the list is not read again for each of them."""
_MOST_LEFT_OUT = 10_000


class _Loaded(NamedTuple):
    """What a poll has brought: how many jobs, and whether there is a burst among them."""

    jobs: int
    has_burst: bool


class Poller:
    """One task. The loop and the desk ask what is due as well: what is left of a burst, and what time it is there."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._started = state.time.now()
        self._interval = state.settings.poll_interval / timedelta(seconds=1)
        self._told: dict[str, datetime] = {}
        self._next_beat = self._next_look = self._next_full = state.time.boot()

    async def run(self) -> None:
        """Poll, for ever."""
        while True:
            self._state.hurry.clear()
            tell_of_overruns(self._state.runs, self._state.time.now(), self._state.settings.poll_interval)
            try:
                loaded = await self._load()
            except StorageError:
                await self._wait(self._state.door.pause())
            else:
                await self._beat()
                await self._look_around(loaded)
                await self._wait(self._interval * random.uniform(0.9, 1), after=loaded.jobs)

    async def listen(self) -> None:
        """Hurry whenever the storage hints that another instance has changed something, for ever."""
        while True:
            try:
                await self._hurry_at_every_hint()
            except Exception as error:  # noqa: BLE001 - a hint is a luxury; the poll is the net under it
                _logger.debug("no hints from the storage: %r", error)
                await asyncio.sleep(self._state.settings.poll_interval / timedelta(seconds=1))
            else:
                return  # this storage has no hints to give

    async def _hurry_at_every_hint(self) -> None:
        async for _ in self._state.door.storage.changes():
            self._state.hurry.set()

    async def _wait(self, seconds: float, *, after: int = 0) -> None:
        """Wait, or until there is reason to hurry; but never hammer the storage, the less the more there is to load."""
        polled = self._state.time.boot()
        try:
            async with asyncio.timeout(seconds):
                await self._state.hurry.wait()
        except TimeoutError:
            return
        pause = min(max(_SHORTEST_PAUSE, after * _PAUSE_A_JOB), seconds)
        await asyncio.sleep(max(0, polled + pause - self._state.time.boot()))

    async def _beat(self) -> None:
        """Say that this instance is alive, once in a poll interval, however often there is reason to hurry."""
        state = self._state
        if state.time.boot() < self._next_beat:
            return
        self._next_beat = self._in_an_interval()
        info = InstanceInfo(state.settings.instance_id, self._started, state.time.now(), state.registry.ids)
        with suppress(StorageError):  # no claim hangs on it, and the next one will tell as much
            await state.door.ask(state.door.storage.heartbeat(info))

    async def _look_around(self, loaded: _Loaded) -> None:
        """See who else is there, if there is a burst to share; once in a poll interval at the most."""
        state = self._state
        if not loaded.has_burst or state.time.boot() < self._next_look:
            return
        self._next_look = self._in_an_interval()
        lately = state.time.now() - 2 * state.settings.poll_interval
        with suppress(StorageError):  # what is known of the others serves on
            others = await state.door.ask(state.door.storage.list_instances(), reads=True)
            state.instances = tuple(other.instance_id for other in others if other.seen >= lately)

    def _in_an_interval(self) -> float:
        return self._state.time.boot() + self._interval * 0.9

    async def _load(self) -> _Loaded:
        """
        Load all that comes due within the horizon, page by page.

        Jobs that have no function here are looked at once in a poll interval, and left out where there is a hurry.
        """
        state, last, more, jobs, has_burst = self._state, None, True, 0, False
        foreign, skip, unreadable = state.foreign, frozenset(state.foreign), set[str]()
        if state.time.boot() >= self._next_full:
            self._next_full = self._in_an_interval()
            foreign, skip = {}, frozenset()
        while more:
            now = state.time.now()
            until = horizon_end(now, state.horizon)
            call = state.door.storage.due(now, until, exclude=skip, limit=_PAGE, after=last)
            page = await state.door.ask_dated(call, reads=True)
            for due in page.due:
                await self._look_at(due, foreign, page.now)
            unreadable.update(page.unreadable)
            jobs, has_burst = jobs + len(page.due), has_burst or is_burst(page.due)
            more, last = page.more, page.due[-1] if page.due else last
            await asyncio.sleep(0)  # a long list must not hold up the loop
        state.unreadable = unreadable
        if foreign is not state.foreign:
            self._forget_all_but(foreign)
        return _Loaded(jobs, has_burst)

    async def _look_at(self, due: Due, foreign: Foreign, now: datetime) -> None:
        """Take in what is due, or leave it to others; what makes that fail is left out, and holds up no other job."""
        job = self._state.registry.get(due.job_id)
        try:
            if job is not None:
                await self._take_in(due, job)
            else:
                self._leave_alone(due, foreign, now)
        except Exception as error:
            if isinstance(error, StorageError) and not isinstance(error, StorageCorruptError):
                raise  # of all jobs nothing more is to be heard now
            if due.job_id not in self._state.left_out:
                self._state.left_out.add(due.job_id)
                _logger.exception("job %r is left out, for as long as what the storage says of it fails", due.job_id)
        else:
            self._state.left_out.discard(due.job_id)

    async def _take_in(self, due: Due, job: LocalJob) -> None:
        if due.revision not in {job.revision, self._state.unread.get(due.job_id)}:
            await self._refresh(due.job_id)
        if job.revision == due.revision:
            self._state.arm(due)

    async def _refresh(self, job_id: str) -> None:
        """Somebody has rescheduled the job: go by what they said."""
        state = self._state
        try:
            record = await state.door.ask(state.door.storage.get_job(job_id), reads=True)
        except JobNotFoundError:
            return
        job = state.registry.get(job_id)
        if job is not None:
            state.adopt(job, record)

    def _leave_alone(self, due: Due, foreign: Foreign, now: datetime) -> None:
        """Leave it to others; if it was due at the last full look and nobody has taken it since, it is unknown."""
        state, job_id = self._state, due.job_id
        if len(foreign) >= _MOST_LEFT_OUT:
            return
        if foreign is state.foreign or due.when > now:
            foreign[job_id] = None
            return
        foreign[job_id] = due.when
        if state.foreign.get(job_id) == due.when and job_id not in state.adding:
            state.unknown.add(job_id)
            self._tell_unknown(due)

    def _tell_unknown(self, due: Due) -> None:
        """Say that nobody takes a job, once for each time at which it was due."""
        state, told = self._state, self._told
        if told.get(due.job_id) == due.when:
            return
        told[due.job_id] = due.when
        if len(told) > _MOST_LEFT_OUT:
            del told[next(iter(told))]
        _logger.warning("job %r has been due since %s, and nobody here has a function for it", due.job_id, due.when)
        state.bus.tell(JobUnknown(state.time.now(), due.job_id))

    def _forget_all_but(self, foreign: Foreign) -> None:
        """Keep what a full look has found; what it has not is removed, or others have moved on with it."""
        state = self._state
        state.unknown = {job_id for job_id in state.unknown if foreign.get(job_id) == state.foreign.get(job_id)}
        state.foreign = {job_id: when for job_id, when in foreign.items() if job_id not in state.registry}
