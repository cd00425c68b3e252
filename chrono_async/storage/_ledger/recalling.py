"""
One step in place of two: a ledger that recalls jobs as it last wrote them.

What an instance has written of a job it is mostly the next to change: it renews and settles what it has claimed, and
claims again what it has settled. So the verb is worked out on what was written then, and written on the condition that
it still is so, and that the storage's clock says what it was taken to say. Whatever cannot be done in this way is read,
as ever: no answer that was not written is given on what is only recalled.
"""

from abc import abstractmethod
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from ...clock import DistantClock, SystemClock
from ...errors import ChronoError
from .._table.shelf import Moment
from .ledger import Answer, Call, Item
from .memory import Memory
from .optimistic import OptimisticLedger, Places, Reading, Written, judge
from .sheet import Change, Floors, Row, Sheet, Stored

_NEVER = datetime(1, 1, 1, tzinfo=UTC)
_SOON = timedelta(seconds=1)


class RecallingLedger(OptimisticLedger[Row]):
    """An optimistic ledger whose medium tells the version that it has given to what was written."""

    def __init__(self) -> None:
        self._memory = Memory[Row]()
        self._time = DistantClock(SystemClock().boot, _NEVER)
        self._floors = Floors()

    @abstractmethod
    async def _write(
        self,
        changes: Sequence[Change[Row]],
        floors: Floors | None,
        *,
        as_of: datetime | None = None,
        until: datetime | None = None,
    ) -> Written:
        """Write only if the storage's clock shows no less than `as_of` and no more than `until`, if these are given."""

    async def _write_sheet(self, sheet: Sheet[Row], changes: Sequence[Change[Row]]) -> Written:
        """Not if the clock has gone back since it was read: leases would last longer by as much, but for a hair."""
        return await self._write(changes, sheet.floors, as_of=sheet.at.now - _SOON)

    def _heard(self, reading: Reading[Row]) -> None:
        self._raise(reading.floors)
        self._memory.take(reading.unreadable)  # or what is recalled would be written over what cannot be read

    def _raise(self, floors: Floors) -> None:
        """What was written is never older than these: so they hold for what is recalled."""
        self._floors = Floors(max(self._floors.token, floors.token), max(self._floors.revision, floors.revision))

    def _note(self, changes: Sequence[Change[Row]], written: Written) -> None:
        """
        Remember what was written, and nothing that may be otherwise by now.

        A lock without a record is no job: where one is added to it, what the floors have come to is to be read.
        """
        self._memory.take(change.job_id for change in changes)
        version, job_ids = written.version, written.job_ids
        if version is None:
            return
        self._memory.note(
            {
                job_id: Stored(version, row, kept)
                for job_id, _, row, _, kept, _ in changes
                if row is not None and kept is not None and kept.record is not None and job_id in job_ids
            }
        )

    async def _change_chunk(self, call: Call[Item, Answer], places: Places, answers: dict[int, Answer]) -> datetime:
        sent = self._time.boot()
        now, rest = None, places
        if self._time.is_known and not call.history:
            now, rest = await self._change_recalled(call, places, answers)
        if rest or now is None:
            now = await super()._change_chunk(call, rest, answers)
        self._time.observe(now, sent)
        return now

    async def _change_recalled(
        self, call: Call[Item, Answer], places: Places, answers: dict[int, Answer]
    ) -> tuple[datetime | None, Places]:
        """Change what can be changed unread; return the storage's time, if it was asked, and the places of the rest."""
        recalled, now = self._memory.take(places.values()), self._time.now()
        if not recalled:
            return None, places
        sheet = Sheet(Moment(now, now.timestamp()), recalled, self._row_of, floors=self._floors)
        try:
            found = judge(sheet, call, {at: job_id for at, job_id in places.items() if job_id in recalled})
        except ChronoError:
            return None, places
        changes = sheet.changes(recalled)
        changed = {change.job_id for change in changes}
        self._memory.note({job_id: stored for job_id, stored in recalled.items() if job_id not in changed})
        if not changes:
            return None, places
        written = await self._write(changes, sheet.floors, as_of=now, until=now + _SOON)
        self._note(changes, written)
        if 2 * len(written.job_ids) < len(changes):
            self._memory.keep_held()  # others are at work: what they may have changed is better read at once
        if written.job_ids:
            self._raise(sheet.floors or self._floors)
        answers.update((at, found[at]) for at, job_id in places.items() if job_id in written.job_ids)
        return written.now, {at: job_id for at, job_id in places.items() if job_id not in written.job_ids}
