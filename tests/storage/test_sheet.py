"""What a call made of a job, as a medium is told."""

from datetime import UTC, datetime, timedelta

from chrono_async.models import JobRecord, RunRecord, RunStatus
from chrono_async.storage import Kept, Moment, Sheet, Stored, job_from_json, job_to_json

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def test_a_row_of_the_history_is_written_though_its_job_is_as_it_was() -> None:
    """Fire times that are passed over to the same pointer leave the job equal, and have happened all the same."""
    record = JobRecord(id="a", next_run=NOW)
    text = job_to_json("a", Kept(record, None, {}))
    stored = {"a": Stored(7, text, job_from_json(text))}
    sheet = Sheet(Moment(NOW, 0.0), stored, job_to_json)
    row = RunRecord("a", NOW, RunStatus.MISSED)
    sheet.table.advance("a", row, revision=0, next_run=NOW, at=sheet.at)
    (change,) = sheet.changes(["a"])
    assert (change.version, change.row, change.runs) == (7, text, [row])
    assert sheet.changes(["b"]) == []


def test_a_job_without_a_change_or_a_row_is_not_written() -> None:
    """A look costs nobody else a retry."""
    text = job_to_json("a", Kept(JobRecord(id="a", next_run=NOW + timedelta(1)), None, {}))
    sheet = Sheet(Moment(NOW, 0.0), {"a": Stored(7, text, job_from_json(text))}, job_to_json)
    sheet.table.get("a")
    assert sheet.changes(["a"]) == []
