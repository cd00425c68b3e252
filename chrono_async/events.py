"""
What the engine tells: event types and the bus that carries them.

Events are told after the storage has answered, and decide nothing. Each subscriber has a bounded buffer and, if it is a
callback, a task of its own: a slow or raising listener delays and harms only itself, and hears how much it has missed.
"""

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Generic, Self, TypeVar, cast

from ._tasks import is_cancellation
from .counts import to_count
from .models import JobResult
from .policies import Missed

_logger = logging.getLogger("chrono_async")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `at` is the storage's time, in UTC."""

    at: datetime


@dataclass(frozen=True, slots=True)
class SchedulerStarted(Event):
    """This instance has begun to look for due jobs."""

    instance_id: str


@dataclass(frozen=True, slots=True)
class SchedulerStopped(Event):
    """This instance has ended; `leaked` names jobs whose bodies would not end."""

    instance_id: str
    leaked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JobEvent(Event):
    """Something happened to a job."""

    job_id: str


@dataclass(frozen=True, slots=True)
class JobAdded(JobEvent):
    """A job was added here: created in the storage or joined there."""


@dataclass(frozen=True, slots=True)
class JobRemoved(JobEvent):
    """A job was removed here."""


@dataclass(frozen=True, slots=True)
class JobPaused(JobEvent):
    """A job was paused here."""


@dataclass(frozen=True, slots=True)
class JobResumed(JobEvent):
    """A job was resumed here."""


@dataclass(frozen=True, slots=True)
class JobRescheduled(JobEvent):
    """A job was given another schedule here."""


@dataclass(frozen=True, slots=True)
class JobUnknown(JobEvent):
    """A job has been due for a poll interval, and nobody here has a function for it; told once for each such time."""


@dataclass(frozen=True, slots=True)
class RunStarted(JobEvent):
    """A run's body is about to begin."""

    fire_time: datetime
    attempt: int
    manual: bool


@dataclass(frozen=True, slots=True)
class RunFinished(JobEvent):
    """A run ended, and its outcome is settled."""

    result: JobResult


@dataclass(frozen=True, slots=True)
class RunReleased(JobEvent):
    """A run was given back unsettled: for a later retry, or because this instance stops."""

    fire_time: datetime
    not_before: datetime | None


@dataclass(frozen=True, slots=True)
class LeaseLost(JobEvent):
    """
    The right to a run ended before the run did, or could not be renewed in time; another instance may have taken over.

    A body that goes on is cancelled. Where it completes or fails all the same, that counts if nobody has taken over,
    and a `RunFinished` follows.
    """

    fire_time: datetime
    token: int


@dataclass(frozen=True, slots=True)
class FireTimesMissed(JobEvent):
    """Fire times passed while nobody looked; they have no run of their own."""

    missed: Missed


@dataclass(frozen=True, slots=True)
class FireTimesSkipped(JobEvent):
    """Fire times came while an earlier run was going, and were passed over."""

    skipped: Missed


@dataclass(frozen=True, slots=True)
class StorageFailing(Event):
    """The storage did not do what it was asked; told once until it answers again."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class StorageRecovered(Event):
    """The storage answers again."""


@dataclass(frozen=True, slots=True)
class LoopBlocked(Event):
    """Something held up the event loop for longer than the threshold."""

    job_id: str | None
    where: str
    seconds: float


@dataclass(frozen=True, slots=True)
class EventsDropped(Event):
    """A subscriber's buffer was full: this many events, the oldest, were dropped."""

    count: int


E_co = TypeVar("E_co", bound=Event, covariant=True)
E = TypeVar("E", bound=Event)

Listener = Callable[[E], Awaitable[None] | None]


