"""
How jobs and runs look in a Redis: JSON rows with instants as whole microseconds, and ids as bytes.

An id is UTF-8, half a surrogate pair as if it were a character; so the order of the bytes is that of the text. A row is
plain ASCII, in which JSON can say any text.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ...models import Due, InstanceInfo, RunRecord, due_of
from .._doors import UNREADABLE
from .._ledger.rows import (
    COLUMNS,
    JobRow,
    job_from_numbers,
    jobs_in_numbers,
    kept_of,
    run_from_numbers,
    runs_in_numbers,
)
from .._ledger.sheet import Change, Stored
from .._table.instants import instant_of, microseconds_of

_COLUMN = {name: at for at, name in enumerate(COLUMNS)}
_PAUSED, _NEXT_RUN = _COLUMN["paused"], _COLUMN["next_run"]
_LOCK = slice(_COLUMN["lock_owner"], _COLUMN["lock_until"] + 1)
_DUE_AT, _BURY_AT = _COLUMN["due_at"], _COLUMN["bury_at"]

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


def stored_of(lines: Iterable[tuple[str, bytes]]) -> tuple[dict[str, Stored[JobRow]], dict[str, Exception]]:
    """Return the jobs in the lines of a reply, and of those that cannot be read why that is so."""
    there = [(job_id, line.split(b" ", 2)) for job_id, line in lines if line]
    try:
        rows = json.loads(b"[%b]" % b",".join([words[2] for _, words in there]))
        stored = {job_id: _stored(job_id, words[0], row) for (job_id, words), row in zip(there, rows, strict=True)}
    except UNREADABLE:
        return _one_by_one(there)
    return stored, {}


def _one_by_one(there: Iterable[tuple[str, list[bytes]]]) -> tuple[dict[str, Stored[JobRow]], dict[str, Exception]]:
    stored, unreadable = dict[str, Stored[JobRow]](), dict[str, Exception]()
    for job_id, words in there:
        try:
            stored[job_id] = _stored(job_id, words[0], json.loads(words[2]))
        except UNREADABLE as error:
            unreadable[job_id] = error
    return stored, unreadable


def _stored(job_id: str, version: bytes, values: list[Any]) -> Stored[JobRow]:
    row = job_from_numbers((job_id, *values))
    return Stored(int(version), row, kept_of(row))


def words_of_changes(changes: Sequence[Change[JobRow]]) -> tuple[bytes, str, str]:
    """Return changes as `write.lua` wants them: what it looks at, the rows, and the rows of their runs."""
    heads, rows, ends = list[Any](), list[Sequence[Any]](), list[str]()
    numbered = iter(jobs_in_numbers(change.row for change in changes if change.row is not None))
    for change in changes:
        row = None if change.row is None else next(numbered)
        heads += (change.job_id, str(change.version or ""), *_scores(row), len(change.runs))
        rows.append("" if row is None else row[1:])
        ends.append("" if row is None else f"{_end_of_lease(row):016} ")
    runs = runs_in_numbers(run for change in changes for run in change.runs)
    return json_of(heads), _lines(rows, ends), _lines(runs)


_BETWEEN = {"": 0}
_SPLIT = f",{_compact(_BETWEEN)},"


def _lines(rows: Sequence[Sequence[Any]], heads: Sequence[str] | None = None) -> str:
    """
    Return each row as a line of JSON behind its head, each of which ends; an empty text is an empty line.

    They are encoded in one go, at a quarter of the price. What is put between them can stand nowhere else: rows hold no
    objects, and in texts quotation marks are escaped.
    """
    if not rows:
        return ""
    marked: list[Any] = [_BETWEEN] * (2 * len(rows) - 1)
    marked[::2] = rows
    lines = _compact(marked)[1:-1].split(_SPLIT)
    if heads is not None:
        lines = ["" if line == '""' else head + line for head, line in zip(heads, lines, strict=True)]
    return "\n".join([*lines, ""])


def _scores(row: Sequence[Any] | None) -> tuple[int | bool, ...]:
    """Say when there is something to do that nobody holds, where the pointer is, and when to look for a dead run."""
    if row is None:
        return False, False, False
    due_at, pointer, bury_at, (owner, until) = row[_DUE_AT], row[_NEXT_RUN], row[_BURY_AT], row[_LOCK]
    if owner is not None and due_at is not None and until > due_at:
        due_at = until
    return _score(due_at), _score(None if row[_PAUSED] else pointer), _score(bury_at)


def _end_of_lease(row: Sequence[Any]) -> int:
    """Return when the lease ends; 0 where there is none."""
    owner, until = row[_LOCK]
    return 0 if owner is None else max(1, min(until, FARTHEST))


def _score(moment: int | None) -> int | bool:
    if moment is None:
        return False
    return moment if -FARTHEST < moment < FARTHEST else max(-FARTHEST, min(moment, FARTHEST))


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
    """Return the page that `due.lua` has answered."""
    now, dead, more, ids, scores, rows = answer
    return Page(int(now), ids_of(dead), more == b"1", ids_of(ids), numbers_of(scores), rows)


def place_of(due: Due) -> tuple[int, str]:
    """Return where a job stands in the index."""
    return _score(microseconds_of(due.when)), due.job_id


def due_from(stored: Stored[JobRow], score: int) -> Due | None:
    """Return what there is to do, at the place that the index gives it: behind the lock that was last on it."""
    record = stored.kept.record
    due = None if record is None else due_of(record)
    if due is None or abs(score) == FARTHEST:
        return due
    when = instant_of(score)
    return due if due.when == when else due._replace(when=when)


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def runs_of(data: bytes) -> tuple[list[RunRecord], list[Exception]]:
    """Return the runs in the lines of a reply, but for those forgotten meanwhile, and why others cannot be read."""
    runs, unreadable = list[RunRecord](), list[Exception]()
    for line in data.split(b"\n"):
        try:
            runs += [run_from_numbers(json.loads(line))] if line else []
        except UNREADABLE as error:
            unreadable.append(error)
    return runs, unreadable


# ── instances ────────────────────────────────────────────────────────────────────────────────────────────────────────


def words_of(instance: InstanceInfo) -> str:
    """Return what an instance says of itself."""
    return _compact([microseconds_of(instance.started), sorted(instance.jobs)])


def instance_of(instance_id: str, words: bytes, seen: int) -> InstanceInfo | None:
    """Return the instance that said these words, if they are ours."""
    try:
        started, jobs = json.loads(words)
        return InstanceInfo(instance_id, instant_of(started), instant_of(seen), frozenset(jobs))
    except UNREADABLE:
        return None


# ── replies ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def numbers_of(data: bytes) -> list[int]:
    """Return the numbers that a script has put in a row."""
    return [int(number) for number in data.split()]


def lines_of(data: bytes, ids: Sequence[str]) -> Iterable[tuple[str, bytes]]:
    """Return each id with its line of a reply."""
    return zip(ids, data.split(b"\n"), strict=True) if ids else ()
