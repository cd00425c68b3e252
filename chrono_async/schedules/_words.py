"""
Cron expressions in words, and what might surprise those who wrote them.

The words are those of the package cron-descriptor, an extra that is imported when it is asked for.
"""

from datetime import UTC, datetime, timedelta, tzinfo
from itertools import product
from typing import NamedTuple

from ..errors import ScheduleError
from ._calendar import LENGTHS, Wall
from ._crontab import DAY, HOUR, MINUTE, MONTH, SECOND, WEEKDAY, Columns, Field
from ._zones import Stretch, changes, shown_between

_MISSING = "saying cron expressions in words needs a package more: pip install 'chrono-async[words]'"
_FIELDS = (SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY)
_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_LOOKED_AHEAD = timedelta(days=2 * 366)


class Reading(NamedTuple):
    """An expression as it was written and as it was understood."""

    texts: list[str]
    columns: Columns
    wall: Wall
    zone: tzinfo
    asks_both: bool
    spread: str | None


def explain(reading: Reading) -> str:
    """Say the expression in English; `ScheduleError`, with the command that installs it, if the package is missing."""
    try:
        from cron_descriptor import Options, get_description  # noqa: PLC0415  # an extra
    except ImportError:
        raise ScheduleError(_MISSING) from None
    # Named, so that neither the words nor a complaint about them depend on the machine's locale.
    options = Options(locale_code="en_US", use_24hour_time_format=True)
    words = "; or ".join(get_description(expression, options) for expression in _plain_expressions(reading))
    return words if _is_either(reading) else words.replace(", or on ", ", and only on ")


def _plain_expressions(reading: Reading) -> list[str]:
    read = reading.columns
    masks = [read.seconds, read.minutes, read.hours, read.days, read.months, read.weekdays]
    columns = list(zip(_FIELDS, masks, strict=True))[-len(reading.texts) :]
    ways = [_plain(field, text, mask) for (field, mask), text in zip(columns, reading.texts, strict=True)]
    return [" ".join(texts) for texts in product(*ways)]


def _plain(field: Field, text: str, mask: int) -> list[str]:
    """
    Return what a field says in ways that the package reads: no `H`, no steps in lists nor longer than the field.

    Of a list that holds `L`, `W` or `#` each item is a way of its own, since the package gets such lists wrong.
    """
    items = text.upper().split(",")
    has_slot = _has_slot(text)
    has_step_in_list = len(items) > 1 and "/" in text
    moving = [item for item in items if _is_moving(field, item)]
    if has_slot or has_step_in_list or mask.bit_count() == 1 or (moving and mask):
        return [*([",".join(_numbers(mask))] if mask else []), *moving]
    return moving or [text]


def _has_slot(text: str) -> bool:
    return any(item == "H" or item[:2] == "H/" for item in text.upper().split(","))


def _is_moving(field: Field, item: str) -> bool:
    return field.name in {DAY.name, WEEKDAY.name} and (item[-1] in "LW" or "#" in item)


def _numbers(mask: int) -> list[str]:
    return [str(n) for n in range(mask.bit_length()) if mask >> n & 1]


def warnings(reading: Reading, around: datetime) -> list[str]:
    """Return a sentence for each thing that may not be what its author had in mind."""
    return [
        *_slots_of_no_job(reading),
        *_uneven_steps(reading.texts),
        *_missing_days(reading.columns),
        *_two_kinds_of_days(reading),
        *_clock_changes(reading, around),
    ]


def _slots_of_no_job(reading: Reading) -> list[str]:
    if reading.spread is not None or not any(_has_slot(text) for text in reading.texts):
        return []
    return ["H: the time depends on the job's id, which is not known here: each job has another"]


def _uneven_steps(texts: list[str]) -> list[str]:
    found = []
    for field, text in zip(_FIELDS[-len(texts) :], texts, strict=True):
        for item in text.split(","):
            star, _, step = item.partition("/")
            if star in {"*", "h", "H"} and step:
                found.append(_about_step(field, item, int(step)))
    return [sentence for sentence in found if sentence]


def _about_step(field: Field, item: str, step: int) -> str:
    width = field.high - field.low + 1
    if step >= width:
        return f"{field.name} {item}: the step is as long as the field, so there is one value only"
    if field is DAY and step > 1:
        return f"{field.name} {item}: begins anew on the 1st of every month, so the last step of a month is shorter"
    if width % step:
        return f"{field.name} {item}: {width} is no multiple of {step}, so one step in {width // step + 1} is shorter"
    return ""


def _missing_days(columns: Columns) -> list[str]:
    if columns.stars[2] or columns.days == DAY.full:
        return []
    late_days = [day for day in (29, 30, 31) if columns.days >> day & 1]
    return [sentence for day in late_days if (sentence := _about_day(day, columns.months))]


def _about_day(day: int, months: int) -> str:
    without = [_MONTHS[month - 1] for month in range(1, 13) if months >> month & 1 and LENGTHS[month] < day]
    if not without:
        return ""
    leap = " (but in leap years)" if day == 29 else ""
    return f"day-of-month {day}: there is none in {', '.join(without)}{leap}; it is skipped there, not moved"


def _two_kinds_of_days(reading: Reading) -> list[str]:
    if "*" in (texts := [reading.texts[-3], reading.texts[-1]]) or "?" in texts:
        return []
    if reading.asks_both:
        rule = "a day has to match both, as day_match='both' asks for"
    elif reading.columns.stars[2] or reading.columns.stars[3]:
        rule = "a day has to match both, since one of them begins with *"
    else:
        rule = "a day matches if either does; day_match='both' asks for both"
    return [f"day-of-month and day-of-week are both given: {rule}"]


def _is_either(reading: Reading) -> bool:
    return not (reading.asks_both or reading.columns.stars[2] or reading.columns.stars[3])


def _clock_changes(reading: Reading, around: datetime) -> list[str]:
    """Tell of the next gap and the next overlap that a fire time falls into."""
    if not reading.wall.is_fixed and reading.columns.hours == HOUR.full:
        return []
    since = around.astimezone(UTC).replace(tzinfo=None)
    ahead = [change for year in range(3) for change in changes(reading.zone, since.year + year)]
    told: dict[bool, str] = {}
    for change in ahead:
        if since <= change.start <= since + _LOOKED_AHEAD and (sentence := _about_change(change, reading)):
            told.setdefault(change.change > timedelta(0), sentence)
    return list(told.values())


def _about_change(change: Stretch, reading: Reading) -> str:
    old, new = change.left, change.opens
    shown = shown_between(reading.wall, min(old, new), max(old, new))
    if shown is None:
        return ""
    leap = f"on {old:%Y-%m-%d} the clocks of {reading.zone} go from {old:%H:%M} to {new:%H:%M}"
    return f"{leap}: {shown:%H:%M} {_about_fire_time(new, is_leap=old < new, is_fixed=reading.wall.is_fixed)}"


def _about_fire_time(new: datetime, *, is_leap: bool, is_fixed: bool) -> str:
    if is_leap:
        return f"is skipped, and runs at {new:%H:%M} instead" if is_fixed else "is skipped, and does not run"
    return "comes twice, and runs the first time only" if is_fixed else "comes twice, and runs twice"
