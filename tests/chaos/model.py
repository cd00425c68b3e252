"""
One job of a storage as it ought to be: the library's own rules, on a table in memory, one call at a time.

A step is a pure function from a state and a call to the next state and an answer. The numbers that a storage draws
from its clock (tokens, revisions) and its times are taken from the answers that it gave: that they grow, and that
leases exclude each other, is for the rules to say.
"""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from chrono_async import InMemoryStorage, JobRecord
from chrono_async.claims import Granted, Registered
from chrono_async.errors import ChronoError
from chrono_async.models import RunRecord
from chrono_async.storage._table.history import History
from chrono_async.storage._table.shelf import Lock, Moment
from chrono_async.storage._table.table import Table
from tests.simulation.network import performed

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LEEWAY = timedelta(seconds=0.25)
"""By how much the end of a renewed lease may differ: an answer's time is that of the write, a lease's of the read."""
_HAIR = 0.005
"""Seconds by which a clock that leases end by may differ from the wall clock that answers tell of."""

KEPT = 20
"""How many runs of a job a storage remembers, unless told otherwise."""

LOOK = "look"
"""What an observer does: its value is the record that it saw, or None."""


class Numbers(NamedTuple):
    """What a call has drawn from the storage's clock, or from what was drawn before; 0 where nobody has seen it."""

    token: int = 0
    revision: int = 0


class Op(NamedTuple):
    """One job's part of a call, and the interval of true time in which it took effect, if it did."""

    who: str
    verb: str
    job: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    invoked: float
    returned: float
    key: float
    """Where it most likely took effect."""
    nows: tuple[datetime, ...] = ()
    """The storage's times by which it may have been decided."""
    value: Any = None
    error: str = ""
    is_known: bool = True
    """Whether the answer came."""
    leeway: timedelta = _LEEWAY
    drawn: Numbers = Numbers()
    """By a call that was never answered."""

    @property
    def record(self) -> JobRecord | None:
        """The record that was seen, or that the answer shows."""
        value = self.value.record if isinstance(self.value, Registered) else self.value
        return value if isinstance(value, JobRecord) else None


class State(NamedTuple):
    """What a storage knows of one job."""

    record: JobRecord | None = None
    lock: Lock | None = None
    runs: tuple[RunRecord, ...] = ()
    """The latest of them, the oldest first: as many as a storage keeps."""
    since: float = 0.0
    """The true moment at which the lock became what it is."""

    def locked_until(self, end: datetime) -> "State":
        """Return the same with its lock, and the lease that goes with it, at another end."""
        if self.lock is None:
            return self
        record = self.record and self.record.copy()
        if record is not None and record.owner == self.lock.owner:
            record.lease_until = end
        return self._replace(record=record, lock=Lock(self.lock.owner, end.timestamp()))


Span = tuple[datetime, datetime]
"""Between these moments a lease may end that was cut to its length."""


class Model(InMemoryStorage):
    """A storage in memory that is handed its moment and its floors."""

    def __init__(self) -> None:
        super().__init__(history=KEPT)
        self.at = Moment(EPOCH, 0.0)

    def _moment(self) -> Moment:
        return self.at

    @property
    def _table(self) -> Table:
        return self._kept  # it is asked step by step, without an event loop

    @property
    def records(self) -> dict[str, JobRecord]:
        """All records."""
        return self._table.records

    def now(self) -> datetime:
        """Be the clock of this storage, too."""
        return self.at.now

    def boot(self) -> float:
        """Return the moment by which leases end."""
        return self.at.boot

    def prepare(self, op: Op, now: datetime) -> None:
        """Be at that moment, and about to draw the numbers that were drawn."""
        hair = _HAIR if op.verb == "claim" else 0.0
        self.at = Moment(now, now.timestamp() + hair)
        self._clock = self
        token, revision = op.drawn
        if op.record is not None:
            token, revision = op.record.token, op.record.revision
        elif isinstance(op.value, Granted):
            token = op.value.lease.token
        self._table.token_floor = token if op.verb == "register" else token - 1
        self._table.revision_floor = revision - 1

    def load(self, job: str, state: State) -> None:
        """Hold this job in this state, and nothing else."""
        table = self._table
        table.records = {} if state.record is None else {job: state.record.copy()}
        table.locks = {} if state.lock is None else {job: state.lock}
        table._waiting = set()
        table.history = History(KEPT)
        for run in state.runs:
            table.history.add(run)

    def state(self, job: str, since: float = 0.0) -> State:
        """Return what is held of the job."""
        record = self._table.records.get(job)
        runs = tuple(reversed(self._table.history.latest(job, KEPT)))
        return State(record and record.copy(), self._table.locks.get(job), runs, since)

    def bury(self, job: str, now: datetime) -> None:
        """Write down a dead run, as every look for what is due does in passing."""
        self.at = Moment(now, now.timestamp() + _HAIR)
        self._table.bury_lost(self.at, [job])


