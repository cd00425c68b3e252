"""
A job and a run as JSON, for media that keep a text under a key. Instants are whole microseconds since 1970.
"""

import json

from ...models import RunRecord
from .._doors import UNREADABLE
from .rows import job_from_numbers, jobs_in_numbers, kept_of, row_of, run_from_numbers, runs_in_numbers
from .sheet import Kept

_compact = json.JSONEncoder(separators=(",", ":")).encode


def job_to_json(job_id: str, kept: Kept) -> str:
    """Return the job as a text, plain ASCII; the same job is the same text."""
    return _compact(*jobs_in_numbers([row_of(job_id, kept)]))


def job_from_json(text: str) -> Kept:
    """Return the job that `job_to_json` wrote; `ValueError` for what cannot be read."""
    try:
        return kept_of(job_from_numbers(json.loads(text)))
    except UNREADABLE as error:
        raise ValueError(f"not a job: {error!r}") from error


def run_to_json(run: RunRecord) -> str:
    """Return a row of the history as a text."""
    return _compact(*runs_in_numbers([run]))


def run_from_json(text: str) -> RunRecord:
    """Return the row that `run_to_json` wrote; `ValueError` for what cannot be read."""
    try:
        return run_from_numbers(json.loads(text))
    except UNREADABLE as error:
        raise ValueError(f"not a run: {error!r}") from error
