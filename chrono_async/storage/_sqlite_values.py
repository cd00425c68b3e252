"""
Jobs and runs as SQLite keeps them: instants as whole microseconds, everything else as numbers and texts.
"""

import json
from typing import Any

from ..models import RunRecord
from ._rows import (
    COLUMNS,
    INSTANTS,
    RUN_COLUMNS,
    RUN_INSTANTS,
    JobRow,
    instant_of,
    kept_of,
    microseconds_of,
    row_of,
    run_of,
    run_row,
)
from ._sheet import Kept

_INSTANTS = tuple(at for at, name in enumerate(COLUMNS) if name in INSTANTS)
_STATUS, _PAUSED, _LAST_ERROR = map(COLUMNS.index, ("status", "paused", "last_error"))
_RUN_TIMES = tuple(at for at, name in enumerate(RUN_COLUMNS) if name in RUN_INSTANTS)
_RUN_STATUS, _ERROR = map(RUN_COLUMNS.index, ("status", "error"))

UNREADABLE = (ValueError, TypeError, LookupError, OverflowError)
"""What comes of a row that somebody else has written."""


def encoded(job_id: str, kept: Kept) -> JobRow:
    """Return a job as a row of the table."""
    row = list(row_of(job_id, kept))
    for at in _INSTANTS:
        moment = row[at]
        if moment is not None:
            row[at] = microseconds_of(moment)
    if kept.record is not None:
        row[_STATUS], row[_PAUSED] = row[_STATUS].value, int(row[_PAUSED])
        row[_LAST_ERROR] = _writable(row[_LAST_ERROR])
    return tuple(row)


def decoded(row: JobRow) -> Kept:
    """Return the job of a row; one of `UNREADABLE` is raised for what cannot be read."""
    values = list(row)
    for at in _INSTANTS:
        number = values[at]
        if number is not None:
            values[at] = instant_of(number)
    return kept_of(values)


def ended_flights(text: str) -> str:
    """Return a job's flights with leases that have run out; what cannot be read stays as it is."""
    try:
        return json.dumps([[*flight[:-1], 0] for flight in json.loads(text)])
    except UNREADABLE:
        return text


def encoded_run(run: RunRecord) -> list[Any]:
    """Return a run of the history as a row of the table."""
    row = list(run_row(run))
    for at in _RUN_TIMES:
        moment = row[at]
        if moment is not None:
            row[at] = microseconds_of(moment)
    row[_RUN_STATUS], row[_ERROR] = row[_RUN_STATUS].value, _writable(row[_ERROR])
    return row


def decoded_run(row: tuple[Any, ...]) -> RunRecord:
    """Return the run of a row; one of `UNREADABLE` is raised for what cannot be read."""
    values = list(row)
    for at in _RUN_TIMES:
        number = values[at]
        if number is not None:
            values[at] = instant_of(number)
    return run_of(values)


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
