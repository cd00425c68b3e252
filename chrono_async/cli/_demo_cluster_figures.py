"""
What the cluster came to, counted: from the schedules what was due, from the storage's history what it made of it, from
the workers' own log what they did.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from chrono_async import JobInfo, RunRecord, RunStatus

from ._demo_figures import LoggedRun, Pause, due_times

_SETTLED = {RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED}


@dataclass(frozen=True, slots=True)
class ClusterFigures:
    """One job's line of the table."""

    job: str
    due: int
    """Fire times, but for those that its overlap policy skips."""
    ran: int
    """Fire times that were settled."""
    taken_over: int
    """Those of them that one process began and another finished."""
    refused: int
    """Runs whose result did not count: their lease had passed to another process."""
    duplicates: int
    """Fire times settled once more, runs that began once more with no process lost before, and results that counted
    though their lease had passed to another process."""
    missed: int
    skipped: int
    """Fire times that came while a run was going on, and were folded into the last of them."""
    is_counted_alike: bool
    """Whether the job's counter, the history and the log agree."""

    @property
    def ok(self) -> bool:
        """Whether each due time ran, once."""
        return not self.missed and not self.duplicates and self.is_counted_alike

    def as_dict(self) -> dict[str, object]:
        """Return what JSON can hold."""
        return asdict(self) | {"ok": self.ok}


def count_cluster(
    first: JobInfo, last: JobInfo, logged: Iterable[LoggedRun], rows: Iterable[RunRecord], *, end: datetime
) -> ClusterFigures:
    """Count one job, from how it was registered to how it stands at the end."""
    runs = [run for run in logged if run.job_id == first.id]
    rows = [row for row in rows if row.job_id == first.id]
    settled = Counter(row.fire_time for row in rows if row.status in _SETTLED)
    lost = Counter(row.fire_time for row in rows if row.status is RunStatus.ABANDONED)
    lost_tokens = {row.token for row in rows if row.status is RunStatus.ABANDONED}
    stale = sum(row.status in _SETTLED and row.token in lost_tokens for row in rows)
    begun = Counter(run.fire_time for run in runs)
    skipped = [row.missed for row in rows if row.status is RunStatus.SKIPPED and row.missed is not None]
    pauses = [Pause(first.id, missed.first, missed.last + timedelta(microseconds=1)) for missed in skipped]
    due = due_times(first, max([end, *settled]), pauses)
    return ClusterFigures(
        job=first.id,
        due=len(due),
        ran=len(settled),
        taken_over=sum(time in lost for time in settled),
        refused=sum(run.is_lost for run in runs),
        duplicates=_excess(settled, Counter()) + _excess(begun, lost) + len(settled.keys() - due) + stale,
        missed=len(due - settled.keys()),
        skipped=sum(missed.count for missed in skipped),
        is_counted_alike=last.run_count == settled.total() and settled.keys() <= begun.keys(),
    )


def _excess(times: Counter[datetime], causes: Counter[datetime]) -> int:
    """Return how often something came to pass more than once, without a cause."""
    return sum(max(0, times[time] - 1 - causes[time]) for time in times)
