"""The options of a job: read and checked in one place."""

import inspect
from datetime import UTC, datetime, timedelta
from functools import partial, wraps
from typing import get_args

import pytest

from chrono_async.errors import InvalidJobFuncError, InvalidOptionError
from chrono_async.options import (
    JobOptions,
    LocalOptions,
    MisfireText,
    OverlapText,
    RecoveryText,
    check_func,
    is_coroutine_function,
    read_options,
)
from chrono_async.policies import DEFAULT_POLICIES, Misfire, Overlap, Policies, Recovery, Retry

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_nothing_said_is_the_defaults():
    read = read_options({})
    assert read.local == LocalOptions()
    assert read.policies is DEFAULT_POLICIES
    assert (read.start_at, read.end_at, read.run_immediately) == (None, None, False)
    assert not read.local.has_callbacks


def test_each_option_finds_its_place():
    retry = Retry(max_retries=2)
    options: JobOptions = {
        "timeout": timedelta(minutes=1),
        "max_retries": retry,
        "on_success": print,
        "on_error": print,
        "on_result": print,
        "misfire": "skip",
        "misfire_grace": 5,
        "max_catchup": 7,
        "overlap": Overlap.QUEUE,
        "recovery": "skip",
        "jitter": 2.5,
        "start_at": NOON,
        "end_at": NOON,
        "max_runs": 3,
        "args": [1, 2],
        "kwargs": {"colour": "red"},
        "tags": ["a", "b"],
        "run_immediately": True,
    }
    assert set(options) == set(JobOptions.__annotations__)
    read = read_options(options)
    assert read.local == LocalOptions(60.0, retry, print, print, print, (1, 2), {"colour": "red"})
    assert read.policies == Policies(
        misfire=Misfire.SKIP,
        misfire_grace=timedelta(seconds=5),
        max_catchup=7,
        overlap=Overlap.QUEUE,
        recovery=Recovery.SKIP,
        jitter=timedelta(seconds=2.5),
        max_runs=3,
        tags=("a", "b"),
    )
    assert (read.start_at, read.end_at, read.run_immediately) == (NOON, NOON, True)
    assert read.local.has_callbacks


def test_none_is_the_same_as_not_said():
    names = ("timeout", "on_success", "on_error", "on_result", "misfire_grace", "start_at", "end_at", "max_runs")
    assert read_options(dict.fromkeys(names)) == read_options({})


def test_a_number_of_retries_is_that_many_at_once():
    retry = read_options({"max_retries": 4}).local.retry
    assert (retry.max_retries, retry.delay_after(4, 0.9)) == (4, timedelta(0))
    assert read_options({"max_retries": 0}).local.retry is None


@pytest.mark.parametrize(("enum", "text"), [(Misfire, MisfireText), (Overlap, OverlapText), (Recovery, RecoveryText)])
def test_checkers_know_the_text_of_each_policy(enum, text):
    assert get_args(text) == tuple(enum)


def test_equal_policies_are_one_object():
    """A hundred thousand jobs with the same options share it."""
    one, two = (read_options({"overlap": "queue", "tags": ["a"]}).policies for _ in range(2))
    assert one is two


@pytest.mark.parametrize(
    ("option", "value", "problem"),
    [
        ("timeout", 0, "must be longer than nothing"),
        ("timeout", -1, "must be longer than nothing"),
        ("timeout", "5", "must be a timedelta or a finite number of seconds"),
        ("timeout", True, "must be a timedelta or a finite number of seconds"),
        ("timeout", float("nan"), "must be a timedelta or a finite number of seconds"),
        ("max_retries", -1, "must be a whole number of 0 or more, or a Retry"),
        ("max_retries", 1.5, "must be a whole number of 0 or more, or a Retry"),
        ("max_retries", True, "must be a whole number of 0 or more, or a Retry"),
        ("max_retries", None, "must be a whole number of 0 or more, or a Retry"),
        ("on_success", "print", "cannot be called"),
        ("on_error", 5, "cannot be called"),
        ("on_result", [], "cannot be called"),
        ("on_success", lambda: None, "cannot be called with what it is told: too many positional arguments"),
        ("on_error", lambda job_id: None, "cannot be called with what it is told: too many positional arguments"),
        ("on_result", lambda result, more: None, "cannot be called with what it is told: missing a required argument"),
        ("misfire", "sometimes", "Input should be 'fire_once', 'skip' or 'fire_all'"),
        ("overlap", 5, "Input should be 'skip', 'queue', 'cancel_running' or 'allow'"),
        ("recovery", [], "Input should be 'rerun' or 'skip'"),
        ("misfire_grace", -1, "must not be negative"),
        ("misfire_grace", "long", "must be a timedelta or a finite number of seconds"),
        ("jitter", timedelta(seconds=-1), "must not be negative"),
        ("jitter", float("inf"), "must be a timedelta or a finite number of seconds"),
        ("misfire_grace", timedelta.max, "must not be longer than a century"),
        ("jitter", timedelta(days=36_525, seconds=1), "must not be longer than a century"),
        ("max_catchup", 0, "Input should be greater than or equal to 1"),
        ("max_runs", 0, "Input should be greater than or equal to 1"),
        ("max_runs", 1.5, "Input should be a valid integer"),
        ("tags", "nightly", "must be several strings, not one"),
        ("tags", 5, "must be several strings"),
        ("tags", (5,), "Input should be a valid string"),
        ("args", 5, "must be several arguments, such as a tuple"),
        ("kwargs", 5, "must be a mapping of names to arguments"),
        ("kwargs", ["colour"], "must be a mapping of names to arguments"),
        ("start_at", NOON.replace(tzinfo=None), "must be a datetime with a time zone"),
        ("end_at", "2026-01-01", "must be a datetime with a time zone"),
        ("run_immediately", 1, "must be True or False"),
        ("retries", 3, "there is no such option; did you mean 'max_retries'?"),
        ("misfire_grace_time", 3, "there is no such option; did you mean 'misfire_grace'?"),
    ],
)
def test_what_cannot_be_is_refused_by_name(option, value, problem):
    with pytest.raises(InvalidOptionError) as caught:
        read_options({option: value})
    assert (caught.value.option, caught.value.value) == (option, value) or value != value  # noqa: PLR0124  # nan
    assert str(caught.value).startswith(f"{option}={value!r}: {problem}")


