"""
What becomes of a schedule at registration, and how it is written down.

`bind` adds what registration fixes, `declared` says what the user wrote, `dump` and `load` keep what was bound. Someone
else's schedule stays in its process: all that can be written of it is what it is called.
"""

import json
from collections.abc import Mapping
from datetime import datetime

from pydantic import ValidationError

from ..errors import ScheduleError
from .base import Schedule
from .cron import CronSchedule
from .interval import IntervalSchedule
from .one_shot import OneShotSchedule
from .window import WindowedSchedule, fields_of, from_json, is_ours


def bind(
    schedule: Schedule,
    *,
    job_id: str,
    timezone: str,
    now: datetime,
    start_at: datetime | None = None,
    end_at: datetime | None = None,
) -> Schedule:
    """
    Return `schedule` with what registration fixes: zone, start of the grid, slots of `H`, and a window if there is one.

    Someone else's schedule comes back as it is, in a window if there is one.
    """
    if is_ours(schedule):
        schedule = schedule.bind(job_id=job_id, timezone=timezone, now=now, start_at=start_at)
    if isinstance(schedule, IntervalSchedule) and start_at == schedule.start:
        start_at = None  # a grid begins by itself
    if start_at is None and end_at is None:
        return schedule
    return WindowedSchedule(schedule, start_at=start_at, end_at=end_at)


def declared(schedule: Schedule, *, timezone: str) -> str:
    """
    Return the schedule as its author wrote it, in its zone, as compact JSON that is the same in every process.

    A delay is declared as a delay: when it began is not part of the definition.
    """
    return _compact(_declared_fields(schedule, timezone))


def _declared_fields(schedule: Schedule, timezone: str) -> Mapping[str, object]:
    if not is_ours(schedule):
        return fields_of(schedule)
    if isinstance(schedule, WindowedSchedule):
        return {**fields_of(schedule), "schedule": _declared_fields(schedule.schedule, timezone)}
    if isinstance(schedule, OneShotSchedule) and schedule.delay is not None:
        return {name: value for name, value in fields_of(schedule).items() if name != "at"}
    return fields_of(schedule.in_zone(timezone) if isinstance(schedule, CronSchedule) else schedule)


def dump(schedule: Schedule) -> str:
    """Return the schedule as JSON, which `load` reads."""
    if is_ours(schedule):
        return schedule.model_dump_json(exclude_none=True)
    return _compact(fields_of(schedule))


def load(text: str) -> Schedule | None:
    """Return the schedule that `dump` wrote, or None for someone else's; `ScheduleError` for anything else."""
    try:
        return from_json(text)
    except ValidationError as error:
        if _is_custom(text):
            return None
        problem = error.errors(include_url=False)[0]["msg"]
        raise ScheduleError(f"{text!r} is no schedule: {problem}") from error


def _is_custom(text: str) -> bool:
    try:
        form = json.loads(text)
        while form["kind"] == "windowed":
            form = form["schedule"]
        return bool(form["kind"] == "custom")
    except (ValueError, LookupError, TypeError):
        return False


_compact = json.JSONEncoder(separators=(",", ":")).encode