class Subscription(Generic[E_co]):
    """
    A bounded buffer of events: iterate over it, `async for event in subscription`, and close it or leave its block.

    When it is full the oldest events make room, and an `EventsDropped` says how many were lost. It comes unasked; who
    names it among the types has it in the type of what comes, too.
    """

    def __init__(self, bus: "EventBus", types: tuple[type[Event], ...], buffer: int) -> None:
        _check_types(types)
        _check_buffer(buffer)
        self._bus = bus
        self._types = types or (Event,)
        self._buffer: deque[Event] = deque(maxlen=buffer)
        self._dropped = 0
        self._arrived = asyncio.Event()
        self._closed = False

    def wants(self, kind: type[Event]) -> bool:
        """Whether events of this type, or of one below it, are asked for."""
        return issubclass(kind, self._types)

    def put(self, event: Event) -> None:
        """Take in an event that is wanted; the engine's side."""
        if len(self._buffer) == self._buffer.maxlen:
            self._dropped += 1
        self._buffer.append(event)
        self._arrived.set()

    def close(self) -> None:
        """End the subscription: what is in the buffer is still handed out, then the iteration ends."""
        self._closed = True
        self._bus.leave(self)
        self._arrived.set()

    def __aiter__(self) -> AsyncIterator[E_co]:
        return self

    async def __anext__(self) -> E_co:
        while not self._buffer:
            if self._closed:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        if self._dropped:
            count, self._dropped = self._dropped, 0
            return cast(E_co, EventsDropped(self._buffer[0].at, count))
        return cast(E_co, self._buffer.popleft())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Calling(Subscription[E]):
    """A subscription that calls a function. Its task lives only while there is something to deliver."""

    def __init__(self, bus: "EventBus", types: tuple[type[E], ...], buffer: int, listener: Listener[E]) -> None:
        super().__init__(bus, types, buffer)
        _check_listener(listener)
        self._listener = listener
        self._context = copy_context()  # the subscriber's: not that of the run which is told of
        self._task: asyncio.Task[None] | None = None

    def put(self, event: Event) -> None:
        super().put(event)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._deliver(), context=self._context)

    async def _deliver(self) -> None:
        while self._buffer:
            await self._call(await anext(self))

    async def _call(self, event: E) -> None:
        try:
            answer = self._listener(event)
            if inspect.isawaitable(answer):
                await answer
        except (
            Exception,
            SystemExit,
            asyncio.CancelledError,
        ) as error:  # a task that raises the second would end the loop
            if is_cancellation(error):
                raise
            _logger.exception("a listener failed on %s", type(event).__name__)


class EventBus:
    """Who wants to hear what."""

    def __init__(self) -> None:
        self._subscriptions: list[Subscription[Event]] = []
        self._wanted: dict[type[Event], tuple[Subscription[Event], ...]] = {}

    @property
    def is_silent(self) -> bool:
        """Whether nobody listens at all."""
        return not self._subscriptions

    def wants(self, kind: type[Event]) -> bool:
        """Whether anybody listens to this type; so that nothing is built that nobody hears."""
        return bool(self._listeners(kind))

    def tell(self, event: Event) -> None:
        """Hand the event to all who want it."""
        for subscription in self._listeners(type(event)):
            subscription.put(event)

    def listen(self, *types: type[E], buffer: int = 1000) -> Subscription[E]:
        """Open a buffer for events of these types; none means all."""
        subscription: Subscription[E] = Subscription(self, types, buffer)
        self._subscriptions.append(subscription)
        self._wanted.clear()
        return subscription

    def call(self, listener: Listener[E], *types: type[E], buffer: int = 1000) -> Subscription[E]:
        """Call `listener`, a function or a coroutine function, with each event of these types, one after the other."""
        subscription = _Calling(self, types, buffer, listener)
        self._subscriptions.append(subscription)
        self._wanted.clear()
        return subscription

    def leave(self, subscription: Subscription[Event]) -> None:
        """Forget a subscription."""
        with suppress(ValueError):
            self._subscriptions.remove(subscription)
        self._wanted.clear()

    def _listeners(self, kind: type[Event]) -> tuple[Subscription[Event], ...]:
        found = self._wanted.get(kind)
        if found is None:
            found = self._wanted[kind] = tuple(s for s in self._subscriptions if s.wants(kind))
        return found


def _check_types(types: Iterable[object]) -> None:
    for kind in types:
        if not (isinstance(kind, type) and issubclass(kind, Event)):
            raise TypeError(f"{kind!r} is no type of event")


def _check_buffer(buffer: object) -> None:
    to_count(buffer, "buffer", least=1)


def _check_listener(listener: object) -> None:
    if not callable(listener) or isinstance(listener, type):
        raise TypeError(f"listener={listener!r}: must be a function or a coroutine function")
