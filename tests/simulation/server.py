"""
A storage as a server is one: its leases end by its own wall clock, which somebody may set.
"""

from datetime import timedelta

from chrono_async import InMemoryStorage
from chrono_async.models import InstanceInfo
from chrono_async.storage._table.shelf import Moment

TTL = 6.0
"""Seconds: how long a lease is, in all of these worlds."""


class ServerStorage(InMemoryStorage):
    """In memory; with each heartbeat it cuts to their length leases that seem too long since its clock went back."""

    def _moment(self) -> Moment:
        now = self._clock.now()
        return Moment(now, now.timestamp())

    async def heartbeat(self, instance: InstanceInfo) -> None:
        """Note that the instance is alive; and see to what lies about."""
        await super().heartbeat(instance)
        at = self._moment()
        for job, lock in list(self._table.locks.items()):
            self._table.shorten(job, lock.until, timedelta(seconds=TTL), at)
