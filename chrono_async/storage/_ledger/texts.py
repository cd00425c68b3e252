"""
A job and a run as JSON, for media that keep a text under a key. Instants are whole microseconds since 1970.
"""

import json
from typing import Any

from ...models import RunRecord
from .rows import (
    COLUMNS,
    INSTANTS,
    RUN_COLUMNS,
    RUN_INSTANTS,
    instant_of,
    kept_of,
    microseconds_of,
    row_of,
    run_of,
    run_row,
)
from .sheet import Kept

_INSTANTS = [at for at, name in enumerate(COLUMNS) if name in INSTANTS]
_RUN_INSTANTS = [at for at, name in enumerate(RUN_COLUMNS) if name in RUN_INSTANTS]
_UNREADABLE = (TypeError, LookupError, AttributeError, ArithmeticError)

_compact = json.JSONEncoder(separators=(",", ":")).encode


def job_to_json(job_id: str, kept: Kept) -> str:
    """Return the job as a text, plain ASCII; the same job is the same text."""
    return _text(row_of(job_id, kept), _INSTANTS)


def job_from_json(text: str) -> Kept:
    """Return the job that `job_to_json` wrote; `ValueError` for what cannot be read."""
    try:
        return kept_of(_values(text, _INSTANTS))
    except _UNREADABLE as error:
        raise ValueError(f"not a job: {error!r}") from error


def run_to_json(run: RunRecord) -> str:
    """Return a row of the history as a text."""
    return _text(run_row(run), _RUN_INSTANTS)


def run_from_json(text: str) -> RunRecord:
    """Return the row that `run_to_json` wrote; `ValueError` for what cannot be read."""
    try:
        return run_of(_values(text, _RUN_INSTANTS))
    except _UNREADABLE as error:
        raise ValueError(f"not a run: {error!r}") from error


def _text(row: tuple[Any, ...], instants: list[int]) -> str:
    values = list(row)
    for at in instants:
        if values[at] is not None:
            values[at] = microseconds_of(values[at])
    return _compact(values)


def _values(text: str, instants: list[int]) -> list[Any]:
    values: list[Any] = json.loads(text)
    for at in instants:
        if values[at] is not None:
            values[at] = instant_of(values[at])
    return values
