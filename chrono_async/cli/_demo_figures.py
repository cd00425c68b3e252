"""
What the demonstration came to, counted: from the schedules what was due, from the workers' log what ran, from the
storage what it made of it.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from chrono_async import (
    CronSchedule,
    IntervalSchedule,
    JobInfo,
    OneShotSchedule,
    RunRecord,
    RunStatus,
    Schedule,
    WindowedSchedule,
    occurrences,
)


class Pause(NamedTuple):
    """A job was paused: the fire times in `[first, until)` are not due."""

    job_id: str
    first: datetime
    until: datetime


@dataclass(slots=True)
class LoggedRun:
    """A run as the workers' log tells of it."""

    job_id: str
    fire_time: datetime
    attempt: int
    pid: int
    tries: int = 0
    errors: list[str] = field(default_factory=list)
    is_going: bool = True
    is_lost: bool = False
    """Whether its lease passed to another process: its result does not count."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One job's line of the table."""

    job: str
    schedule: str
    due: int
    ran: int
    failed: int
    missed: int
    duplicates: int
    next_run: datetime | None
    retried: int
    timed_out: int
    taken_over: int
    is_counted_alike: bool
    """Whether the storage has counted as many runs as the log."""

    @property
    def ok(self) -> bool:
        """Whether each due time ran, once."""
        return not self.missed and not self.duplicates and self.is_counted_alike

    def as_dict(self) -> dict[str, object]:
        """Return what JSON can hold."""
        return asdict(self) | {"next_run": self.next_run and self.next_run.isoformat(), "ok": self.ok}


def read_log(path: Path) -> list[LoggedRun]:
    """Read the workers' log; a last line that is still being written is left for the next time."""
    runs: dict[tuple[str, str, int, int], LoggedRun] = {}
    if not path.exists():
        return []
    for text in path.read_text().splitlines(keepends=True):
        if not text.endswith("\n"):
            break
        line = json.loads(text)
        if "lost" in line:
            _note_lost(runs.values(), line)
            continue
        key = line["job"], line["fire_time"], line["attempt"], line["pid"]
        run = runs.setdefault(
            key, LoggedRun(line["job"], datetime.fromisoformat(line["fire_time"]), line["attempt"], line["pid"])
        )
        run.is_going = not line["ended"]
        run.tries += not line["ended"]
        if line["error"]:
            run.errors.append(line["error"])
    return list(runs.values())


def _note_lost(runs: Iterable[LoggedRun], line: Mapping[str, Any]) -> None:
    fire_time = datetime.fromisoformat(line["fire_time"])
    for run in runs:
        if (run.job_id, run.fire_time, run.pid) == (line["job"], fire_time, line["pid"]):
            run.is_lost = True


def count(
    first: JobInfo,
    last: JobInfo,
    logged: Iterable[LoggedRun],
    rows: Iterable[RunRecord],
    *,
    pauses: Sequence[Pause],
    end: datetime,
) -> Figures:
    """Count one job, from how it was registered to how it stands at the end."""
    runs = [run for run in logged if run.job_id == first.id]
    rows = [row for row in rows if row.job_id == first.id]
    due = due_times(first, max([end, *(run.fire_time for run in runs)]), pauses)
    ran = {run.fire_time for run in runs if not run.is_going}
    abandoned = Counter(row.fire_time for row in rows if row.status is RunStatus.ABANDONED)
    starts = Counter(run.fire_time for run in runs)
    return Figures(
        job=first.id,
        schedule=in_words(last.schedule),
        due=len(due),
        ran=len(ran),
        failed=last.error_count,
        missed=len(due - ran),
        duplicates=sum(max(0, starts[time] - 1 - abandoned[time]) for time in starts) + len(ran - due),
        next_run=last.next_run,
        retried=sum(run.tries - 1 for run in runs),
        timed_out=sum(row.error.startswith("TimeoutError") for row in rows),
        taken_over=sum(run.attempt > 1 for run in runs),
        is_counted_alike=last.run_count == len(ran),
    )


def due_times(first: JobInfo, end: datetime, pauses: Sequence[Pause]) -> set[datetime]:
    """Return the fire times from the first one on that were not passed while the job was paused."""
    if first.next_run is None or first.schedule is None or first.next_run > end:
        return set()
    times = {first.next_run, *occurrences(first.schedule, first.next_run, end)}
    mine = [pause for pause in pauses if pause.job_id == first.id]
    return {time for time in times if not any(pause.first <= time < pause.until for pause in mine)}


def in_words(schedule: Schedule | None) -> str:
    """Say a schedule in words."""
    match schedule:
        case WindowedSchedule():
            return in_words(schedule.schedule)
        case CronSchedule():
            return schedule.explain()
        case IntervalSchedule():
            return f"Every {schedule.every.total_seconds():g} s"
        case OneShotSchedule():
            return f"Once, at {schedule.run_at:%H:%M:%S}"
        case _:
            return str(schedule)
