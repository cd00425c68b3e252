"""
A job's function that notes when it ran, and as what.
"""

import asyncio
import itertools
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from chrono_async import Clock, Duration, Missed, SystemClock, current_run


@dataclass(slots=True)
class RecordedRun:
    """One execution of the recorder's job: noted as it begins, before anything is awaited."""

    job_id: str
    fire_time: datetime
    attempt: int
    token: int
    instance_id: str
    start: datetime
    missed: Missed | None = None
    end: datetime | None = None
    """None while it runs, and for one that never came to its end."""
    was_cancelled: bool = False
    began_as: int = 0
    """Its place in the order of all beginnings and ends: several can share an instant."""
    ended_as: int | None = None

    @property
    def lateness(self) -> timedelta:
        """How long after its fire time it began."""
        return self.start - self.fire_time

    def goes_on_when(self, other: "RecordedRun") -> bool:
        """Whether this run is going on when `other` begins; as every run is when it begins itself."""
        has_begun = self.began_as <= other.began_as
        return has_begun and (self.ended_as is None or self.ended_as > other.began_as)


class Recorder:
    """
    Notes the runs of the jobs whose function is `recorder.job`: `args=(90,)` makes each run last 90 seconds.

    `runs` is in the order of their beginning. Fire times and moments are in UTC.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._order = itertools.count()
        self.runs: list[RecordedRun] = []

    async def job(self, duration: Duration = 0) -> None:
        """Note this run, last for `duration`, and note the end."""
        run = self._begin()
        try:
            if duration:
                await asyncio.sleep(duration / timedelta(seconds=1) if isinstance(duration, timedelta) else duration)
        except asyncio.CancelledError:
            run.was_cancelled = True
            raise
        finally:
            run.end, run.ended_as = self._clock.now(), next(self._order)

    def fire_times(self, job_id: str | None = None) -> list[datetime]:
        """Return the fire times of the runs, in the order in which these began."""
        return [run.fire_time for run in self.of(job_id)]

    def of(self, job_id: str | None = None) -> list[RecordedRun]:
        """Return the runs of a job, or all."""
        return [run for run in self.runs if job_id is None or run.job_id == job_id]

    def doubles(self) -> list[tuple[str, datetime]]:
        """Return the occurrences that ran more than once."""
        ran = Counter((run.job_id, run.fire_time) for run in self.runs)
        return [occurrence for occurrence, times in ran.items() if times > 1]

    def most_at_once(self, job_id: str | None = None) -> int:
        """Return how many runs, of a job or of all, were going on at the same time."""
        runs = self.of(job_id)
        return max((sum(run.goes_on_when(other) for run in runs) for other in runs), default=0)

    def _begin(self) -> RecordedRun:
        here = current_run()
        run = RecordedRun(
            here.job_id,
            here.fire_time,
            here.attempt,
            here.token,
            here.instance_id,
            self._clock.now(),
            here.missed,
            began_as=next(self._order),
        )
        self.runs.append(run)
        return run
