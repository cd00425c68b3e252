"""
The poller: it goes to the storage every poll interval, or at once when there is a hint, and loads what comes due.

So an instance holds only its horizon, whatever the storage's size, and finds other instances' jobs, changes and deaths.
"""

import asyncio
import logging
import random
from datetime import timedelta

from ..errors import JobNotFoundError, StorageError
from ..events import JobUnknown
from ..models import Due, InstanceInfo
from .bursts import HELPING
from .planner import horizon_end
from .state import State

_logger = logging.getLogger("chrono_async")

_PAGE = 1000
_SHORTEST_PAUSE = 0.01
_PAUSE_A_JOB = 0.0001
"""A few times what it takes to load one: while others add thousands, the list is not read again for each of them."""
_MOST_UNKNOWN = 10_000


class Poller:
    """One task; nothing else loads."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._started = state.time.now()
        self._next_beat = self._next_look = state.time.boot()

    async def run(self) -> None:
        """Poll, for ever."""
        while True:
            self._state.hurry.clear()
            try:
                loaded = await self._load()
                await self._beat()
                await self._look_around(loaded)
            except StorageError:
                await self._wait(self._state.door.pause())
            else:
                poll_interval = self._state.settings.poll_interval / timedelta(seconds=1)
                await self._wait(poll_interval * random.uniform(0.9, 1), after=loaded)

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
        info = InstanceInfo(state.settings.instance_id, self._started, state.time.now(), state.registry.ids)
        await state.door.ask(state.door.storage.heartbeat(info))
        self._next_beat = state.time.boot() + state.settings.poll_interval / timedelta(seconds=1) * 0.9

    async def _look_around(self, loaded: int) -> None:
        """See who else is there, if there may be a burst to share; once in a poll interval at the most."""
        state, now = self._state, self._state.time.boot()
        if loaded <= HELPING or now < self._next_look:
            return
        lately = state.time.now() - 2 * state.settings.poll_interval
        others = await state.door.ask(state.door.storage.list_instances())
        state.instances = tuple(other.instance_id for other in others if other.seen >= lately)
        self._next_look = now + state.settings.poll_interval / timedelta(seconds=1)

    async def _load(self) -> int:
        """Load all that comes due within the horizon, page by page; return how many jobs that were."""
        state, last, more, loaded = self._state, None, True, 0
        while more:
            now = state.time.now()
            until = horizon_end(now, state.horizon)
            page = await state.door.ask_dated(
                state.door.storage.due(now, until, exclude=state.unknown, limit=_PAGE, after=last)
            )
            for due in page.due:
                await self._take_in(due)
            loaded += len(page.due)
            more, last = page.more, page.due[-1] if page.due else last
            await asyncio.sleep(0)  # a long list must not hold up the loop
        return loaded

    async def _take_in(self, due: Due) -> None:
        state = self._state
        job = state.registry.get(due.job_id)
        if job is None:
            self._note_unknown(due)
            return
        if due.revision != job.revision:
            await self._refresh(due.job_id)
        if job.revision == due.revision:
            state.arm(due)

    async def _refresh(self, job_id: str) -> None:
        """Somebody has rescheduled the job: go by what they said."""
        state = self._state
        try:
            record = await state.door.ask(state.door.storage.get_job(job_id))
        except JobNotFoundError:
            return
        job = state.registry.get(job_id)
        if job is not None:
            job.adopt(record)

    def _note_unknown(self, due: Due) -> None:
        """Leave a job alone that is not ours; if nobody else takes it either, and we had time to add it, say so."""
        state, now = self._state, self._state.time.now()
        if now - max(due.when, self._started) < state.settings.poll_interval:
            return
        if due.job_id in state.unknown or due.job_id in state.adding or len(state.unknown) >= _MOST_UNKNOWN:
            return
        state.unknown.add(due.job_id)
        _logger.warning("job %r has been due since %s, and nobody here has a function for it", due.job_id, due.when)
        state.bus.tell(JobUnknown(now, due.job_id))
