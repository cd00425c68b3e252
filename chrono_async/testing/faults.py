"""
Storages that misbehave on purpose, around one that does not.

A race needs a storage that lets others go first, and a promise about failures needs a storage that fails: before its
effect, after it, or by never answering. Both wrappers take an eight-method storage or one with the leasing verbs, and
are one of the same kind.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from enum import StrEnum
from functools import cache
from typing import Any, Self, TypeVar

from chrono_async import LeasingStorage, Storage, StorageError

Answer = TypeVar("Answer")


class Fault(StrEnum):
    """What becomes of a call."""

    REFUSED = "refused"
    """It fails, and nothing was done."""
    ANSWER_LOST = "answer_lost"
    """It is done, and fails: whoever asked cannot know."""
    HANGS = "hangs"
    """Nothing is done, and no answer ever comes."""
    DONE_THEN_HANGS = "done_then_hangs"
    """It is done, and no answer ever comes."""
    SLOW = "slow"
    """It is done, and answered, after `delay` seconds."""
    ODD_ERROR = "odd_error"
    """It raises what no storage should raise."""
    CANCELS_ITSELF = "cancels_itself"
    """It raises `CancelledError`, though nobody has cancelled it."""
    NO_SENSE = "no_sense"
    """It is done, and the answer is None, whatever it should be."""


Plan = Mapping[tuple[str, int], Fault]
"""What goes wrong: by method, and by the number of the call of that method, from 0."""


def _forward(name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
    async def method(self: "_Around", *args: Any, **kwargs: Any) -> Any:
        return await self._call(name, getattr(self.inner, name)(*args, **kwargs))

    method.__name__, method.__doc__ = name, f"Do what `{name}` of the storage within does, if it may."
    return method


class _Around:
    """The eight methods around another storage; around one with the leasing verbs, these too."""

    def __new__(cls, inner: Storage, *args: Any, **kwargs: Any) -> Self:
        del args, kwargs
        kind: Any = cls
        made: Self = object.__new__(_leasing_kind(kind) if isinstance(inner, LeasingStorage) else kind)
        return made

    def __init__(self, inner: Storage) -> None:
        self.inner: Any = inner
        self.calls: Counter[str] = Counter()
        """How often each method was called."""

    async def _call(self, name: str, call: Coroutine[Any, Any, Answer]) -> Answer:
        raise NotImplementedError

    save_job: Any = _forward("save_job")
    get_job: Any = _forward("get_job")
    delete_job: Any = _forward("delete_job")
    list_jobs: Any = _forward("list_jobs")
    get_due_jobs: Any = _forward("get_due_jobs")
    acquire_lock: Any = _forward("acquire_lock")
    release_lock: Any = _forward("release_lock")
    close: Any = _forward("close")


class _AroundLeasing(_Around):
    """The leasing verbs around another storage. Hints come through as they are."""

    register: Any = _forward("register")
    due: Any = _forward("due")
    claim: Any = _forward("claim")
    renew: Any = _forward("renew")
    settle: Any = _forward("settle")
    release: Any = _forward("release")
    advance: Any = _forward("advance")
    set_paused: Any = _forward("set_paused")
    resume: Any = _forward("resume")
    reschedule: Any = _forward("reschedule")
    trigger: Any = _forward("trigger")
    list_runs: Any = _forward("list_runs")
    heartbeat: Any = _forward("heartbeat")
    list_instances: Any = _forward("list_instances")

    @property
    def guarantees(self) -> str:
        """What the storage within promises."""
        promised: str = self.inner.guarantees
        return promised

    def changes(self) -> AsyncIterator[None]:
        """Hint when the storage within does."""
        hints: AsyncIterator[None] = self.inner.changes()
        return hints


@cache
def _leasing_kind(kind: type[Any]) -> type[Any]:
    """Return `kind` with the leasing verbs: a class of its own, since what a storage can do is read off its class."""
    return type(kind.__name__, (kind, _AroundLeasing), {"__doc__": kind.__doc__, "__module__": kind.__module__})


class YieldingStorage(_Around):
    """
    Lets the other tasks of the loop go on before each call and after it.

    A storage in memory never suspends, so that tasks which share it never meet in the middle: around it, they do.
    """

    def __init__(self, inner: Storage, *, yields: int = 1) -> None:
        super().__init__(inner)
        self._yields = yields

    async def _call(self, name: str, call: Coroutine[Any, Any, Answer]) -> Answer:
        self.calls[name] += 1
        try:
            await self._yield()
        except BaseException:
            call.close()
            raise
        answer = await call
        await self._yield()
        return answer

    async def _yield(self) -> None:
        for _ in range(self._yields):
            await asyncio.sleep(0)


class FaultyStorage(_Around):
    """
    Fails as planned: `FaultyStorage(inner, {("claim", 0): Fault.ANSWER_LOST})`.

    Besides the plan there are outages: from `fail(Fault.REFUSED)` until `heal()` every call fails so, or every call of
    the methods named. A plan counts the calls of each method from 0.
    """

    def __init__(self, inner: Storage, plan: Plan | None = None, *, delay: float = 3.0) -> None:
        super().__init__(inner)
        self.plan: dict[tuple[str, int], Fault] = dict(plan or {})
        self.struck: list[tuple[str, Fault]] = []
        """The faults that have come to pass."""
        self._delay = delay
        self._outages: dict[str, Fault] = {}

    def fail(self, fault: Fault, *methods: str) -> None:
        """Begin an outage of these methods; of all, if none is named."""
        self._outages.update(dict.fromkeys(methods or ("*",), fault))

    def heal(self) -> None:
        """End all outages, and forget what is left of the plan."""
        self._outages.clear()
        self.plan.clear()

    async def _call(self, name: str, call: Coroutine[Any, Any, Answer]) -> Answer:
        fault = self._next_fault(name)
        if fault is None:
            return await call
        self.struck.append((name, fault))
        return await self._go_wrong(fault, name, call)

    def _next_fault(self, name: str) -> Fault | None:
        number = self.calls[name]
        self.calls[name] += 1
        return self.plan.get((name, number)) or self._outages.get(name) or self._outages.get("*")

    async def _go_wrong(self, fault: Fault, name: str, call: Coroutine[Any, Any, Answer]) -> Answer:
        match fault:
            case Fault.ANSWER_LOST | Fault.DONE_THEN_HANGS | Fault.NO_SENSE:
                answer: Any = await call
                del answer
            case Fault.SLOW:
                return await self._late(call)
            case _:
                call.close()
        match fault:
            case Fault.HANGS | Fault.DONE_THEN_HANGS:
                await asyncio.get_running_loop().create_future()
            case Fault.ODD_ERROR:
                raise KeyError(f"{name}: what no storage should raise")
            case Fault.CANCELS_ITSELF:
                raise asyncio.CancelledError
            case Fault.NO_SENSE:
                return None  # type: ignore[return-value]  # that is the fault
        raise StorageError(f"{name}: {fault}")

    async def _late(self, call: Coroutine[Any, Any, Answer]) -> Answer:
        try:
            await asyncio.sleep(self._delay)
        except BaseException:
            call.close()
            raise
        return await call
