"""
Settling without reading: a ledger that recalls the jobs it has claimed, as it wrote them.

A claim is nearly always settled by who made it, with nobody writing to the job in between. So the outcome is worked out
on what was written then, and written on the condition that it still is so: one step in place of two. Where it is not,
the job is read, as ever.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from ...claims import Outcome, SettleAnswer, Settled, SettleVerdict
from .._table.shelf import Moment
from .memory import Memory
from .optimistic import OptimisticLedger, Written
from .sheet import Change, Kept, Row, Sheet, Stored

_AT_ONCE = 500

_ANY_TIME = Moment(datetime(1970, 1, 1, tzinfo=UTC), 0.0)
"""What holds of a job that is as its owner left it does not depend on the time."""


class RecallingLedger(OptimisticLedger[Row]):
    """An optimistic ledger whose medium tells the version that it has given to what was written."""

    def __init__(self) -> None:
        self._memory = Memory[Row]()

    def _is_worth_it(self, kept: Kept) -> bool:
        """Whether to remember a job: by default one that somebody runs, since who claimed it settles it next."""
        return kept.lock is not None

    def _note(self, changes: Sequence[Change[Row]], written: Written) -> None:
        """Remember what was written, and nothing that may be otherwise by now."""
        self._memory.take(change.job_id for change in changes)
        version, job_ids = written.version, written.job_ids
        if version is None:
            return
        self._memory.note(
            {
                job_id: Stored(version, row, kept)
                for job_id, _, row, _, kept, _ in changes
                if row is not None and kept is not None and job_id in job_ids and self._is_worth_it(kept)
            }
        )

    async def settle(self, outcomes: Sequence[Outcome]) -> SettleAnswer:
        """Write each outcome once, if its token and owner still match; jobs that are recalled are not read."""
        recalled = self._memory.take(outcome.lease.job_id for outcome in outcomes[:_AT_ONCE])
        now, settled = await self._settle_unread(outcomes, recalled) if recalled else (None, {})
        rest = [place for place in range(len(outcomes)) if place not in settled]
        if rest or now is None:
            answer = await super().settle([outcomes[place] for place in rest])
            now = answer.now
            settled.update(zip(rest, answer.settled, strict=True))
        return SettleAnswer(now, [settled[place] for place in range(len(outcomes))])

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
        self._note(changes, written)
        return written.now, {
            place: answer
            for place, answer in zip(places, answers, strict=True)
            if answer.verdict is SettleVerdict.DONE and outcomes[place].lease.job_id in written.job_ids
        }
