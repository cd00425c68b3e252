"""
What records that were seen tell of calls whose answer was lost, or did not say when they were decided.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from chrono_async import JobRecord
from chrono_async.claims import Granted, Registered

from .log import Line
from .model import Numbers, Op
from .recording import Answered, Asked


class Hints:
    """All records that anybody has seen."""

    def __init__(self, looks: Iterable[Op], answers: Iterable[Line]) -> None:
        answers = list(answers)
        self._claimed: dict[tuple[str, datetime | None], int] = {}
        self._granted = {(line.value.job, line.value.value.lease.token) for line in answers if _is_granted(line)}
        self._tokens: dict[str, list[tuple[float, int]]] = defaultdict(list)
        self._ends: dict[tuple[str, str], set[datetime]] = defaultdict(set)
        self._defined: dict[tuple[str, str], list[tuple[float, Numbers]]] = defaultdict(list)
        for at, record in sorted([*_looked(looks), *_answered(answers)], key=lambda seen: seen[0]):
            self._tokens[record.id].append((at, record.token))
            if record.schedule is not None:
                seen = Numbers(record.token, record.revision)
                self._defined[record.id, record.schedule.bound].append((at, seen))
            if record.owner is not None and record.lease_until is not None:
                self._claimed[record.owner, record.running] = record.token
                self._granted.add((record.id, record.token))
                self._ends[record.id, record.owner].add(record.lease_until)

    def drawn(self, asked: Asked, at: float) -> Numbers:
        """Return what a call that was never answered has drawn, by what was seen of it first."""
        if asked.verb == "claim":
            known = self._claimed.get((asked.args[1], asked.args[0][0].fire_time))
            return Numbers(token=self._orphan(asked.job, at) if known is None else known)
        if asked.verb not in {"register", "reschedule"}:
            return Numbers()
        definition = asked.args[0].schedule if asked.verb == "register" else asked.args[1]
        seen = self._defined[asked.job, definition.bound]
        return next((numbers for when, numbers in seen if when >= at), Numbers())

    def _orphan(self, job: str, at: float) -> int:
        """Return the token that was seen first since then and is of no claim that anybody has seen: its run died."""
        tokens = (token for when, token in self._tokens[job] if when >= at)
        return next((token for token in tokens if token and (job, token) not in self._granted), 0)

    def begins(self, job: str, owner: str, ttl: timedelta) -> list[datetime]:
        """Return the moments from which on leases of this owner have counted, as exactly as records show."""
        return [end - ttl for end in self._ends[job, owner]]


def _is_granted(line: Line) -> bool:
    return isinstance(line.value.value, Granted)


def _looked(looks: Iterable[Op]) -> Iterator[tuple[float, JobRecord]]:
    return ((look.invoked, look.value) for look in looks if look.value is not None)


def _answered(lines: Iterable[Line]) -> Iterator[tuple[float, JobRecord]]:
    for line in lines:
        answer: Answered = line.value
        record = answer.value.record if isinstance(answer.value, Registered) else answer.value
        if isinstance(record, JobRecord):
            yield line.at, record
