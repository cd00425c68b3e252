"""
What the user said of the scheduler as a whole, checked.
"""

import os
import socket
import uuid
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Protocol

from ..counts import to_count
from ..durations import at_most_a_century
from ..errors import InvalidOptionError, ScheduleError
from ..schedules import zone_named

_MIN_TTL = timedelta(milliseconds=50)


class LeaderElection(Protocol):
    """Anything that knows whether this instance leads. An instance that does not lead claims nothing."""

    def is_leader(self) -> bool | Awaitable[bool]:
        """Whether this instance leads now."""
        ...


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of a scheduler."""

    instance_id: str
    lock_ttl: timedelta
    poll_interval: timedelta
    timezone: str
    storage_timeout: timedelta
    max_concurrent_runs: int | None = None
    max_threads: int = 40
    leader: LeaderElection | None = None
    blocked_loop_threshold: timedelta | None = None
    id_made_in: int | None = None
    """The process that the instance's id was made for, unless the user has given one."""

    def __post_init__(self) -> None:
        _check_text(self.instance_id, "instance_id")
        if self.lock_ttl < _MIN_TTL:
            raise InvalidOptionError("lock_ttl", self.lock_ttl, f"must be at least {_MIN_TTL}")
        at_most_a_century(self.lock_ttl, "lock_ttl")
        at_most_a_century(self.poll_interval, "storage_poll_interval")
        at_most_a_century(self.storage_timeout, "storage_timeout")
        if self.blocked_loop_threshold is not None:
            at_most_a_century(self.blocked_loop_threshold, "blocked_loop_threshold")
        to_count(self.max_threads, "max_threads", least=1)
        if self.max_concurrent_runs is not None:
            to_count(self.max_concurrent_runs, "max_concurrent_runs", least=1)
        if self.leader is not None and not callable(getattr(self.leader, "is_leader", None)):
            raise InvalidOptionError("leader", self.leader, "must have an is_leader() method")
        _check_zone(self.timezone)

    def in_this_process(self) -> "Settings":
        """Return the same, with another id if that was made in the process that this one is a fork of."""
        if self.id_made_in in {None, os.getpid()}:
            return self
        return replace(self, instance_id=make_instance_id(), id_made_in=os.getpid())

    @property
    def horizon(self) -> timedelta:
        """How far ahead the poller loads: beyond its next visit, and a margin."""
        return self.poll_interval * 1.5 + timedelta(seconds=1)

    @property
    def renew_every(self) -> timedelta:
        """How often leases are renewed."""
        return self.lock_ttl / 3

    @property
    def trust(self) -> timedelta:
        """How long a lease is trusted, from when it was asked for: its end less a margin in which to stop the body."""
        return self.lock_ttl * 5 / 6


def make_instance_id() -> str:
    """Make an id that no other instance has: a host name alone is shared by all processes of a host, and by clones."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def _check_text(value: object, option: str) -> None:
    if not isinstance(value, str) or not value:
        raise InvalidOptionError(option, value, "must be a text that is not empty")


def _check_zone(name: str) -> None:
    try:
        zone_named(name)
    except (ScheduleError, TypeError):
        raise InvalidOptionError("timezone", name, "no such zone; write an IANA name such as 'Europe/London'") from None
