"""What is kept and what is handed around."""

from dataclasses import FrozenInstanceError, fields, replace
from datetime import UTC, datetime, timedelta

import pytest

from chrono_async import IntervalSchedule, JobInfo, JobRecord, JobResult, JobStatus, RunRecord, RunStatus
from chrono_async.models import Definition, Trigger, run_id
from chrono_async.policies import DEFAULT_POLICIES, Policies

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_a_record_of_nothing_but_a_name_is_a_pending_job_without_a_next_run():
    record = JobRecord(id="a", name="A")
    assert (record.status, record.paused, record.last_run, record.next_run) == (JobStatus.PENDING, False, None, None)
    assert (record.run_count, record.error_count, record.last_error) == (0, 0, "")
    assert record.options is DEFAULT_POLICIES
    assert record.owner is None


def test_the_seeds_nine_fields_come_first():
    names = [field.name for field in fields(JobRecord)]
    assert names[:9] == [
        "id",
        "name",
        "status",
        "paused",
        "last_run",
        "next_run",
        "run_count",
        "error_count",
        "last_error",
    ]


def test_a_copy_is_equal_and_its_own():
    record = JobRecord(
        id="a",
        name="A",
        next_run=NOON,
        schedule=Definition("{}", "{}"),
        options=Policies(tags=("x",)),
        triggered=Trigger(NOON),
        token=7,
    )
    copy = record.copy()
    assert copy == record
    assert copy is not record
    copy.run_count = 5
    assert record.run_count == 0


def test_a_copy_leaves_no_field_out():
    values = {field.name: f"value of {field.name}" for field in fields(JobRecord)}
    assert JobRecord(**values).copy() == JobRecord(**values)


@pytest.mark.parametrize(
    ("next_run", "claimed", "bound"),
    [
        (NOON, None, None),
        (None, NOON, None),
        (NOON, NOON, NOON),
        (NOON, NOON + HOUR, NOON + HOUR),
        (NOON + HOUR, NOON, None),
    ],
)
def test_what_was_begun_or_queued_binds_the_next_claim(next_run, claimed, bound):
    """A pointer that has moved past it has left it behind."""
    assert JobRecord(id="a", next_run=next_run, claimed=claimed).bound_fire_time == bound


@pytest.mark.parametrize("enum", [JobStatus, RunStatus])
def test_statuses_are_their_own_text(enum):
    assert all(status == str(status) == status.name.lower() for status in enum)


def test_job_status_has_the_seeds_five_values():
    assert [status.name for status in JobStatus] == ["PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED"]


def test_a_run_is_named_by_its_job_and_its_fire_time():
    assert run_id("report", NOON, manual=False) == "report@2026-01-01T12:00:00+00:00"
    assert run_id("report", NOON, manual=True) == "report@2026-01-01T12:00:00+00:00!"
    row = RunRecord("report", NOON, RunStatus.COMPLETED)
    assert row.run_id == run_id("report", NOON, manual=False)
    assert row._replace(manual=True).run_id == run_id("report", NOON, manual=True)


def test_who_ran_it_and_how_often_is_no_part_of_the_name():
    row = RunRecord("report", NOON, RunStatus.COMPLETED)
    assert row._replace(instance_id="b", attempt=2, token=9, status=RunStatus.FAILED).run_id == row.run_id


def test_a_result_knows_how_long_it_took():
    result = JobResult("a", "a@", NOON, NOON + HOUR, NOON + 3 * HOUR, JobStatus.COMPLETED)
    assert result.duration == 2 * HOUR
    with pytest.raises(FrozenInstanceError):
        result.status = JobStatus.FAILED


def test_what_is_told_of_a_job_is_what_its_record_says():
    record = JobRecord(
        id="a",
        name="A",
        status=JobStatus.FAILED,
        paused=True,
        last_run=NOON,
        next_run=NOON + HOUR,
        run_count=3,
        error_count=2,
        last_error="ValueError: oh",
        last_success=NOON - HOUR,
        options=Policies(tags=("x", "y")),
    )
    info = JobInfo.of(record)
    for name in ("id", "name", "status", "paused", "last_run", "next_run", "run_count", "error_count", "last_error"):
        assert getattr(info, name) == getattr(record, name)
    assert (info.last_success, info.tags, info.schedule) == (NOON - HOUR, ("x", "y"), None)


def test_its_schedule_is_read_from_the_record_unless_somebody_knows_better():
    schedule = IntervalSchedule(60, start=NOON)
    text = schedule.model_dump_json(exclude_none=True)
    record = JobRecord(id="a", schedule=Definition(declared=text, bound=text))
    assert JobInfo.of(record).schedule == schedule
    other = object()
    assert JobInfo.of(record, other).schedule is other
    custom = replace(record, schedule=Definition("{}", '{"kind":"custom","type":"mine:Schedule"}'))
    assert JobInfo.of(custom).schedule is None


def test_a_schedule_that_cannot_be_read_is_none():
    """One in a zone that is unknown here, or of a newer version's kind: what else is known of the job is told."""
    for bound in ('{"kind":"cron","expr":"@daily","timezone":"Mars/Olympus"}', '{"kind":"lunar"}', "no schedule"):
        info = JobInfo.of(JobRecord(id="a", next_run=NOON, schedule=Definition("{}", bound)))
        assert (info.schedule, info.next_run) == (None, NOON)
