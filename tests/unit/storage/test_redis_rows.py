"""Rows for Redis are encoded by the batch and cut apart again: no text may be where the knife goes."""

import json
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from chrono_async.models import Definition, Flight, JobRecord, JobStatus, RunRecord, RunStatus, Trigger
from chrono_async.policies import Missed, Overlap, Policies
from chrono_async.storage._ledger.rows import row_of
from chrono_async.storage._ledger.sheet import Change, Kept
from chrono_async.storage._redis.rows import (
    bytes_of,
    lines_of,
    runs_of,
    stored_of,
    text_of,
    words_of_changes,
)
from chrono_async.storage._table.shelf import Lock

NOW = datetime(2030, 1, 1, 12, 30, 15, 123457, tzinfo=UTC)
ANY_TEXT = st.text(st.characters(exclude_categories=()))
KNIVES = st.sampled_from([',{"":0},', '{"":0}', '""', '"', "\\", "\n", "],[", "\ud800", "\x00", "[", ""])
TEXTS = st.one_of(ANY_TEXT, KNIVES, st.lists(KNIVES).map("".join))


def change_of(record: JobRecord, lock: Lock | None = None, runs: list[RunRecord] | None = None) -> Change:
    kept = Kept(record, lock, {flight.token: 1_900_000_000.25 for flight in record.flights})
    return Change(record.id, 0, row_of(record.id, kept), runs or [])


def replied(changes: list[Change]) -> bytes:
    """Return what a server that has written these changes answers to one who reads the jobs."""
    values = words_of_changes(changes)[1].split("\n")[:-1]
    return b"\n".join(b"1900000000000000 " + value.encode() if value else b"" for value in values)


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=5))
def test_any_texts_come_back(texts: list[tuple[str, str]]) -> None:
    """Names and errors of a whole batch, each in its own job."""
    records = [JobRecord(id=str(at), name=name, last_error=error) for at, (name, error) in enumerate(texts)]
    reply = replied([change_of(record) for record in records])
    stored, unreadable = stored_of(lines_of(reply, [record.id for record in records]))
    assert [found.kept.record for found in stored.values()] == records
    assert not unreadable


def test_a_job_that_is_to_be_forgotten_is_an_empty_line() -> None:
    """Between others, and alone."""
    kept = change_of(JobRecord(id="a"))
    values = words_of_changes([kept, Change("b", 7, None, []), kept])[1].split("\n")
    assert [bool(value) for value in values] == [True, False, True, False]
    assert words_of_changes([Change("b", 7, None, [])])[1] == "\n"


@given(TEXTS)
def test_any_text_is_an_id(text: str) -> None:
    """Half a surrogate pair too."""
    assert text_of(bytes_of(text)) == text


@given(st.lists(TEXTS, min_size=2))
def test_the_order_of_bytes_is_that_of_texts(texts: list[str]) -> None:
    """The server sorts equal times by the bytes of their ids, an engine by the texts."""
    assert [text_of(data) for data in sorted(map(bytes_of, texts))] == sorted(texts)


def test_a_job_comes_back_with_all_that_it_has() -> None:
    """Lock and flights beside the record."""
    record = JobRecord(
        "full", "Name", JobStatus.RUNNING, True, NOW, NOW, 1, 2, "error", Definition("a", "b"),
        Policies(overlap=Overlap.ALLOW, tags=("x",)), 3, 4, NOW, 5, 6, "me/1", NOW, NOW, NOW, 7, 8, NOW,
        Trigger(NOW, "{}"), Trigger(NOW, "", 2, 3, NOW), (Flight("you/1", 9, NOW, NOW, True),),
    )  # fmt: skip
    change = change_of(record, Lock("me/1", 1_900_000_000.5))
    ((_, found),) = stored_of([("full", replied([change]))])[0].items()
    assert found.kept == Kept(record, Lock("me/1", 1_900_000_000.5), {9: 1_900_000_000.25})
    assert (found.version, found.row) == (1_900_000_000_000_000, change.row)


def test_a_run_comes_back() -> None:
    """With the fire times that were folded into it."""
    run = RunRecord(
        "a", NOW, RunStatus.FAILED, "me", 2, 3, True, NOW, NOW + timedelta(microseconds=1), 'e"\n', 4,
        Missed(5, NOW, NOW),
    )  # fmt: skip
    lines = words_of_changes([change_of(JobRecord(id="a"), runs=[run, run._replace(missed=None)])])[2]
    assert runs_of(lines.encode())[0] == [run, run._replace(missed=None)]


def test_the_head_of_a_change_says_where_the_job_stands() -> None:
    """Behind its lock while that lasts; without a pointer while it is paused; nowhere when there is nothing to do."""
    at = int(NOW.timestamp()) * 1_000_000 + NOW.microsecond
    cases = [
        (JobRecord(id="a", next_run=NOW), None, [at, at, False]),
        (JobRecord(id="a", next_run=NOW), Lock("me/1", 1_900_000_000.0), [1_900_000_000_000_000, at, False]),
        (JobRecord(id="a", next_run=NOW), Lock("me/1", 1.0), [at, at, False]),
        (JobRecord(id="a", next_run=NOW, paused=True), None, [False, False, False]),
        (JobRecord(id="a", next_run=NOW, paused=True, triggered=Trigger(NOW)), None, [at, False, False]),
        (JobRecord(id="a", next_run=NOW, not_before=NOW + timedelta(seconds=1)), None, [at + 1_000_000, at, False]),
        (
            JobRecord(id="a", next_run=NOW, manual=Trigger(NOW, not_before=NOW + timedelta(seconds=1))),
            None,
            [at + 1_000_000, at, False],
        ),
        (JobRecord(id="a"), Lock("me/1", 1_900_000_000.0), [False, False, False]),
    ]
    for record, lock, places in cases:
        head = json.loads(words_of_changes([change_of(record, lock)])[0])
        assert head == ["a", "", *places, 0], record
