"""
An instance's own way to the storage: the protocols, with a network in between.
"""

from collections.abc import AsyncIterator
from typing import Any

from chrono_async import LeasingStorage

from .network import Network
from .witness import Witness

_EIGHT = ("save_job", "get_job", "delete_job", "list_jobs", "get_due_jobs", "acquire_lock", "release_lock", "close")
_LEASING = (
    "register", "due", "claim", "renew", "settle", "release", "advance", "set_paused", "resume", "reschedule",
    "trigger", "list_runs", "heartbeat", "list_instances",
)  # fmt: skip


def _remote(verb: str) -> Any:
    async def method(self: "EightMethodClient", *args: Any, **kwargs: Any) -> Any:
        return await self.call(verb, *args, **kwargs)

    method.__name__ = verb
    return method


class EightMethodClient:
    """The eight methods, far away."""

    def __init__(self, who: str, network: Network, witness: Witness, storage: Any) -> None:
        self.who, self.network, self.witness, self.storage = who, network, witness, storage

    async def call(self, verb: str, *args: Any, **kwargs: Any) -> Any:
        """Ask for something over the network; what it does, it does where the storage is."""
        if verb == "claim":
            self.witness.note_sent(*args[:2])
        return await self.network.call(
            self.who, verb, lambda: self.witness.perform(self.who, self.storage, verb, *args, **kwargs)
        )


class LeasingClient(EightMethodClient):
    """The leasing verbs, far away. Hints come over the same way."""

    @property
    def guarantees(self) -> str:
        """What the storage promises."""
        return str(self.storage.guarantees)

    async def changes(self) -> AsyncIterator[None]:
        """Pass on the storage's hints, unless the way is cut."""
        async for _ in self.storage.changes():
            if not self.network.is_cut(self.who):
                yield


for _verb in _EIGHT:
    setattr(EightMethodClient, _verb, _remote(_verb))
for _verb in _LEASING:
    setattr(LeasingClient, _verb, _remote(_verb))


class NotingStorage:
    """
    Leasing verbs made of eight methods, with an eye on what they come to.

    They are made within the instance: what is noted, it has noted when the instance itself knew of it.
    """

    def __init__(self, who: str, witness: Witness, portable: LeasingStorage) -> None:
        self.who, self.witness, self.portable = who, witness, portable

    @property
    def guarantees(self) -> str:
        """What the eight methods allow to promise."""
        return self.portable.guarantees

    def changes(self) -> AsyncIterator[None]:
        """Pass on the hints of this process."""
        return self.portable.changes()


def _noting(verb: str) -> Any:
    async def method(self: NotingStorage, *args: Any, **kwargs: Any) -> Any:
        return await self.witness.perform(self.who, self.portable, verb, *args, **kwargs)

    method.__name__ = verb
    return method


for _verb in (*_EIGHT, *_LEASING):
    setattr(NotingStorage, _verb, _noting(_verb))
