"""
Instants as whole microseconds since 1970: what tokens and revisions grow with, and what a medium keeps that has no type
for them.
"""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds_of(moment: datetime) -> int:
    """Return the moment as whole microseconds since 1970."""
    span = moment - _EPOCH
    return (span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds  # half the price of a division


def instant_of(microseconds: int) -> datetime:
    """Return the moment that so many microseconds since 1970 are."""
    return _EPOCH + timedelta(0, 0, microseconds)
