"""
Claims of which nothing was heard: each may hold or not, and is asked again by the same owner for one lease's length.

After that it is forgotten, although a later request, itself unanswered, may have extended its lease: a plan that is
older than a lease is for the misfire policy to make anew.
"""

import math
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import takewhile
from typing import NamedTuple

from .planner import Claim

_SHORTEST_PAUSE = 0.05


class Asked(NamedTuple):
    """A claim, by whom it was asked for, and when first: by the clock that is never set."""

    claim: Claim
    owner: str
    sent: float


def of_first_owner(asked: Sequence[Asked]) -> list[Asked]:
    """Return those at the beginning that were asked for together: one call has one owner."""
    return list(takewhile(lambda claim: claim.owner == asked[0].owner, asked))


class Unanswered:
    """
    By job, in the order in which they were asked.

    They are kept until a lease that the first asking began has ended. Trust is another matter: that counts from the
    asking that was answered.
    """

    def __init__(self, lock_ttl: timedelta) -> None:
        self._lasts = lock_ttl / timedelta(seconds=1)
        self._asked: dict[str, Asked] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._asked)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._asked

    def put(self, asked: Asked) -> None:
        """Keep a claim."""
        self._asked[asked.claim.due.job_id] = asked

    def pop(self, job_id: str, boot: float) -> Asked | None:
        """Return the claim of a job, if it may hold, and keep it no longer."""
        asked = self._asked.pop(job_id, None)
        return asked if asked is not None and self._left(asked, boot) > 0 else None

    def drop_ended(self, boot: float) -> None:
        """Forget those that hold no more, whatever became of them."""
        if self._asked:
            self._asked = {job_id: asked for job_id, asked in self._asked.items() if self._left(asked, boot) > 0}

    def seconds_left(self, boot: float) -> float:
        """Return how long it is until the first of them holds no more."""
        return min((self._left(asked, boot) for asked in self._asked.values()), default=math.inf)

    def pause(self, asked: Asked, boot: float, seconds: float) -> float:
        """Return the seconds to wait before asking again: half of what is left of the lease at the most."""
        left = self._left(asked, boot)
        return seconds if left <= 0 else min(seconds, max(left / 2, _SHORTEST_PAUSE))

    def _left(self, asked: Asked, boot: float) -> float:
        return asked.sent + self._lasts - boot
