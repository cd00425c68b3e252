"""
The options of a job: what users may say about it, read and checked in one place.

What other processes need to know of them goes into the record (`Policies`); the rest stays beside the function.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from types import FunctionType
from typing import Any, Literal, TypedDict

from pydantic import ValidationError

from .durations import Duration, to_positive
from .errors import InvalidJobFuncError, InvalidOptionError
from .models import JobResult
from .policies import DEFAULT_POLICIES, Misfire, Overlap, Policies, Recovery, Retry, refused

JobFunc = Callable[..., Any]
"""A job's function: a coroutine function, which runs on the loop, or a plain one, which runs in a worker thread."""

OnSuccess = Callable[[str], Awaitable[None] | None]
OnError = Callable[[str, BaseException], Awaitable[None] | None]
OnResult = Callable[[JobResult], Awaitable[None] | None]

# The members of the policies as text, for checkers, who find a misspelt one.
MisfireText = Literal["fire_once", "skip", "fire_all"]
OverlapText = Literal["skip", "queue", "cancel_running", "allow"]
RecoveryText = Literal["rerun", "skip"]


class JobOptions(TypedDict, total=False):
    """The keyword options of every verb that adds a job."""

    timeout: Duration | None
    """The longest that one try may take."""
    max_retries: int | Retry
    """How many more tries follow a failed one, at once; or a `Retry` with pauses and conditions."""
    on_success: OnSuccess | None
    on_error: OnError | None
    on_result: OnResult | None
    misfire: Misfire | MisfireText
    misfire_grace: Duration | None
    """How late is not yet missed."""
    max_catchup: int
    """With `Misfire.FIRE_ALL`, the most fire times of a backlog that run."""
    overlap: Overlap | OverlapText
    recovery: Recovery | RecoveryText
    jitter: Duration
    """Start up to this much later: hashed from job and fire time, the same on every instance."""
    start_at: datetime | None
    """No fire time before this moment; an interval's grid starts here."""
    end_at: datetime | None
    """No fire time after this moment."""
    max_runs: int | None
    """The job is finished after this many runs; manual ones do not count."""
    args: Iterable[Any]
    kwargs: Mapping[str, Any]
    tags: Iterable[str]
    run_immediately: bool
    """At creation, the first run is due at once."""


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """The options that stay in this process."""

    timeout: float | None = None
    """Seconds."""
    retry: Retry | None = None
    on_success: OnSuccess | None = None
    on_error: OnError | None = None
    on_result: OnResult | None = None
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_callbacks(self) -> bool:
        """Whether anybody is to be called when a run has ended."""
        return any(callback is not None for callback in (self.on_success, self.on_error, self.on_result))


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """A job's options, checked."""

    local: LocalOptions
    policies: Policies
    start_at: datetime | None = None
    end_at: datetime | None = None
    run_immediately: bool = False


_DEFAULTS = ReadOptions(LocalOptions(), DEFAULT_POLICIES)
_CALLBACKS = {"on_success": 1, "on_error": 2, "on_result": 1}
"""What is called at a run's end, and with how many arguments."""
_POLICIES = tuple(Policies.model_fields)


def read_options(options: JobOptions) -> ReadOptions:
    """Check a job's options; `InvalidOptionError` names the one that cannot be."""
    if not options:
        return _DEFAULTS
    given: dict[str, Any] = dict(options)
    policies = _read_policies({name: given.pop(name) for name in _POLICIES if name in given})
    start_at, end_at = (_read_instant(given.pop(name, None), name) for name in ("start_at", "end_at"))
    if start_at is not None and end_at is not None and end_at < start_at:
        raise InvalidOptionError("end_at", end_at, f"lies before start_at={start_at}")
    run_immediately = read_bool(given.pop("run_immediately", False), "run_immediately")
    return ReadOptions(_read_local(given), policies, start_at, end_at, run_immediately)


def _read_policies(given: dict[str, Any]) -> Policies:
    if not given:
        return DEFAULT_POLICIES
    if isinstance(tags := given.get("tags"), str):
        raise InvalidOptionError("tags", tags, "must be several strings, not one")
    if "tags" in given:
        given["tags"] = _read_as(tuple, tags, "tags", "several strings")
    try:
        return _policies(**given)
    except TypeError:  # not hashable, so surely not valid either; let the model say why
        return _checked(**given)


def _checked(**given: Any) -> Policies:
    try:
        return Policies(**given)
    except ValidationError as error:
        raise refused(error, given) from None


# A hundred thousand jobs with the same options share one object.
_policies = lru_cache(maxsize=1024, typed=True)(_checked)


