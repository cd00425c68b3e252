"""Lengths of time, as users give them."""

from datetime import timedelta

import pytest

from chrono_async.durations import CENTURY, at_most_a_century, to_non_negative, to_positive, to_timedelta
from chrono_async.errors import InvalidOptionError

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("given", "length"),
    [
        (SECOND, SECOND),
        (1, SECOND),
        (0, 0 * SECOND),
        (-1, -SECOND),
        (0.5, SECOND / 2),
        (1e-6, timedelta(microseconds=1)),
        (1e-7, timedelta(0)),
        (10**9, timedelta(seconds=10**9)),
        (timedelta.max, timedelta.max),
    ],
)
def test_a_number_is_seconds(given, length):
    assert to_timedelta(given, "timeout") == length


@pytest.mark.parametrize("given", [None, "5", "5s", b"5", True, False, [], object(), 5j, float("nan"), float("inf")])
def test_what_is_no_length_of_time_is_refused_by_name(given):
    with pytest.raises(InvalidOptionError, match="must be a timedelta or a finite number of seconds") as caught:
        to_timedelta(given, "timeout")
    assert (caught.value.option, caught.value.value) == ("timeout", given) or given != given  # noqa: PLR0124  # nan
    assert str(caught.value).startswith(f"timeout={given!r}: ")


@pytest.mark.parametrize("given", [1e300, -1e300, 10**20])
def test_what_is_too_long_is_refused(given):
    with pytest.raises(InvalidOptionError, match="is longer than a timedelta can be"):
        to_timedelta(given, "timeout")


def test_a_whole_number_too_large_for_a_float_is_refused_too():
    with pytest.raises(InvalidOptionError, match="timeout="):
        to_timedelta(10**400, "timeout")


@pytest.mark.parametrize("given", [0, 0.0, -0.0, -1, timedelta(0), -SECOND, 1e-7])
def test_positive_is_longer_than_nothing(given):
    with pytest.raises(InvalidOptionError, match="must be longer than nothing"):
        to_positive(given, "timeout")


def test_what_may_last_a_century_may_not_last_longer():
    """A century from now the calendar goes on, and so did it a century ago."""
    assert at_most_a_century(CENTURY, "jitter") == CENTURY
    for length in (CENTURY + SECOND, timedelta.max):
        with pytest.raises(InvalidOptionError, match=r"jitter=.*: must not be longer than a century"):
            at_most_a_century(length, "jitter")


@pytest.mark.parametrize("given", [-1, -1e-6, -SECOND])
def test_non_negative_is_not_negative(given):
    assert to_non_negative(0, "jitter") == timedelta(0)
    with pytest.raises(InvalidOptionError, match="must not be negative"):
        to_non_negative(given, "jitter")
