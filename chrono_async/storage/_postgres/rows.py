"""
Jobs and runs as rows of PostgreSQL's own types: what differs from the rows that any medium can have.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from operator import ne
from typing import Any, TypeVar

from ...models import Due, JobRecord, RunRecord, pending_manual
from .._doors import UNREADABLE
from .._ledger.rows import COLUMNS, COUNTS, RUN_COLUMNS, JobRow, kept_of, row_of, run_row
from .._ledger.sheet import Change, Floors, Kept
from .._table.instants import instant_of
from .statements import DUE_COLUMNS

_log = logging.getLogger("chrono_async")

Value = TypeVar("Value")

_LAST_ERROR, _DUE_AT = COLUMNS.index("last_error"), COLUMNS.index("due_at")
_OWNER, _UNTIL = COLUMNS.index("lock_owner"), COLUMNS.index("lock_until")
_ERROR = RUN_COLUMNS.index("error")


# ── texts ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def bad_character(text: str) -> str | None:
    """Return the first character that PostgreSQL cannot hold: a null, or half of a pair."""
    if "\0" in text:
        return "\0"
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return text[error.start]
    return None


def escaped(text: str) -> str:
    """Return a text that can be held; an exception's message must not keep its run from being settled."""
    if bad_character(text) is None:
        return text
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


# ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def job_row(job_id: str, kept: Kept) -> JobRow:
    """Return the row of a job. It is due when its lock ends, if that is later."""
    row = list(row_of(job_id, kept))
    if row[_LAST_ERROR]:
        row[_LAST_ERROR] = escaped(row[_LAST_ERROR])
    if row[_DUE_AT] is not None and row[_OWNER] is not None:
        row[_DUE_AT] = max(row[_DUE_AT], instant_of(row[_UNTIL]))
    return tuple(row)


def places_to_write(changes: Iterable[Change[JobRow]]) -> Sequence[int]:
    """Return which columns of these jobs are to be written: those that are different in one of them, id and lock."""
    differences = {bytes(map(ne, before or _NOTHING, row)) for _, _, row, _, _, before in changes if row is not None}
    return _places(frozenset(differences))


@lru_cache(maxsize=1024)
def _places(differences: Iterable[bytes]) -> Sequence[int]:
    differ = map(any, zip(*differences, strict=True)) if differences else _NOTHING
    return [place for place, is_other in enumerate(differ) if is_other or place in _ALWAYS]


_ALWAYS = {COLUMNS.index("id"), _OWNER, _UNTIL}
_NOTHING: tuple[Any, ...] = (object(),) * len(COLUMNS)
"""What differs from any row, in all its columns."""


def arguments_of(
    changes: Sequence[Change[JobRow]], places: Sequence[int], floors: Floors | None, *, with_runs: bool
) -> list[Any]:
    """Return what the statement that writes is given: a list for each column, then the floors."""
    rows = [change.row or (change.job_id, *_GONE) for change in changes]
    columns = [[row[place] for row in rows] for place in places]
    runs = [_run_row(run) for change in changes for run in change.runs] if with_runs else []
    versions, gone = [change.version for change in changes], [change.row is None for change in changes]
    run_lists = zip(*runs, strict=True) if runs else _NO_RUNS
    return [versions, gone, *columns, *run_lists, *(floors or Floors())]


_GONE: tuple[Any, ...] = (None,) * (len(COLUMNS) - 1)
_NO_RUNS: tuple[Any, ...] = ((),) * len(RUN_COLUMNS)


def _run_row(run: RunRecord) -> tuple[Any, ...]:
    row = run_row(run)
    return row if not run.error else (*row[:_ERROR], escaped(run.error), *row[_ERROR + 1 :])


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def values_of(row: Iterable[Any]) -> tuple[Any, ...]:
    """Return the values of a row. The ends of time are infinite to the driver, which then knows no zone."""
    values = tuple(row)
    if _ENDS[0] in values or _ENDS[1] in values:
        return tuple(value.replace(tzinfo=UTC) if value in _ENDS else value for value in values)
    return values


_ENDS = (datetime.min, datetime.max)  # noqa: DTZ901 - as the driver has them


def due_of_row(row: Sequence[Any]) -> Due:
    """Return what is to be known of a job that comes due, from `DUE_COLUMNS`."""
    whole = _BARE.copy()
    for place, value in zip(_PLACES, row, strict=True):
        whole[place] = value
    record = kept_of(whole).record
    assert record is not None, "only a record is ever due"  # noqa: S101 - a type narrowing
    manual = pending_manual(record)
    return Due(
        record.id,
        whole[_DUE_AT],
        record.next_run,
        record.revision,
        record.bound_fire_time,
        None if manual is None else manual.at,
    )


_BARE: list[Any] = [0 if column in COUNTS else "" if column in {"name", "last_error"} else None for column in COLUMNS]
_PLACES = [COLUMNS.index(column) for column in DUE_COLUMNS]


class Reader:
    """Reads rows, and says of each job that cannot be read so once."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._told: set[str] = set()

    def read(self, row: Sequence[Any], read: Callable[[Sequence[Any]], Value]) -> Value | None:
        """Return what the row says, or None for one that makes no sense; its first column is a job's id."""
        try:
            return read(values_of(row))
        except UNREADABLE as error:
            self._tell(str(row[0]), error)
            return None

    def read_all(
        self, rows: Iterable[Sequence[Any]], read: Callable[[Sequence[Any]], Value], unreadable: list[str] | None = None
    ) -> list[Value]:
        """Return what those rows say that make sense; add the jobs of the others to `unreadable`."""
        found = list[Value]()
        for row in rows:
            value = self.read(row, read)
            if value is not None:
                found.append(value)
            elif unreadable is not None:
                unreadable.append(str(row[0]))
        return found

    def _tell(self, job_id: str, error: Exception) -> None:
        if job_id not in self._told:
            self._told.add(job_id)
            _log.error("a row of job %r in %s_* cannot be read and is left as it is: %s", job_id, self._table, error)


def record_of(row: Sequence[Any]) -> JobRecord:
    """Return the record in a row of `COLUMNS`."""
    record = kept_of(row).record
    assert record is not None, "only records are listed"  # noqa: S101 - a type narrowing
    return record
