"""
The lease keeper: it renews all held leases in one batch, and ends the runs whose lease it cannot trust any more.

Trust is counted from when a request was sent, on a clock that neither steps nor stops. It ends a margin before the
lease does, so that there is time left to stop the body.
"""

import asyncio
from datetime import timedelta

from ..claims import Lease
from ..errors import StorageError
from .run import Run
from .state import State

_SHORTEST_WAIT = 0.005


class LeaseKeeper:
    """One task. Only a runner renews besides: the one lease whose run may be written down already."""

    def __init__(self, state: State) -> None:
        self._state = state
        settings = state.settings
        self._every = settings.renew_every / timedelta(seconds=1)
        self._trust = settings.trust / timedelta(seconds=1)
        self._margin = settings.lock_ttl / timedelta(seconds=1) - self._trust
        self._failed = False

    async def run(self) -> None:
        """Keep the leases, for ever."""
        while True:
            await asyncio.sleep(self._seconds_to_wait())
            if self._state.runs:
                await self._renew_and_fence()

    def _seconds_to_wait(self) -> float:
        """Until the next renewal is due, or sooner: a failed one is repeated, and trust may end before."""
        now = self._state.time.boot()
        ends = min((run.trust_until for run in self._trusting()), default=now + self._every + self._trust)
        wait = min(self._every, ends - now)
        return max(min(wait, self._state.door.pause()) if self._failed else wait, _SHORTEST_WAIT)

    async def _renew_and_fence(self) -> None:
        """Renew, and end in time what is trusted no more: a driver may take longer to give up than it was told to."""
        fencing = asyncio.ensure_future(self._fence_meanwhile())
        try:
            await self._renew()
        finally:
            fencing.cancel()
        self._fence()

    async def _fence_meanwhile(self) -> None:
        while True:
            await asyncio.sleep(self._seconds_of_trust())
            self._fence()

    def _seconds_of_trust(self) -> float:
        """Until trust in a lease ends, but no longer than half its margin: a run may begin meanwhile."""
        now = self._state.time.boot()
        ends = min((run.trust_until for run in self._trusting()), default=now + self._trust)
        return max(min(ends - now, self._margin / 2), _SHORTEST_WAIT)

    def _trusting(self) -> list[Run]:
        """Return the runs whose bodies go on for as long as their lease is trusted."""
        return [run for run in self._state.runs if run.why_cancelled is None and not run.is_body_done]

    async def _renew(self) -> None:
        """Renew all at once. A lease that is lost belongs to somebody else by now, or its job is gone."""
        state = self._state
        # What a body has written in a transaction of its own is locked until that ends: it would hold up all leases.
        sent, runs = state.time.boot(), {run.lease: run for run in state.runs if run.written is None}
        if not runs:
            return
        try:
            answer = await state.door.ask_dated(
                state.door.storage.renew(list(runs), state.settings.lock_ttl), limit=self._patience(sent)
            )
        except StorageError:
            self._failed = True
            return
        self._failed = False
        self._take_in(runs, set(answer.lost), sent + self._trust)

    def _patience(self, sent: float) -> float:
        """Return how long to wait for the answer: until trust in the first lease ends, or half its margin after."""
        ends = min((run.trust_until for run in self._trusting()), default=sent + self._trust)
        return max(ends - sent, self._margin / 2)

    def _take_in(self, runs: dict[Lease, Run], lost: set[Lease], trust_until: float) -> None:
        for lease, run in runs.items():
            if lease in lost:
                self._lose(run)
            else:
                run.trust_until = max(run.trust_until, trust_until)

    def _fence(self) -> None:
        """End the runs whose lease may be somebody else's soon."""
        now = self._state.time.boot()
        for run in self._trusting():
            if now >= run.trust_until:
                self._lose(run)

    def _lose(self, run: Run) -> None:
        if not run.is_body_done and run.why_cancelled is None:  # else settling will show whose word counts
            self._state.lose(run)
