"""
Jobs and runs as rows of PostgreSQL's own types: what differs from the rows that any medium can have.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from ...models import Due, JobRecord, RunRecord, pending_manual
from .._doors import UNREADABLE
from .._ledger.columns import Column, changed_columns, encoded_column, is_uniform
from .._ledger.rows import COLUMNS, COUNTS, RUN_COLUMNS, JobRow, kept_of, row_of, run_row
from .._ledger.sheet import Change, Floors, Kept
from .._table.instants import instant_of, microseconds_of
from .._told import Told
from . import arrays
from .statements import DUE_COLUMNS, INSTANTS_GIVEN, JOB_TYPES, READ, RUN_TYPES, shared, write

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


def write_of(changes: Sequence[Change[JobRow]], floors: Floors | None, *, with_runs: bool) -> tuple[str, list[Any]]:
    """Return the name of the statement that writes these changes, and what it is given."""
    jobs = [_given(name, column, JOB_TYPES) for name, column in _columns_of_jobs(changes)]
    runs = [_given(name, column, RUN_TYPES) for name, column in _columns_of_runs(changes if with_runs else ())]
    name = write([mark for mark, _ in jobs], [mark for mark, _ in runs])
    return name, [*(value for _, value in jobs), *(value for _, value in runs), *(floors or Floors())]


def _columns_of_jobs(changes: Sequence[Change[JobRow]]) -> Iterator[tuple[str, Column]]:
    """Yield what is to be written of jobs, by column: where one of them is another now, and always id and lock."""
    rows = [change.row or (change.job_id, *_GONE) for change in changes]
    pairs = zip(changes, rows, strict=True)
    befores = [row if change.row is None else change.before or _NEVER for change, row in pairs]
    read = ([change.version for change in changes], [change.row is None for change in changes])
    yield from zip(READ, read, strict=True)
    for place, column in changed_columns(befores, rows, _ALWAYS).items():
        yield COLUMNS[place], column


def _columns_of_runs(changes: Iterable[Change[JobRow]]) -> Iterator[tuple[str, Column]]:
    rows = [_run_row(run) for change in changes for run in change.runs]
    return zip(RUN_COLUMNS, zip(*rows, strict=True) if rows else _NO_RUNS, strict=True)


_ALWAYS = {COLUMNS.index("id"), _OWNER, _UNTIL}
_GONE: tuple[Any, ...] = (None,) * (len(COLUMNS) - 1)
_NEVER: tuple[Any, ...] = (object(),) * len(COLUMNS)
"""What differs from any row, in all its columns."""
_NO_RUNS: tuple[Any, ...] = ((),) * len(RUN_COLUMNS)


def _given(name: str, column: Column, types: Mapping[str, str]) -> tuple[str, Any]:
    """Return a column's mark, and its values as an array; of what a batch mostly shares, the one value if it does."""
    is_instant = name in INSTANTS_GIVEN
    values = encoded_column(microseconds_of, column) if is_instant and column else column
    if name in _SHARED and (not column or is_uniform(column)):
        return shared(name), values[0] if values else None
    return name, arrays.of_numbers(values) if is_instant or name in types else arrays.of_texts(values)


_SHARED = frozenset(
    {"gone", "status", "owner", "lease_until", "running", "claimed", "lock_owner", "lock_until"}
    | {"instance_id", "attempt", "manual", "error", "retry_count", "missed_count", "missed_first", "missed_last"}
)
"""The columns in which a batch mostly has one value. The others might have by chance; each pattern is a statement."""


def _run_row(run: RunRecord) -> tuple[Any, ...]:
    row = run_row(run)
    return row if not run.error else (*row[:_ERROR], escaped(run.error), *row[_ERROR + 1 :])


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


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
        self._told = Told()

    def read(self, row: Sequence[Any], read: Callable[[Sequence[Any]], Value]) -> Value | None:
        """Return what the row says, or None for one that makes no sense; its first column is a job's id."""
        try:
            return read(tuple(row))
        except UNREADABLE as error:
            what = f"a row of job {str(row[0])!r} in {self._table}_*"
            self._told.error(f"{what} cannot be read and is left as it is: {error}")
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


def record_of(row: Sequence[Any]) -> JobRecord:
    """Return the record in a row of `COLUMNS`."""
    record = kept_of(row).record
    assert record is not None, "only records are listed"  # noqa: S101 - a type narrowing
    return record