def step(model: Model, state: State, op: Op, cuts: Sequence[Span] = ()) -> State | None:
    """Return the state after a call, or None if the call can't have been answered so in this state."""
    if op.verb == LOOK:
        return seen(state, op.value, op.leeway, cuts)
    for now in op.nows:
        model.load(op.job, state)
        model.prepare(op, now)
        answer, error = _answered(lambda: getattr(model, op.verb)(*op.args, **op.kwargs))
        after = model.state(op.job, state.since)
        if op.is_known and error == op.error and _is_same(op, answer):
            return after
        if not op.is_known and after != state:
            return after
    return None if op.is_known else state


def seen(
    state: State, record: JobRecord | None, leeway: timedelta = _LEEWAY, cuts: Sequence[Span] = ()
) -> State | None:
    """Return the state if it shows this record; the lease's end is then known to the microsecond."""
    mine = state.record
    if mine is None or record is None:
        return state if mine is record else None
    if mine.lease_until is not None and any(_is_cut(mine.lease_until, record.lease_until, cut) for cut in cuts):
        mine = replace(mine, lease_until=record.lease_until)
    if not is_alike(mine, record, leeway):
        return None
    if state.record == record or record.lease_until is None:
        return state
    return state.locked_until(record.lease_until)._replace(record=record.copy())


def _is_cut(before: datetime, after: datetime | None, cut: Span) -> bool:
    """Whether a lease has come to end earlier, as it would if it had been cut to its length."""
    return after is not None and after < before and cut[0] - _LEEWAY <= after <= cut[1] + _LEEWAY


def is_alike(mine: JobRecord, other: JobRecord, leeway: timedelta) -> bool:
    """Whether two records say the same, but for a hair's breadth of a lease."""
    if replace(mine, lease_until=None) != replace(other, lease_until=None):
        return False
    if mine.lease_until is None or other.lease_until is None:
        return mine.lease_until is other.lease_until
    return abs(mine.lease_until - other.lease_until) <= leeway


def _answered(call: Callable[[], Coroutine[Any, Any, Any]]) -> tuple[Any, str]:
    try:
        answer, error = performed(call())
    except ChronoError as raised:  # pragma: no cover
        return None, type(raised).__name__
    return answer, "" if error is None else type(error).__name__


def _is_same(op: Op, answer: Any) -> bool:
    if op.error:
        return True
    return _COMPARED.get(op.verb, lambda *_: True)(op, answer)


def _granted(op: Op, answer: Any) -> bool:
    mine, theirs = answer.verdicts[0], op.value
    if not isinstance(mine, Granted):
        return False
    return (mine.lease, mine.attempt, mine.next_run, mine.tries) == (
        theirs.lease, theirs.attempt, theirs.next_run, theirs.tries,
    )  # fmt: skip


def _registered(op: Op, answer: Any) -> bool:
    return answer.verdict == op.value.verdict and is_alike(answer.record, op.value.record, op.leeway)


def _record_or_none(op: Op, answer: Any) -> bool:
    if answer is None or op.value is None:
        return answer is op.value
    return is_alike(answer, op.value, op.leeway)


def _due(op: Op, answer: Any) -> bool:
    value = answer[0] if isinstance(answer, list) else answer
    if value is None or op.value is None:
        return value is op.value
    return (value.next_run, value.revision) == (op.value.next_run, op.value.revision)


_COMPARED: dict[str, Callable[[Op, Any], bool]] = {
    "claim": _granted,
    "register": _registered,
    "renew": lambda op, answer: (not answer.lost) == op.value,
    "settle": lambda op, answer: answer.settled[0].verdict == op.value,
    "release": _due,
    "advance": _due,
    "set_paused": _record_or_none,
    "resume": _record_or_none,
    "reschedule": _record_or_none,
    "trigger": lambda op, answer: answer == op.value,
}
