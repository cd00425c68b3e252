"""
Jobs declared by a decorator: they wait for the start, or for the running loop to register them.
"""

import asyncio
import inspect
import logging
from collections import deque
from datetime import timedelta
from functools import partial
from types import CodeType, MethodType
from typing import Any

from ..errors import JobAlreadyExistsError, StorageError
from ..options import JobFunc
from ..schedules import OneShotSchedule, Schedule, WindowedSchedule
from .desk import Desk
from .given import NewJob
from .state import State
from .storage_door import check_home

_logger = logging.getLogger("chrono_async")

_LOOK_AGAIN = 1.0


class Declarations:
    """What was declared and is not registered yet."""

    def __init__(self, state: State, desk: Desk) -> None:
        self._state, self._desk = state, desk
        self._waiting: deque[NewJob] = deque()
        self._funcs: dict[str, JobFunc] = {}
        self._task: asyncio.Task[None] | None = None

    def declare(self, new: NewJob, *, is_running: bool) -> None:
        """
        Take in a declaration. The same function again, from a notebook cell that is run again, replaces its job.

        `JobAlreadyExistsError` if another function has the id.
        """
        if is_running:
            check_home(self._state.door.home)
        self._check_id(new, is_running=is_running)
        self._funcs[new.id] = new.func
        self._waiting.append(new)
        if is_running and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._register_until_done())

    @property
    def under_way(self) -> list[asyncio.Task[None]]:
        """The task that registers, if it does: it must not outlive the scheduler."""
        return [] if self._task is None or self._task.done() else [self._task]

    async def register(self) -> None:
        """Register all that waits; what cannot be stays waiting."""
        while self._waiting:
            new = self._waiting[0]
            counted = new._replace(schedule=await self._counted_from_now(new.schedule))
            await self._desk.add(counted, replace=True)
            if self._waiting and self._waiting[0] is new:
                self._drop_first()

    async def _register_until_done(self) -> None:
        while self._waiting and not self._state.draining.is_set():
            try:
                await self.register()
            except StorageError as error:
                seconds = self._state.door.pause()
                if self._state.leaves_out(self._waiting[0].id, error):
                    self._waiting.rotate(-1)  # the others first; what is stored of this one may be mended meanwhile
                    seconds = _LOOK_AGAIN
                await self._state.drains_within(timedelta(seconds=seconds))
            except Exception:
                _logger.exception("job %r cannot be registered", self._drop_first().id)

    def _drop_first(self) -> NewJob:
        """Take off a declaration that is registered, or never will be: its name is the registry's affair now."""
        done = self._waiting.popleft()
        self._funcs.pop(done.id, None)
        return done

    async def _counted_from_now(self, schedule: Schedule) -> Schedule:
        """A delay that was declared waits for the start too; an instant that was said is the instant."""
        if isinstance(schedule, WindowedSchedule):
            inner = await self._counted_from_now(schedule.schedule)
            return schedule if inner is schedule.schedule else schedule.model_copy(update={"schedule": inner})
        if isinstance(schedule, OneShotSchedule) and schedule.is_counted:
            return await self._desk.one_shot(schedule.delay, None)
        return schedule

    def _check_id(self, new: NewJob, *, is_running: bool) -> None:
        waiting, job = self._funcs.get(new.id), self._state.registry.get(new.id)
        before = waiting if job is None or waiting is not None else job.func
        if before is None or _is_declared_again(new.func, before):
            return
        is_of_an_earlier_life = waiting is None and not is_running  # a lifespan declares its jobs at each start
        if not (is_of_an_earlier_life and _home(new.func) == _home(before)):
            raise JobAlreadyExistsError(new.id)


def _is_declared_again(func: Any, before: Any) -> bool:
    """
    Whether a function takes the place of an earlier one: it is the same, or its code was compiled anew.

    So it is where a cell is run again, or a module loaded again. A loop or a factory makes other functions of the same
    code, of which each would silently end the one before. Not told apart are functions of one name in one module, and
    lambdas on one line, or in two cells: as far as anybody can see, these were edited.
    """
    if isinstance(func, partial) and repr(func) == repr(before):
        return True
    new, old = _written(func), _written(before)
    code, old_code = (getattr(written, "__code__", None) for written in (new, old))
    if code is not None and code is old_code:
        return bool(func == before)  # as methods are that are bound to one object
    return _home(new) == _home(old) and not _are_two_lambdas(code, old_code)


def _written(func: Any) -> Any:
    """Return the function that somebody has written, without its arguments, its wrappers, or what it is bound to."""
    if isinstance(func, partial):
        return _written(func.func)
    return _written(func.__func__) if isinstance(func, MethodType) else inspect.unwrap(func)


def _home(func: Any) -> tuple[object, object]:
    """Return where a function was written, which is the same when its cell is run again."""
    return getattr(func, "__module__", None), getattr(func, "__qualname__", repr(func))


def _are_two_lambdas(code: CodeType | None, other: CodeType | None) -> bool:
    """Whether these have no names and yet are two: of one file, but not of one line. An edited cell is another file."""
    if code is None or other is None or code.co_name != "<lambda>":
        return False
    return code.co_filename == other.co_filename and code.co_firstlineno != other.co_firstlineno
