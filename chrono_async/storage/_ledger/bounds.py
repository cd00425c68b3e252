"""
How much of the history is kept: the same options, with the same meaning, for each storage that is built on a ledger.
"""

from datetime import timedelta
from typing import NamedTuple

from ...counts import to_count
from ...durations import Duration, to_positive

A_MONTH = timedelta(days=30)


class Bounds(NamedTuple):
    """How many runs are kept of a job and of all together, and for how long; None is for ever."""

    of_job: int
    total: int
    age: timedelta | None

    @classmethod
    def checked(cls, history: int, total_history: int, history_age: Duration | None) -> "Bounds":
        """Return them as a user has given them."""
        age = None if history_age is None else to_positive(history_age, "history_age")
        return cls(to_count(history, "history"), to_count(total_history, "total_history"), age)
