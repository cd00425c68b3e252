"""
Read, decide, write on condition: how a ledger changes jobs in a medium that others write to as well.

The medium has two parts to play: to read jobs together with their versions, and to write those changes whose job still
has the version that was read. What somebody else was first to write is read and decided again.
"""

import asyncio
import random
from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Generic, NamedTuple

from ...errors import StorageError
from ...models import RunRecord
from .._table.shelf import Moment
from .ledger import Answer, Call, Item, Ledger
from .sheet import Change, Floors, Kept, Row, Sheet, Stored

_CHUNK = 500
"""As many jobs are read and written at once: a statement stays short, whatever the size of the batch."""

_TRIES = 30
_LONGEST_PAUSE = 0.1


Places = dict[int, str]
"""Items of a call by their places among all of them, each with its job."""


class Reading(NamedTuple, Generic[Row]):
    """What was read for a call, at one moment."""

    at: Moment
    stored: Mapping[str, Stored[Row]]
    """Those of the jobs that are there and can be read."""
    floors: Floors = Floors()
    history: Sequence[RunRecord] = ()
    """The latest runs of these jobs, the oldest first, where they were asked for."""
    unreadable: Collection[str] = ()
    """Those of the jobs that are there and cannot be read: they are left as they are."""


class Written(NamedTuple):
    """What became of changes."""

    now: datetime
    """The storage's time."""
    job_ids: Collection[str]
    """Whose change was written; the others had been changed by somebody else."""
    version: int | None = None
    """The one that they all have now, where the medium can tell."""


class OptimisticLedger(Ledger, Generic[Row]):
    """A ledger over a medium that can compare a job's version and write in one step."""

    @abstractmethod
    async def _read(self, job_ids: Sequence[str], *, floors: bool, history: bool) -> Reading[Row]:
        """Read these jobs; floors at no later moment than the jobs, the history at no earlier one."""

    @abstractmethod
    async def _write(self, changes: Sequence[Change[Row]], floors: Floors | None) -> Written:
        """
        Write each change, with its runs, if its job still has the version that was read.

        `floors`, which have risen, are written with them, and never lowered.
        """

    @abstractmethod
    def _row_of(self, job_id: str, kept: Kept) -> Row:
        """Return a job as the medium keeps it."""

    def _heard(self, reading: Reading[Row]) -> None:
        """Hook: called with each reading."""

    def _note(self, changes: Sequence[Change[Row]], written: Written) -> None:
        """Hook: called with what was to be written, and what of it was."""

    async def _write_sheet(self, sheet: Sheet[Row], changes: Sequence[Change[Row]]) -> Written:
        return await self._write(changes, sheet.floors)

    async def _change(self, call: Call[Item, Answer]) -> tuple[datetime, list[Answer]]:
        """Change the items' jobs, a chunk of them at a time."""
        answers: dict[int, Answer] = {}
        for chunk in _chunks(list(map(call.job_of, call.items))):
            now = await self._change_chunk(call, chunk, answers)
        return now, [answers[at] for at in range(len(call.items))]

    async def _change_chunk(self, call: Call[Item, Answer], places: Places, answers: dict[int, Answer]) -> datetime:
        """Change the jobs at these places, and add what is answered to `answers`; return the storage's time."""
        for attempt in range(_TRIES):
            job_ids = list(dict.fromkeys(places.values()))
            reading = await self._read(job_ids, floors=call.floors, history=call.history)
            self._heard(reading)
            sheet = Sheet(
                reading.at,
                reading.stored,
                self._row_of,
                floors=reading.floors,
                history=reading.history,
                unreadable=reading.unreadable,
            )
            answers.update(judge(sheet, call, places))
            now, beaten = await self._write_down(sheet, sheet.changes(job_ids), reading)
            if not beaten:
                return now
            places = {at: job_id for at, job_id in places.items() if job_id in beaten}
            await asyncio.sleep(random.uniform(0, min(0.001 * 2**attempt, _LONGEST_PAUSE)))
        raise StorageError(
            f"job {next(iter(places.values()))!r} was changed by others each of {_TRIES} times that it was read"
        )

    async def _write_down(
        self, sheet: Sheet[Row], changes: Sequence[Change[Row]], reading: Reading[Row]
    ) -> tuple[datetime, set[str]]:
        """Write what the sheet says; return the storage's time, and the jobs that somebody else was first to write."""
        if not changes:
            return reading.at.now, set()
        written = await self._write_sheet(sheet, changes)
        self._note(changes, written)
        return written.now, {change.job_id for change in changes if change.job_id not in written.job_ids}


def judge(sheet: Sheet[Row], call: Call[Item, Answer], places: Places) -> dict[int, Answer]:
    """Let the verb work on the sheet; return its answer to the item at each of the places."""
    return dict(zip(places, call.verb(sheet.table, sheet.at, [call.items[at] for at in places]), strict=True))


def _chunks(job_ids: Sequence[str]) -> Iterator[Places]:
    """Yield the places of some jobs at a time, all those of a job together; for nothing at all, nothing once."""
    places, distinct = dict(enumerate(job_ids)), list(dict.fromkeys(job_ids))
    if len(distinct) <= _CHUNK:
        yield places
        return
    for start in range(0, len(distinct), _CHUNK):
        chunk = set(distinct[start : start + _CHUNK])
        yield {at: job_id for at, job_id in places.items() if job_id in chunk}
