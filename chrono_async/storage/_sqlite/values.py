"""
Jobs and runs as SQLite keeps them: instants as whole microseconds, everything else as numbers and texts.
"""

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from ...models import RunRecord
from .._doors import UNREADABLE
from .._ledger.rows import (
    COLUMNS,
    INSTANTS,
    RUN_COLUMNS,
    RUN_INSTANTS,
    JobRow,
    run_of,
    run_row,
)
from .._table.instants import instant_of, microseconds_of


class Instants(dict[int, datetime]):
    """The moments that numbers stand for. A batch has few of them: one lease's end, say, for all of its jobs."""

    def __missing__(self, number: int) -> datetime:
        moment = self[number] = instant_of(number)
        return moment


# ── jobs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def decoded(row: Sequence[Any], instants: Instants) -> JobRow:
    """Return a row of the table as `_ledger.rows` has it; one of `UNREADABLE` is raised for what is no instant."""
    values = list(row[:_LENGTH])
    for at in _INSTANTS:
        number = values[at]
        if number is not None:
            values[at] = instants[number]
    return tuple(values)


class Places:
    """Some of a row's columns: those that get a value, how it is written, and those that are emptied."""

    def __init__(self, at: Sequence[int], emptied: Sequence[int] = ()) -> None:
        self.columns: tuple[str, ...] = tuple(COLUMNS[place] for place in at)
        self.emptied: tuple[str, ...] = tuple(COLUMNS[place] for place in emptied)
        self._at = tuple(at)
        self._encoders = [(place, _ENCODERS[name]) for place, name in enumerate(self.columns) if name in _ENCODERS]

    def encoded(self, row: JobRow) -> list[Any]:
        """Return the row's values at these places as the table has them."""
        values = [row[place] for place in self._at]
        for place, encode in self._encoders:
            value = values[place]
            if value is not None:
                values[place] = encode(value)
        return values


def changed_places(before: JobRow, after: JobRow) -> Places:
    """
    Return where a row's values are others now.

    What is emptied is a part of the pattern, so that its NULL can stand in the statement: to hand over a None costs as
    much as three numbers.
    """
    rows = zip(before, after, strict=True)
    pattern = bytes([0 if new is old or new == old else 1 if new is not None else 2 for old, new in rows])
    places = _places.get(pattern)
    if places is None:
        filled, emptied = ([at for at, kind in enumerate(pattern) if kind == wanted] for wanted in (1, 2))
        places = _places[pattern] = Places(filled, emptied)
    return places


_places: dict[bytes, Places] = {}
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

_LENGTH = len(COLUMNS)
_INSTANTS = tuple(at for at, name in enumerate(COLUMNS) if name in INSTANTS)
_ENCODERS: dict[str, Encoder] = {
    **dict.fromkeys(INSTANTS, microseconds_of), "status": str, "paused": int, "last_error": _writable,
}  # fmt: skip
ALL_PLACES = Places(range(_LENGTH))


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def encoded_run(run: RunRecord, written: int) -> list[Any]:
    """Return a run of the history as a row of the table, after the moment at which it is written."""
    row = [written, *run_row(run)]
    for at, encode in _RUN_ENCODERS:
        value = row[at]
        if value is not None:
            row[at] = encode(value)
    return row


def decoded_run(row: Sequence[Any]) -> RunRecord:
    """Return the run of a row; one of `UNREADABLE` is raised for what cannot be read."""
    values = list(row)
    for at in _RUN_INSTANTS:
        number = values[at]
        if number is not None:
            values[at] = instant_of(number)
    return run_of(values)


_RUN_INSTANTS = tuple(at for at, name in enumerate(RUN_COLUMNS) if name in RUN_INSTANTS)
_ENCODERS_OF_RUNS: dict[str, Encoder] = {
    **dict.fromkeys(RUN_INSTANTS, microseconds_of), "status": str, "manual": int, "error": _writable,
}  # fmt: skip
_RUN_ENCODERS = [(1 + at, _ENCODERS_OF_RUNS[name]) for at, name in enumerate(RUN_COLUMNS) if name in _ENCODERS_OF_RUNS]
