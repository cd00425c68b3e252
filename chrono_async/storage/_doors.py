"""
What is checked when a storage is made, and when a record or a question comes in, from a caller or from what is stored,
whatever the storage.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from operator import attrgetter
from urllib.parse import SplitResult, urlsplit

from ..claims import ClaimRequest, Outcome, Release
from ..errors import EmptyJobIDError, InvalidOptionError
from ..models import JobRecord, RunRecord

_TIMES = ("last_run", "next_run", "last_success", "lease_until", "running", "claimed", "not_before")
_all_times = attrgetter(*_TIMES)

UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What comes of reading what no version of ours has written; pydantic's error is a `ValueError`."""


def checked(record: object) -> JobRecord:
    """Return the record with its times in UTC; refuse one without an id and times without a zone."""
    if not isinstance(record, JobRecord):
        raise InvalidOptionError("record", record, "must be a JobRecord")
    if not isinstance(record.id, str):
        raise InvalidOptionError("id", record.id, "must be text")
    if not record.id:
        raise EmptyJobIDError
    return _in_utc(record)


def _in_utc(record: JobRecord) -> JobRecord:
    for name, value in zip(_TIMES, _all_times(record), strict=True):
        if value is not None and getattr(value, "tzinfo", None) is not UTC:
            record = record.copy()
            setattr(record, name, in_utc(value, name))
    return record


def in_utc(moment: datetime, what: str) -> datetime:
    """Return the moment in UTC; whose midnight a naive one means is never guessed."""
    if not isinstance(moment, datetime):
        raise InvalidOptionError(what, moment, "must be a datetime")
    if moment.utcoffset() is None:
        raise InvalidOptionError(what, moment, "has no time zone")
    return moment.astimezone(UTC)


def refuse_naive(**moments: datetime | None) -> None:
    """Refuse, by name, a moment without a time zone."""
    _refuse_naive_among(**{what: (moment,) for what, moment in moments.items()})


def _refuse_naive_among(**moments: Iterable[datetime | None]) -> None:
    for what, several in moments.items():
        for moment in several:
            if moment is not None and getattr(moment, "tzinfo", None) is not UTC:
                in_utc(moment, what)


def check_requests(requests: Sequence[ClaimRequest]) -> None:
    """Refuse a batch with a naive moment in it, before the first of them is granted."""
    _refuse_naive_among(
        next_run=[request.next_run for request in requests],
        fire_time=[request.fire_time for request in requests],
        moves_to=[request.moves_to for request in requests],
    )


def check_ends(ends: Sequence[Outcome | Release]) -> None:
    """Refuse a batch with a naive moment in it, before the first of them is written."""
    moves = [end.move for end in ends if end.move is not None]
    _refuse_naive_among(
        expected=[move.expected for move in moves],
        next_run=[move.next_run for move in moves],
        not_before=[end.not_before for end in ends if isinstance(end, Release)],
    )
    _check_rows([end.run for end in ends if end.run is not None])
    _check_rows([end.skipped for end in ends if isinstance(end, Outcome) and end.skipped is not None])


def _check_rows(rows: Sequence[RunRecord]) -> None:
    missed = [row.missed for row in rows if row.missed is not None]
    _refuse_naive_among(
        fire_time=[row.fire_time for row in rows],
        started=[row.started for row in rows],
        finished=[row.finished for row in rows],
        first=[several.first for several in missed],
        last=[several.last for several in missed],
    )


def shifted(until: datetime, now: datetime, own_now: datetime) -> datetime:
    """Return the instant as far ahead of the storage's clock as `until` is of the asker's, which shows `now`."""
    try:
        return own_now + (until - now)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


# ── what a storage is made of ────────────────────────────────────────────────────────────────────────────────────────


def split_url(url: str, option: str) -> SplitResult:
    """Return the parts of a server's URL, whose ports are such."""
    try:
        parts = urlsplit(url)
    except ValueError:  # which may repeat the password
        raise InvalidOptionError(option, without_password(url), "cannot be made out") from None
    for port in _PORT.findall(parts.netloc.rpartition("@")[2]):
        if not (port.isdecimal() and 0 < int(port) <= _HIGHEST_PORT):
            raise InvalidOptionError(
                option, without_password(url), f"a port must be a number from 1 to {_HIGHEST_PORT}"
            )
    return parts


_PORT = re.compile(r"(?:^|,)(?:\[[^\]]*\]|[^:,\[]*):([^,]+)")
"""Of each of several hosts, which may be addresses in brackets."""
_HIGHEST_PORT = 65535


def without_password(url: str) -> str:
    """Return a URL as it may be shown: errors are logged, and read by many."""
    return _PASSWORD.sub(r"\1\2***", url)


_PASSWORD = re.compile(r"(://[^/@:]*:).*(?=@)|((?:^|[?&\s])[^=&\s]*password=)[^&]*", re.DOTALL)
