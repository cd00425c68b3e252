"""
Lengths of time, as users give them: a `timedelta`, or a number of seconds.
"""

import math
from datetime import timedelta

from .errors import InvalidOptionError

CENTURY = timedelta(days=36_525)
"""The longest that may be added to an instant, or taken from it: so much lies before the calendar's ends."""

_WANTED = "a timedelta or a finite number of seconds"

Duration = timedelta | int | float
"""A length of time: a `timedelta`, or seconds."""


def to_timedelta(value: Duration, what: str) -> timedelta:
    """Return `value` as a `timedelta`; `InvalidOptionError`, naming `what`, for anything that is no length of time."""
    if isinstance(value, timedelta):  # and nothing but that: some libraries have kinds of their own
        return value if type(value) is timedelta else timedelta.__add__(timedelta(0), value)
    if not _is_finite_number(value):
        raise InvalidOptionError(what, value, f"must be {_WANTED}")
    try:
        return timedelta(seconds=value)
    except OverflowError:
        raise InvalidOptionError(what, value, "is longer than a timedelta can be") from None


def _is_finite_number(value: object) -> bool:
    if isinstance(value, int):
        return not isinstance(value, bool)
    return isinstance(value, float) and math.isfinite(value)


def to_positive(value: Duration, what: str) -> timedelta:
    """Return `value` as a `timedelta` longer than nothing."""
    length = to_timedelta(value, what)
    if length <= timedelta(0):
        raise InvalidOptionError(what, value, "must be longer than nothing")
    return length


def to_non_negative(value: Duration, what: str) -> timedelta:
    """Return `value` as a `timedelta` of zero or more."""
    length = to_timedelta(value, what)
    if length < timedelta(0):
        raise InvalidOptionError(what, value, "must not be negative")
    return length


def at_most_a_century(length: timedelta, what: str) -> timedelta:
    """Return `length` if it is at most a century, so that no instant of our time is led off the calendar by it."""
    if length > CENTURY:
        raise InvalidOptionError(what, length, "must not be longer than a century")
    return length
