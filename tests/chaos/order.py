"""
One order of a job's calls that explains every answer that was given, and every record that was seen.

Each call took effect at one moment between its being made and its being answered; one that was never answered may have
taken effect, then or a little later, or not. If no order fits, the storage has done what it must not: lost a write,
shown an old record, granted twice. (This is the search of Wing and Gong, for one job at a time.)
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from .frame import Stretch
from .model import EPOCH, LOOK, Model, Op, Span, State, step
from .plan import TTL

_PATIENCE = 40_000
"""Steps after which a search is given up: a history that fits is found in about one a call."""
_LONGEST_WAY = 15.0
"""Seconds after which a call that was never answered takes effect no more."""
_TOLERANCE = timedelta(seconds=0.01)
_LENGTH = timedelta(seconds=TTL)
"""Of a lease."""
_HAIR = 0.1
"""Seconds by which the placing of a call may be wrong."""
BURY, CUT = "bury", "cut"
"""What happens by itself: a dead run is written down, a lease that seems too long is cut."""


class Placed(NamedTuple):
    """A call in its place."""

    op: Op
    at: float
    state: State


class Unexplained(NamedTuple):
    """How far an explanation came at the best, and which calls it could not get past."""

    placed: list[Placed]
    stuck: list[Op]


class _Point(NamedTuple):
    """A point of the search: what was placed last, and what is left."""

    placed: "Chain | None"
    state: State
    left: tuple[int, ...]
    at: float


class Chain(NamedTuple):
    """What was placed, the last first."""

    last: Placed
    before: "Chain | None"
    length: int


def explain(ops: Iterable[Op], cuts: Sequence[Stretch] = ()) -> list[Placed] | Unexplained:
    """Return the calls in an order that fits, with the states that they led to; `cuts` is when leases may be cut."""
    return _Search(sorted(ops, key=lambda op: op.key), cuts).run()


class _Search:
    def __init__(self, ops: Sequence[Op], cuts: Sequence[Stretch]) -> None:
        self.ops, self.cuts, self.model, self.steps = ops, cuts, Model(), 0
        self.best: _Point | None = None

    def run(self) -> list[Placed] | Unexplained:
        stack = [_Point(None, State(), tuple(range(len(self.ops))), 0.0)]
        while stack and self.steps < _PATIENCE:
            point = self._run_on(stack.pop())
            if not any(self.ops[number].is_known for number in point.left):
                return _listed(point.placed)
            if self.best is None or _length(point) > _length(self.best):
                self.best = point
            stack.extend(reversed(list(self._choices(point))))
        assert self.best is not None
        return Unexplained(_listed(self.best.placed), [self.ops[n] for n in self._open(self.best.left)])

    def _open(self, left: Sequence[int]) -> list[int]:
        """Return the calls that can come next: those made before any other that is left was answered."""
        horizon = float("inf")
        found = []
        for number in left:
            op = self.ops[number]
            if op.is_known:
                horizon = min(horizon, op.returned)
            if op.key > horizon + 30:
                break
        for number in left:
            op = self.ops[number]
            if op.invoked <= horizon and (op.is_known or horizon <= op.invoked + _LONGEST_WAY):
                found.append(number)
            if op.key > horizon + 30:
                break
        return found

    def _run_on(self, point: _Point) -> _Point:
        """Place all that changes nothing and can come next: it never has to wait."""
        while True:
            number = next(self._idle(point), None)
            if number is None:
                return point
            point = self._placed(point, number, point.state)

    def _idle(self, point: _Point) -> Iterator[int]:
        for number in self._open(point.left):
            op = self.ops[number]
            if op.is_known and self._is_idle(op, point.state):
                yield number

    def _is_idle(self, op: Op, state: State) -> bool:
        if op.verb == "claim":
            return False
        after = self._step(state, op)
        if after is not None and op.verb == LOOK:
            return after is state or after.record == op.value
        return after == state

    def _step(self, state: State, op: Op) -> State | None:
        self.steps += 1
        return step(self.model, state, op, self._spans(state, op) if op.verb == LOOK else ())

    def _spans(self, state: State, op: Op) -> list[Span]:
        """Return when the lock may have come to end by being cut, since it was taken and before a call was answered."""
        spans = []
        for stretch in self.cuts:
            begin, end = max(stretch.begin, state.since - _HAIR), min(stretch.end, op.returned)
            if begin <= end:
                spans.append((stretch.at(begin) + _LENGTH, stretch.at(end) + _LENGTH))
        return spans

    def _choices(self, point: _Point) -> Iterator[_Point]:
        """Yield what can come next, the likeliest first: what was answered, what was not, what happens by itself."""
        numbers = self._open(point.left)
        for is_known in (True, False):
            for number in numbers:
                op = self.ops[number]
                if op.is_known != is_known or op.verb == LOOK:
                    continue
                likely = op if is_known else self._as_seen(op, numbers)
                after = self._step(point.state, likely)
                if after is not None and (is_known or after != point.state):
                    yield self._placed(point, number, after, likely)
        known = [self.ops[n] for n in numbers if self.ops[n].is_known]
        if known and point.state.lock is not None:
            first = min(known, key=lambda op: op.returned)
            yield from self._buried(point, first)
            yield from self._cut(point, first)

    def _as_seen(self, op: Op, numbers: Sequence[int]) -> Op:
        """Return a call that was never answered as it must have been, by what was seen next."""
        seen = [self.ops[n].record for n in numbers]
        if op.verb != "renew":
            return op
        ((lease,), ttl) = op.args
        ends = [r.lease_until for r in seen if r is not None and (r.owner, r.token) == (lease.owner, lease.token)]
        begins = [end - ttl for end in ends if end - ttl >= min(op.nows) - _TOLERANCE]
        return op._replace(nows=(begins[0],)) if begins else op

    def _buried(self, point: _Point, first: Op) -> Iterator[_Point]:
        now = max(first.nows, default=EPOCH)
        self.model.load(first.job, point.state)
        self.model.bury(first.job, now)
        after = self.model.state(first.job, point.state.since)
        if after.record != point.state.record:
            yield self._happened(BURY, point, first, now, after)

    def _cut(self, point: _Point, first: Op) -> Iterator[_Point]:
        """Cut the lease as early as may be: if anybody had seen its end, that would have been placed before."""
        lock, ends = point.state.lock, [begin for begin, _ in self._spans(point.state, first)]
        if lock is not None and ends and min(ends).timestamp() < lock.until:
            yield self._happened(CUT, point, first, min(ends), point.state.locked_until(min(ends)))

    def _happened(self, what: str, point: _Point, first: Op, now: datetime, after: State) -> _Point:
        op = Op("", what, first.job, (), {}, point.at, first.returned, first.key, (now,))
        at = max(point.at, first.invoked)
        return _Point(_linked(point.placed, Placed(op, at, after)), _dated(after, point.state, at), point.left, at)

    def _placed(self, point: _Point, number: int, after: State, likely: Op | None = None) -> _Point:
        op = likely or self.ops[number]
        at = self._when(op, point)
        left = tuple(other for other in point.left if other != number)
        if op.verb == LOOK:
            after = self._step(point.state, op) or after
        after = _dated(after, point.state, at)
        return _Point(_linked(point.placed, Placed(op, at, after)), after, left, at)

    def _when(self, op: Op, point: _Point) -> float:
        """Return where it most likely took effect; no later than any call that is left was answered."""
        if op.verb == LOOK:
            return max(point.at, op.invoked)
        horizon = min((self.ops[n].returned for n in self._open(point.left) if self.ops[n].is_known), default=op.key)
        return max(point.at, op.invoked, min(op.key, horizon))


def _dated(after: State, before: State, at: float) -> State:
    """Return the state, with the moment from which on its lock is what it is."""
    return after if after.lock == before.lock else after._replace(since=at)


def _linked(chain: Chain | None, placed: Placed) -> Chain:
    return Chain(placed, chain, 1 if chain is None else chain.length + 1)


def _length(point: _Point) -> int:
    return 0 if point.placed is None else point.placed.length


def _listed(chain: Chain | None) -> list[Placed]:
    found = []
    while chain is not None:
        found.append(chain.last)
        chain = chain.before
    return found[::-1]
