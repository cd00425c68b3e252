"""
A storage's verbs, with a note of each call before it is made and of each answer when it has come.

A call of many jobs is noted job by job: what a storage promises, it promises of each job by itself. A call whose answer
never came (its process died, its connection broke, nobody waited any more) is one that may have taken effect.
"""

import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from chrono_async import LeasingStorage
from chrono_async.errors import ChronoError, StorageError

from .log import Log


class Asked(NamedTuple):
    """A call, or one job's part of it."""

    call: int
    verb: str
    job: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Answered(NamedTuple):
    """The answer to one job's part of a call: the storage's time if it told it, and a value or an error's name."""

    call: int
    job: str
    now: datetime | None
    value: Any
    error: str = ""


Part = tuple[str, tuple[Any, ...]]


class RecordingStorage:
    """The storage of one process. What it does not note it passes on."""

    def __init__(self, storage: LeasingStorage, log: Log) -> None:
        self._storage, self._log = storage, log
        self._numbers = itertools.count()

    @property
    def guarantees(self) -> str:
        """What the storage promises."""
        return self._storage.guarantees

    def changes(self) -> AsyncIterator[None]:
        """Pass on the storage's hints."""
        return self._storage.changes()

    async def call(self, verb: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note, call, note."""
        call = next(self._numbers)
        self._log.tell("called", (call, verb))
        parts = _PARTS[verb](args) if verb in _PARTS else []
        for job, own in parts:
            self._log.tell("asked", Asked(call, verb, job, own, kwargs))
        try:
            answer = await getattr(self._storage, verb)(*args, **kwargs)
        except StorageError:
            raise  # nobody knows whether it took effect
        except ChronoError as error:
            for job, _ in parts:
                self._log.tell("answered", Answered(call, job, None, None, type(error).__name__))
            raise
        if parts:
            told = _ANSWERS.get(verb, _alone)(answer, parts)
            for (job, _), (now, value) in zip(parts, told, strict=True):
                self._log.tell("answered", Answered(call, job, now, value))
        return answer


def _noted(verb: str) -> Any:
    async def method(self: RecordingStorage, *args: Any, **kwargs: Any) -> Any:
        return await self.call(verb, args, kwargs)

    method.__name__ = verb
    return method


# ── the parts of a call, by job, and of its answer ───────────────────────────────────────────────────────────────────


def _whole(args: tuple[Any, ...]) -> list[Part]:
    return [(args[0], args)]


def _of_record(args: tuple[Any, ...]) -> list[Part]:
    return [(args[0].id, args)]


def _of_requests(args: tuple[Any, ...]) -> list[Part]:
    return [(item.job_id, ([item], *args[1:])) for item in args[0]]


def _of_leases(args: tuple[Any, ...]) -> list[Part]:
    return [(item.lease.job_id, ([item], *args[1:])) for item in args[0]]


_PARTS: dict[str, Callable[[tuple[Any, ...]], list[Part]]] = {
    "register": _of_record,
    "claim": _of_requests,
    "renew": _of_requests,
    "settle": _of_leases,
    "release": _of_leases,
    "advance": _whole,
    "set_paused": _whole,
    "resume": _whole,
    "reschedule": _whole,
    "trigger": _whole,
    "delete_job": _whole,
}


def _alone(answer: Any, _: Sequence[Part]) -> list[tuple[datetime | None, Any]]:
    return [(None, answer)]


_ANSWERS: dict[str, Callable[[Any, Sequence[Part]], list[tuple[datetime | None, Any]]]] = {
    "register": lambda answer, _: [(answer.now, answer)],
    "claim": lambda answer, _: [(answer.now, verdict) for verdict in answer.verdicts],
    "renew": lambda answer, parts: [(answer.now, args[0][0] not in answer.lost) for _, args in parts],
    "settle": lambda answer, _: [(answer.now, settled.verdict) for settled in answer.settled],
    "release": lambda answer, _: [(None, due) for due in answer],
}

_OTHERS = (
    "save_job", "get_job", "list_jobs", "get_due_jobs", "acquire_lock", "release_lock", "close",
    "due", "list_runs", "heartbeat", "list_instances",
)  # fmt: skip
for _verb in (*_PARTS, *_OTHERS):
    setattr(RecordingStorage, _verb, _noted(_verb))