def test_a_window_that_ends_before_it_begins_is_refused():
    with pytest.raises(InvalidOptionError, match=r"end_at=.*: lies before start_at="):
        read_options({"start_at": NOON, "end_at": NOON - timedelta(microseconds=1)})


def test_what_the_caller_changes_later_changes_nothing():
    args, kwargs, tags = [1], {"a": 1}, ["x"]
    options: JobOptions = {"args": args, "kwargs": kwargs, "tags": tags, "max_runs": 1}
    read = read_options(options)
    for given in (args, tags):
        given.append("more")
    kwargs["b"] = 2
    assert (read.local.args, read.local.kwargs, read.policies.tags) == ((1,), {"a": 1}, ("x",))
    assert len(options) == 4


# ── the function ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def coroutine_function(first, *, colour="red"):
    """Wants one."""


class Callable:
    async def __call__(self):
        """Wants none."""

    def plain(self):
        """Wants none."""


@pytest.mark.parametrize(
    ("func", "args", "kwargs"),
    [
        (coroutine_function, (1,), {}),
        (coroutine_function, (), {"first": 1, "colour": "blue"}),
        (partial(coroutine_function, 1), (), {}),
        (Callable(), (), {}),
        (Callable().plain, (), {}),
        (print, (1, 2, 3), {}),
        (dict.fromkeys, ([],), {}),
        (lambda: None, (), {}),
        (max, (1,), {}),
    ],
)
def test_what_can_be_called_so_is_fine(func, args, kwargs):
    assert check_func(func, LocalOptions(args=args, kwargs=kwargs)) is func


@pytest.mark.parametrize(
    ("func", "args", "problem"),
    [
        (None, (), "must be callable, not None"),
        ("print", (), "must be callable, not 'print'"),
        (coroutine_function, (), "missing a required argument: 'first'"),
        (coroutine_function, (1, 2), "too many positional arguments"),
        (Callable(), (1,), "too many positional arguments"),
    ],
)
def test_what_cannot_is_refused(func, args, problem):
    with pytest.raises(InvalidJobFuncError, match=problem):
        check_func(func, LocalOptions(args=args))


def injecting(func):
    """Hand a session to the function, besides what it is called with."""

    @wraps(func)
    async def wrapper(*args, **kwargs):
        await func(*args, session="a session", **kwargs)

    return wrapper


@pytest.mark.parametrize("args", [(), (1,)])
def test_what_a_decorator_adds_is_not_asked_of_the_job(args):
    """What is called is the wrapper, whatever it says that it wraps."""

    @injecting
    async def report(*customers, session):
        """Wants a session."""

    assert check_func(report, LocalOptions(args=args)) is report
    assert read_options({"on_result": report}).local.on_result is report


def test_what_a_decorator_does_not_take_is_refused():
    """Though what it wraps would take it."""

    @wraps(coroutine_function)
    async def wrapper():
        """Wants nothing."""

    with pytest.raises(InvalidJobFuncError, match="too many positional arguments"):
        check_func(wrapper, LocalOptions(args=(1,)))


def test_a_coroutine_is_refused_and_closed():
    """Or Python would complain that nobody awaited it."""
    coroutine = coroutine_function(1)
    with pytest.raises(InvalidJobFuncError, match="pass the function itself, without calling it"):
        check_func(coroutine, LocalOptions())
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


@pytest.mark.parametrize(
    ("func", "answer"),
    [
        (coroutine_function, True),
        (partial(coroutine_function, 1), True),
        (partial(partial(coroutine_function), 1), True),
        (Callable(), True),
        (Callable().plain, False),
        (lambda: coroutine_function(1), False),
        (print, False),
        (partial(print), False),
    ],
)
def test_what_runs_on_the_loop(func, answer):
    assert is_coroutine_function(func) is answer
