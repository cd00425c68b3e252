"""
Jobs and runs as SQLite keeps them: instants as whole microseconds, everything else as numbers and texts.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from operator import ne
from typing import Any

from ..models import RunRecord
from ._rows import (
    COLUMNS,
    INSTANTS,
    RUN_COLUMNS,
    RUN_INSTANTS,
    JobRow,
    instant_of,
    microseconds_of,
    run_of,
    run_row,
)

UNREADABLE = (ValueError, TypeError, LookupError, OverflowError)
"""What comes of a row that somebody else has written."""


class Instants(dict[int, datetime]):
    """The moments that numbers stand for. A batch has few of them: one lease's end, say, for all of its jobs."""

    def __missing__(self, number: int) -> datetime:
        moment = self[number] = instant_of(number)
        return moment


# ── jobs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def decoded(row: Sequence[Any], instants: Instants) -> JobRow:
    """Return a row of the table as `_rows` has it; one of `UNREADABLE` is raised for what is no instant."""
    values = list(row)
    for at in _INSTANTS:
        number = values[at]
        if number is not None:
            values[at] = instants[number]
    return tuple(values)


def encoded(row: JobRow, places: Iterable[int]) -> list[Any]:
    """Return those of a row's values as the table has them."""
    values = []
    for at in places:
        value = row[at]
        encode = _ENCODERS[at]
        values.append(value if encode is None or value is None else encode(value))
    return values


def changed_places(before: JobRow, after: JobRow) -> bytes:
    """Return which of a row's values are others now."""
    differs = bytes(map(ne, before, after))
    places = _places.get(differs)
    if places is None:
        places = _places[differs] = bytes(at for at, is_other in enumerate(differs) if is_other)
    return places


_places: dict[bytes, bytes] = {}
"""By what differs, of which there are few patterns: a claim writes the same columns each time, and so does a settle."""


def ended_flights(text: str) -> str:
    """Return a job's flights with leases that have run out; what cannot be read stays as it is."""
    try:
        return json.dumps([[*flight[:-1], 0] for flight in json.loads(text)])
    except UNREADABLE:
        return text


def is_writable(text: str) -> bool:
    """Whether SQLite can hold a text: half of a surrogate pair is no character."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _writable(text: str) -> str:
    """Return the text of an error, escaped where need be: it must not keep its run from being settled."""
    return text if is_writable(text) else text.encode(errors="backslashreplace").decode()


Encoder = Callable[[Any], Any]


def _encoders(columns: Iterable[str], instants: frozenset[str], **others: Encoder) -> tuple[Encoder | None, ...]:
    known = {**dict.fromkeys(instants, microseconds_of), **others}
    return tuple(known.get(name) for name in columns)


_INSTANTS = tuple(at for at, name in enumerate(COLUMNS) if name in INSTANTS)
_ENCODERS = _encoders(COLUMNS, INSTANTS, status=str, paused=int, last_error=_writable)
ALL_PLACES = bytes(range(len(COLUMNS)))


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def encoded_run(run: RunRecord) -> list[Any]:
    """Return a run of the history as a row of the table."""
    return [
        value if encode is None or value is None else encode(value)
        for value, encode in zip(run_row(run), _RUN_ENCODERS, strict=True)
    ]


def decoded_run(row: Sequence[Any]) -> RunRecord:
    """Return the run of a row; one of `UNREADABLE` is raised for what cannot be read."""
    values = list(row)
    for at in _RUN_INSTANTS:
        number = values[at]
        if number is not None:
            values[at] = instant_of(number)
    return run_of(values)


_RUN_INSTANTS = tuple(at for at, name in enumerate(RUN_COLUMNS) if name in RUN_INSTANTS)
_RUN_ENCODERS = _encoders(RUN_COLUMNS, RUN_INSTANTS, status=str, manual=int, error=_writable)
