"""
Jobs and runs as SQLite keeps them: instants as whole microseconds, everything else as numbers and texts.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import repeat
from typing import Any

from ...models import RunRecord
from .._doors import UNREADABLE
from .._ledger.columns import Column, changed_columns, encoded_column
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

Encoder = Callable[[Any], Any]


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


def encoded(row: JobRow) -> list[Any]:
    """Return a row as the table has it."""
    values = list(row)
    for at, encode in _JOB_ENCODERS:
        value = values[at]
        if value is not None:
            values[at] = encode(value)
    return values


def changed(befores: Iterable[JobRow], rows: Iterable[JobRow]) -> tuple[dict[str, Column], list[str]]:
    """
    Return the columns in which any of the rows is another now, as the table has them; and those that are all emptied.

    Of these a NULL can stand in the statement: to hand over a None costs as much as three numbers.
    """
    filled, emptied = dict[str, Column](), list[str]()
    for place, column in changed_columns(befores, rows).items():
        name = COLUMNS[place]
        if column.count(None) == len(column):
            emptied.append(name)
        else:
            filled[name] = _encoded(_ENCODERS, name, column)
    return filled, emptied


def _encoded(encoders: Mapping[str, Encoder], name: str, column: Column) -> Column:
    return encoded_column(encoders[name], column) if name in encoders else column


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


_LENGTH = len(COLUMNS)
_INSTANTS = tuple(at for at, name in enumerate(COLUMNS) if name in INSTANTS)
_ENCODERS: dict[str, Encoder] = {
    **dict.fromkeys(INSTANTS, microseconds_of), "paused": int, "last_error": _writable,
}  # fmt: skip
_JOB_ENCODERS = [(at, _ENCODERS[name]) for at, name in enumerate(COLUMNS) if name in _ENCODERS]


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def encoded_runs(runs: Iterable[RunRecord], written: int, *, with_missed: bool) -> Iterator[tuple[Any, ...]]:
    """
    Yield runs of the history as rows of the table, after the moment at which they are written.

    The last columns, `OF_MISSED`, are left out where no run has anything for them.
    """
    rows = map(run_row, runs) if with_missed else (run[:-1] for run in runs)
    columns = map(partial(_encoded, _ENCODERS_OF_RUNS), RUN_COLUMNS, zip(*rows, strict=True))
    return zip(repeat(written), *columns)


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
