"""
The jobs that a storage has lately seen or written, so that what has not changed since is neither sent nor decoded anew.

Whether it has changed, the server says: each reading names the versions that are known. So nothing here can be stale.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from .._ledger.sheet import Change, Kept, Stored
from .rows import Row, json_of

UNCHANGED = b"="
"""What stands in a reply in place of a row whose version is known."""


class Memory:
    """Jobs with their versions, up to a bound; the oldest make room for the newest."""

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._jobs: dict[str, Stored[Row]] = {}

    def note(self, jobs: Mapping[str, Stored[Row]]) -> None:
        """Remember jobs as they were read; they are not to be changed by anybody."""
        mine = self._jobs
        for job_id, stored in jobs.items():
            mine.pop(job_id, None)
            mine[job_id] = stored
        while len(mine) > self._most:
            del mine[next(iter(mine))]

    def note_written(self, changes: Sequence[Change[Row]], version: int) -> None:
        """Remember jobs as they were written, under their new version."""
        rows = {change.job_id: change.row for change in changes if change.row is not None}
        self.note({job_id: Stored(version, row, _copy(row.kept)) for job_id, row in rows.items() if row.kept})

    def known(self, job_ids: Sequence[str]) -> dict[str, Stored[Row]]:
        """Return those of the jobs that are remembered; they are not to be changed by anybody."""
        return {job_id: self._jobs[job_id] for job_id in job_ids if job_id in self._jobs}


def question(job_ids: Sequence[str], known: Mapping[str, Stored[Row]]) -> bytes:
    """Return ids and known versions, in turn, as `read.lua` wants them."""
    words: list[Any] = []
    for job_id in job_ids:
        words += (job_id, str(known[job_id].version) if job_id in known else "")
    return json_of(words)


def own_copy(stored: Stored[Row]) -> Stored[Row]:
    """Return a job as it is remembered, for whoever wants to change it."""
    return stored._replace(kept=_copy(stored.kept))


def _copy(kept: Kept) -> Kept:
    record, lock, flights = kept
    return Kept(None if record is None else record.copy(), lock, dict(flights))
