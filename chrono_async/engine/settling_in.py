"""
Settling in the user's own transaction: the outcome takes effect together with what the job did, or not at all.

What is written so is the outcome of a body that ends well, worked out at that moment. The run keeps it: when the body
has returned the settler writes the same again, finds that it is written, and tells of it. Whether it was written where
the body fails afterwards, only the storage knows; the runner asks it.
"""

import asyncio
from datetime import timedelta

from ..claims import Outcome, Settled, SettleVerdict
from ..errors import InvalidOptionError, LeaseLostError, StorageError
from ..storage.base import SettlesInTransaction
from .outcomes import outcome_of
from .run import Run
from .state import State
from .storage_door import check_home


async def settle_in(state: State, run: Run, connection: object) -> None:
    """Settle the run as completed, in the transaction that the connection is in."""
    check_home(state.door.home)
    if run.finished is not None:
        raise LeaseLostError(run.job.id, run.lease.token)
    outcome = outcome_of(run, None, state.time.now(), state.settings.instance_id)
    before, run.written = run.written, outcome  # before it is asked for: an answer can be lost
    try:
        settled = await _ask(state, connection, outcome)
    except InvalidOptionError:
        run.written = before
        raise
    if settled.verdict is not SettleVerdict.DONE:
        run.written = before
    if settled.verdict is SettleVerdict.STALE:
        run.is_spent = True
        raise LeaseLostError(run.job.id, run.lease.token)


async def _ask(state: State, connection: object, outcome: Outcome) -> Settled:
    """Ask past the storage's door, which counts failures: a connection of the user's says nothing of the storage."""
    storage, limit = state.door.storage, state.settings.storage_timeout / timedelta(seconds=1)
    if not isinstance(storage, SettlesInTransaction):
        raise InvalidOptionError("storage", type(storage).__name__, "cannot settle in a transaction of yours")
    try:
        async with asyncio.timeout(limit):
            return await storage.settle_in(connection, outcome)
    except TimeoutError as error:
        raise StorageError(f"the storage did not answer within {limit:g} s") from error
