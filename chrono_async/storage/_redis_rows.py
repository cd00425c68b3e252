"""
How jobs and runs look in a Redis: JSON rows with instants as whole microseconds, and ids as bytes.

An id is UTF-8, half a surrogate pair as if it were a character; so the order of the bytes is that of the text. A row is
plain ASCII, in which JSON can say any text.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ..models import Due, InstanceInfo, RunRecord, due_of
from ._rows import (
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
from ._sheet import Change, Kept, Stored

Row = tuple[Any, ...]
"""A job's columns as JSON has them."""

_COLUMN = {name: at for at, name in enumerate(COLUMNS)}
_PAUSED, _NEXT_RUN = _COLUMN["paused"], _COLUMN["next_run"]
_LOCK = slice(_COLUMN["lock_owner"], _COLUMN["lock_until"] + 1)
_DUE_AT, _BURY_AT = _COLUMN["due_at"], _COLUMN["bury_at"]
_INSTANTS = [_COLUMN[name] for name in COLUMNS if name in INSTANTS]
_RUN_INSTANTS = [at for at, name in enumerate(RUN_COLUMNS) if name in RUN_INSTANTS]

FARTHEST = 2**53 - 1
"""The last score that a double tells from the next, in the year 2255: what lies beyond is taken for this."""

_compact = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode
_compact_text = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


# ── texts ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def bytes_of(text: str) -> bytes:
    """Return the bytes of a text, whatever is in it."""
    return text.encode("utf-8", "surrogatepass")


def text_of(data: bytes) -> str:
    """Return the text that has these bytes."""
    return data.decode("utf-8", "surrogatepass")


def json_of(values: Any) -> bytes:
    """Return values for a script to decode; texts stay as they are, since its JSON knows no half surrogate pairs."""
    return bytes_of(_compact_text(values))


def ids_of(data: bytes) -> list[str]:
    """Return the ids that a script has encoded."""
    ids: list[str] = json.loads(text_of(data))
    return ids


# ── jobs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def encode(job_id: str, kept: Kept) -> Row:
    """Return the row of a job."""
    row = list(row_of(job_id, kept))
    for at in _INSTANTS:
        if row[at] is not None:
            row[at] = microseconds_of(row[at])
    return tuple(row)


def decode(job_id: str, value: bytes) -> Stored[Row]:
    """Return the job that a script has written, or raise `ValueError`."""
    version, _, text = value.split(b" ", 2)
    row = (job_id, *json.loads(text))
    columns = list(row)
    for at in _INSTANTS:
        if columns[at] is not None:
            columns[at] = instant_of(columns[at])
    return Stored(int(version), row, kept_of(columns))


UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)
"""What `decode` raises for what no version of ours has written; pydantic's error is a `ValueError`."""


def change_for_script(change: Change[Row]) -> list[Any]:
    """Return a change as `redis_write.lua` wants it."""
    runs = [_compact(_plain_run(run)) for run in change.runs]
    row = change.row
    if row is None:
        return [change.job_id, change.version, False, False, False, False, False, runs]
    return [change.job_id, change.version, _compact(row[1:]), *_scores(row), runs]


def _scores(row: Row) -> tuple[int | bool, ...]:
    """Say when there is something to do, where the pointer is, when to look for a dead run, and when the lease ends."""
    due_at, pointer, bury_at, (owner, until) = row[_DUE_AT], row[_NEXT_RUN], row[_BURY_AT], row[_LOCK]
    if owner is None:
        until = None
    elif due_at is not None and until > due_at:
        due_at = until
    if row[_PAUSED]:
        pointer = None
    return _score(due_at), _score(pointer), _score(bury_at), _score(until)


def _score(moment: int | None) -> int | bool:
    return False if moment is None else max(-FARTHEST, min(moment, FARTHEST))


class Page(NamedTuple):
    """A page of an index, in its order."""

    now: int
    dead: list[str]
    """The jobs in which there are dead runs to bury, before there is a page to be had."""
    more: bool
    ids: list[str]
    scores: list[int]
    rows: bytes

    @property
    def lines(self) -> Iterable[tuple[str, bytes]]:
        """Each id with its row."""
        return lines_of(self.rows, self.ids)


def page_of(answer: Sequence[bytes]) -> Page:
    """Return the page that `redis_due.lua` has answered."""
    now, dead, more, ids, scores, rows = answer
    return Page(int(now), ids_of(dead), more == b"1", ids_of(ids), numbers_of(scores), rows)


def place_of(due: Due) -> tuple[int, str]:
    """Return where a job stands in the index."""
    return _score(microseconds_of(due.when)), due.job_id


def due_from(stored: Stored[Row], score: int) -> Due | None:
    """Return what there is to do, at the place that the index gives it: behind the lock that was last on it."""
    record = stored.kept.record
    due = None if record is None else due_of(record)
    if due is None or abs(score) == FARTHEST:
        return due
    return due._replace(when=instant_of(score))


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _plain_run(run: RunRecord) -> list[Any]:
    row = list(run_row(run))
    for at in _RUN_INSTANTS:
        if row[at] is not None:
            row[at] = microseconds_of(row[at])
    return row


def runs_of(data: bytes) -> list[RunRecord]:
    """Return the runs in the lines of a reply, without those that have been forgotten meanwhile."""
    return [_run(line) for line in data.split(b"\n") if line.startswith(b"[")]


def _run(line: bytes) -> RunRecord:
    row: list[Any] = json.loads(line)
    for at in _RUN_INSTANTS:
        if row[at] is not None:
            row[at] = instant_of(row[at])
    return run_of(row)


# ── instances ────────────────────────────────────────────────────────────────────────────────────────────────────────


def words_of(instance: InstanceInfo) -> str:
    """Return what an instance says of itself."""
    return _compact([microseconds_of(instance.started), sorted(instance.jobs)])


def instance_of(instance_id: str, words: bytes, seen: int) -> InstanceInfo:
    """Return the instance that said these words."""
    started, jobs = json.loads(words)
    return InstanceInfo(instance_id, instant_of(started), instant_of(seen), frozenset(jobs))


# ── replies ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def numbers_of(data: bytes) -> list[int]:
    """Return the numbers that a script has put in a row."""
    return [int(number) for number in data.split()]


def lines_of(data: bytes, ids: Sequence[str]) -> Iterable[tuple[str, bytes]]:
    """Return each id with its line of a reply."""
    return zip(ids, data.split(b"\n"), strict=True) if ids else ()