def _read_local(given: dict[str, Any]) -> LocalOptions:
    timeout, retries = given.pop("timeout", None), given.pop("max_retries", 0)
    args, kwargs = read_arguments(given.pop("args", ()), given.pop("kwargs", {}))
    callbacks = {name: _read_callback(given.pop(name, None), name) for name in _CALLBACKS}
    for name, value in given.items():
        raise InvalidOptionError(name, value, f"there is no such option{_suggestion(name)}")
    seconds = None if timeout is None else to_positive(timeout, "timeout") / timedelta(seconds=1)
    return LocalOptions(seconds, _read_retry(retries), args=args, kwargs=kwargs, **callbacks)


def read_arguments(args: Any, kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return what a function is to be called with, or raise `InvalidOptionError`: a text is one argument, not many."""
    if isinstance(args, str | bytes):
        raise InvalidOptionError("args", args, f"must be several arguments, such as ({args!r},)")
    several = _read_as(tuple, args, "args", "several arguments, such as a tuple")
    named = _read_as(dict, kwargs, "kwargs", "a mapping of names to arguments")
    if not all(isinstance(name, str) for name in named):
        raise InvalidOptionError("kwargs", kwargs, "must be a mapping of names to arguments")
    return several, named


def _suggestion(name: str) -> str:
    import difflib  # noqa: PLC0415 - only for who has mistyped

    found = difflib.get_close_matches(name, JobOptions.__annotations__, n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


def _read_as(kind: type[Any], value: Any, name: str, wanted: str) -> Any:
    try:
        return kind(value)
    except (TypeError, ValueError):
        raise InvalidOptionError(name, value, f"must be {wanted}") from None


def _read_retry(value: Any) -> Retry | None:
    if isinstance(value, Retry):
        return value
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidOptionError("max_retries", value, "must be a whole number of 0 or more, or a Retry")
    return Retry(value, delay=0) if value else None


def _read_callback(value: Any, name: str) -> Any:
    if value is None:
        return None
    if not callable(value):
        raise InvalidOptionError(name, value, "cannot be called")
    problem = _misfit(value, _CALLBACKS[name], ())
    if problem:
        raise InvalidOptionError(name, value, f"cannot be called with what it is told: {problem}")
    return value


def _read_instant(value: Any, name: str) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise InvalidOptionError(name, value, "must be a datetime with a time zone")
    return value


def read_bool(value: Any, name: str) -> bool:
    """Return what has to be a truth value: a text that says no would be taken for a yes."""
    if not isinstance(value, bool):
        raise InvalidOptionError(name, value, "must be True or False")
    return value


def check_func(func: JobFunc, local: LocalOptions) -> JobFunc:
    """Return `func`, or raise `InvalidJobFuncError` if it cannot be called with these arguments."""
    if not callable(func):
        raise InvalidJobFuncError(f"a job's function must be callable, not {func!r}{_hint(func)}")
    if _is_generator_function(func):
        raise InvalidJobFuncError(f"{func!r} must not be a generator function: calling it runs nothing of it")
    if _takes_nothing(func) and not local.args and not local.kwargs:
        return func
    problem = _misfit(func, len(local.args), tuple(local.kwargs))
    if problem:
        raise InvalidJobFuncError(f"{func!r} cannot be called with the job's args and kwargs: {problem}")
    return func


def _hint(given: object) -> str:
    if not inspect.iscoroutine(given):
        return ""
    given.close()  # or Python would complain that nobody awaited it
    return "; pass the function itself, without calling it"


def _takes_nothing(func: JobFunc) -> bool:
    """Whether a function written in Python needs no arguments: a glance, where `inspect` takes its time."""
    if not isinstance(func, FunctionType):
        return False
    code = func.__code__
    return code.co_argcount <= len(func.__defaults__ or ()) and not code.co_kwonlyargcount


def _misfit(func: JobFunc, args: int, kwargs: tuple[str, ...]) -> str | None:
    try:  # as what is called takes them: a decorator's wrapper may bring more arguments, or fewer, to what it wraps
        inspect.signature(func, follow_wrapped=False).bind(*(None,) * args, **dict.fromkeys(kwargs))
    except TypeError as error:
        return str(error)
    except ValueError:  # a builtin without a signature
        return None
    return None


def _is_generator_function(func: JobFunc) -> bool:
    kinds = inspect.isgeneratorfunction, inspect.isasyncgenfunction
    return any(kind(func) or kind(type(func).__call__) for kind in kinds)


def is_coroutine_function(func: JobFunc) -> bool:
    """Whether calling `func` gives a coroutine: also for a partial, and for an object whose `__call__` is one."""
    return inspect.iscoroutinefunction(func) or inspect.iscoroutinefunction(type(func).__call__)
