"""
Claims of which nothing was heard: each may hold or not, and is asked again by the same owner for as long as it may.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

from .planner import Claim

_SHORTEST_PAUSE = 0.05


class Asked(NamedTuple):
    """A claim, by whom it was asked for, and when first: by the clock that is never set."""

    claim: Claim
    owner: str
    sent: float


class Unanswered:
    """
    By job, in the order in which they were asked.

    They are kept until a lease that was granted at once has ended. Trust is another matter: that counts from the asking
    that was answered.
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

    def pause(self, asked: Asked, boot: float, seconds: float) -> float:
        """Return the seconds to wait before asking again: half of what is left of the lease at the most."""
        left = self._left(asked, boot)
        return seconds if left <= 0 else min(seconds, max(left / 2, _SHORTEST_PAUSE))

    def _left(self, asked: Asked, boot: float) -> float:
        return asked.sent + self._lasts - boot
