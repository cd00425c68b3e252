"""What the simulation notes of a verb on rows, whose reading and writing are two messages."""

import asyncio
import random
from datetime import timedelta
from typing import Any

from chrono_async import JobRecord
from chrono_async.claims import ClaimRequest
from chrono_async.testing import VirtualClock

from .history import START, Claimed, History, Renewed
from .ledger import LedgerClient, RowServer
from .loop import ProcessLoop
from .network import Network
from .server import TTL
from .witness import NOTED, Witness


class _SetWhenRead(RowServer):
    """A server whose clock is set by an hour as soon as a job has been read, before what follows is written."""

    def read(self, *args: Any, **kwargs: Any) -> Any:
        reading = super().read(*args, **kwargs)
        self.clock.step(timedelta(hours=1))
        return reading


def test_a_lease_counts_from_the_reading_though_the_clock_is_set_before_it_is_written() -> None:
    """By the clock that it was measured by: else it would seem to have ended an hour before it was granted."""
    loop = ProcessLoop(seed=0)
    clock, history = VirtualClock(loop=loop), History(TTL, 2, 2, is_on_rows=True)
    server, network = _SetWhenRead(clock), Network(loop, history, random.Random(0))
    witness = Witness(history, clock, lambda: server.records, notes=NOTED)
    first, second = (LedgerClient(who, network, witness, server, clock) for who in ("a1", "b1"))

    async def claim_and_renew() -> None:
        registered = await first.register(JobRecord("j", next_run=START))
        request = ClaimRequest("j", START, START, registered.record.revision)
        answer = await second.claim([request], "b/1", timedelta(seconds=TTL))
        await first.renew([answer.verdicts[0].lease], timedelta(seconds=TTL))

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(claim_and_renew())
    for granted in history.of(Claimed, Renewed):
        assert 0 < granted.at - (granted.until - TTL) < 0.1
    assert len(list(history.of(Claimed, Renewed))) == 2
