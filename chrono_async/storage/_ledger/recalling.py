"""
Settling without reading: a ledger that recalls the jobs it has claimed, as it wrote them.

A claim is nearly always settled by who made it, with nobody writing to the job in between. So the outcome is worked out
on what was written then, and written on the condition that it still is so: one step in place of two. Where it is not,
the job is read, as ever.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from ...claims import Outcome, SettleAnswer, Settled, SettleVerdict
from .._table.shelf import Moment
from .optimistic import OptimisticLedger, Written
from .sheet import Change, Kept, Row, Sheet, Stored

_MOST = 10_000
"""Jobs that are recalled at most; of more, those that were claimed first are read again."""

_AT_ONCE = 500

_ANY_TIME = Moment(datetime(1970, 1, 1, tzinfo=UTC), 0.0)
"""What holds of a job that is as its owner left it does not depend on the time."""


class RecallingLedger(OptimisticLedger[Row]):
    """An optimistic ledger whose medium tells the version that it has given to what was written."""

    def __init__(self) -> None:
        self._recalled: dict[str, tuple[int, Row]] = {}

    @abstractmethod
    def _kept_of(self, row: Row) -> Kept:
        """Return the job that `_row_of` wrote."""

    @abstractmethod
    def _is_claimed(self, row: Row) -> bool:
        """Whether somebody runs the job."""

    def _note(self, changes: Sequence[Change[Row]], written: Written) -> None:
        """Recall what was claimed, and nothing that may be otherwise by now."""
        for change in changes:
            self._recalled.pop(change.job_id, None)
            row, version = change.row, written.version
            if row is not None and version is not None and change.job_id in written.job_ids and self._is_claimed(row):
                self._recalled[change.job_id] = (version, row)
        while len(self._recalled) > _MOST:
            del self._recalled[next(iter(self._recalled))]

    async def settle(self, outcomes: Sequence[Outcome]) -> SettleAnswer:
        """Write each outcome once, if its token and owner still match; jobs that are recalled are not read."""
        recalled = self._recall(outcomes)
        now, settled = await self._settle_unread(outcomes, recalled) if recalled else (None, {})
        rest = [place for place in range(len(outcomes)) if place not in settled]
        if rest or now is None:
            answer = await super().settle([outcomes[place] for place in rest])
            now = answer.now
            settled.update(zip(rest, answer.settled, strict=True))
        return SettleAnswer(now, [settled[place] for place in range(len(outcomes))])

    def _recall(self, outcomes: Sequence[Outcome]) -> dict[str, Stored[Row]]:
        """Return those of the jobs that are recalled. They are so once: whatever comes of it, they are others then."""
        recalled: dict[str, Stored[Row]] = {}
        for outcome in outcomes[:_AT_ONCE]:
            found = self._recalled.pop(outcome.lease.job_id, None)
            if found is not None:
                recalled[outcome.lease.job_id] = Stored(*found, self._kept_of(found[1]))
        return recalled

    async def _settle_unread(
        self, outcomes: Sequence[Outcome], recalled: Mapping[str, Stored[Row]]
    ) -> tuple[datetime | None, dict[int, Settled]]:
        """Settle what can be settled so, and say which outcomes those were, by their places."""
        places = [place for place, outcome in enumerate(outcomes) if outcome.lease.job_id in recalled]
        sheet = Sheet(_ANY_TIME, recalled, self._row_of)
        answers = sheet.table.settle([outcomes[place] for place in places], sheet.at)
        changes = sheet.changes(recalled)
        if not changes:
            return None, {}
        written = await self._write(changes, None)
        return written.now, {
            place: answer
            for place, answer in zip(places, answers, strict=True)
            if answer.verdict is SettleVerdict.DONE and outcomes[place].lease.job_id in written.job_ids
        }
