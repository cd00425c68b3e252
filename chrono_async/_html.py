"""
Jobs, runs and schedulers as a notebook shows them. Whatever a user or an exception wrote is escaped.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from html import escape
from itertools import islice

from .engine import Health
from .models import JobInfo, RunRecord
from .schedules import CronSchedule, OneShotSchedule, Schedule, WindowedSchedule

_MOST_ROWS = 100


class JobList(list[JobInfo]):
    """A list of jobs that a notebook shows as a table."""

    def _repr_html_(self) -> str:
        headings = ("id", "name", "schedule", "status", "next run", "last run", "runs", "errors", "last error")
        return _table(headings, map(_job_row, self[:_MOST_ROWS]), len(self))


class RunList(list[RunRecord]):
    """A run history that a notebook shows as a table."""

    def _repr_html_(self) -> str:
        headings = ("job", "fire time", "status", "attempt", "retries", "started", "took", "instance", "error")
        return _table(headings, map(_run_row, self[:_MOST_ROWS]), len(self))


def scheduler_html(health: Health, guarantees: str, jobs: Mapping[str, Schedule]) -> str:
    """Return how a scheduler is doing, and the first of the jobs that it has functions for."""
    facts = {
        "scheduler": health.instance_id,
        "state": "running" if health.is_running else "not running",
        "runs going on": health.running,
        "next deadline": health.next_deadline,
        "storage": health.storage_error or "no failure",
        "guarantees": guarantees,
    }
    state = "".join(f"<tr><th>{_cell(name)}</th><td>{_cell(fact)}</td></tr>" for name, fact in facts.items())
    rows = ((job_id, _schedule(schedule)) for job_id, schedule in islice(jobs.items(), _MOST_ROWS))
    return f"<table><tbody>{state}</tbody></table>{_table(('job', 'schedule'), rows, len(jobs))}"


def _job_row(job: JobInfo) -> tuple[object, ...]:
    status = f"{job.status}, paused" if job.paused else job.status
    schedule, errors = _schedule(job.schedule), job.error_count
    return job.id, job.name, schedule, status, job.next_run, job.last_run, job.run_count, errors, job.last_error


def _run_row(run: RunRecord) -> tuple[object, ...]:
    took = run.finished - run.started if run.started and run.finished else None
    fire_time, retries = run.fire_time, run.retry_count
    return run.job_id, fire_time, run.status, run.attempt, retries, run.started, took, run.instance_id, run.error


def _schedule(schedule: Schedule | None) -> str:
    match schedule:
        case WindowedSchedule():
            return _schedule(schedule.schedule)
        case CronSchedule():
            return f"{schedule.expr} ({schedule.timezone})" if schedule.timezone else schedule.expr
        case OneShotSchedule():
            return f"once, at {_text(schedule.run_at)}"
        case _:
            return _text(schedule)


def _table(headings: Iterable[str], rows: Iterable[Iterable[object]], count: int) -> str:
    head = "".join(f"<th>{_cell(heading)}</th>" for heading in headings)
    body = "".join(f"<tr>{''.join(f'<td>{_cell(value)}</td>' for value in row)}</tr>" for row in rows)
    rest = f"<p>and {count - _MOST_ROWS} more</p>" if count > _MOST_ROWS else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{rest}"


def _cell(value: object) -> str:
    return escape(_text(value))


def _text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:%Y-%m-%d %H:%M:%S %Z}" if isinstance(value, datetime) else str(value)
