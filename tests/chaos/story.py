"""
From the log of a campaign to a history that the simulation's checker can judge.

From outside nobody sees when a call took effect. So for each job an order of the calls is looked for that explains all
answers and all records that were seen (see order.py); in that order they are played to the simulation's own witness,
which notes what it notes there.
"""

from bisect import bisect
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from chrono_async import JobRecord
from chrono_async.claims import ClaimRequest, Granted
from tests.simulation import history as events
from tests.simulation.breach import Breach
from tests.simulation.checker import Verdict
from tests.simulation.history import History
from tests.simulation.network import performed
from tests.simulation.witness import NOTED, Witness

from .log import Line
from .model import EPOCH, LOOK, Model, Op, State, step
from .order import BURY, Placed, Unexplained, explain
from .plan import JOBS, PATIENCE, POLL, TTL
from .recording import Answered, Asked

_MICROSECOND = timedelta(microseconds=1)
_NEVER = float("inf")
_ANY = timedelta(days=1)


class Frame(NamedTuple):
    """What a campaign knows of its own time."""

    begin: float
    """By the boot clock: the history's zero."""
    wall: datetime
    """The storage's wall time then."""
    storm_ends: float
    judged_from: float
    ended: float
    moment: float
    """By how much later than in a simulation things may be on a real machine."""
    steps: Sequence[tuple[float, float]] = ()
    """When the server's clock was set, and by how many seconds it was off from then on."""

    def wall_at(self, at: float) -> datetime:
        """Return the storage's time at a true moment."""
        number = bisect([moment for moment, _ in self.steps], at)
        off = self.steps[number - 1][1] if number else 0.0
        return self.wall + timedelta(seconds=at - self.begin + off)

    def true(self, now: datetime, invoked: float, returned: float) -> float:
        """Return the true moment within an interval at which the storage's clock showed that."""
        plain = (now - self.wall).total_seconds() + self.begin
        offs = [0.0, *(off for _, off in self.steps)]
        found = min((abs(plain - off - invoked), plain - off) for off in offs)[1]
        return min(max(found, invoked), returned)


class Story(NamedTuple):
    """A history, and what is wrong already since no order explains what was seen."""

    history: History
    verdicts: list[Verdict]
    ops: int
    unanswered: int


def tell(lines: Iterable[Line], frame: Frame) -> Story:
    """Return what the log tells."""
    lines = [line for line in lines if line.at <= frame.ended + 60]
    ops = _ops(lines, frame)
    if frame.steps:  # instances cut leases that seem to last too long; when, nobody tells
        ops = {job: [op._replace(leeway=_ANY) for op in calls] for job, calls in ops.items()}
    history = History(TTL, POLL, PATIENCE, storm_ends=frame.storm_ends - frame.begin)
    history.judged_from, history.ended = frame.judged_from - frame.begin, frame.ended - frame.begin
    history.start, history.moment = frame.wall, frame.moment
    history.traits = {job: spec.traits for job, spec in JOBS.items()}
    verdicts: list[Verdict] = []
    unexplained: set[str] = set()
    for job, calls in ops.items():
        found = explain(calls)
        if isinstance(found, Unexplained):
            unexplained.add(job)
            verdicts.append(_verdict(job, found, frame))
        else:
            history.events += _played(job, found, frame)
    history.events += [event for event in _others(lines, frame) if getattr(event, "job", "") not in unexplained]
    history.events.sort(key=lambda event: event.at)
    everything = [op for calls in ops.values() for op in calls]
    return Story(history, verdicts, len(everything), sum(not op.is_known for op in everything))


def _verdict(job: str, found: Unexplained, frame: Frame) -> Verdict:
    last = found.placed[-1] if found.placed else None
    at = (min(op.returned for op in found.stuck) if found.stuck else frame.ended) - frame.begin
    told = "\n".join(f"      {_says(op, frame)}" for op in found.stuck[:12])
    before = "\n".join(f"      {_says(placed.op, frame)}" for placed in found.placed[-8:])
    state = None if last is None else last.state
    text = f"no order explains it. Placed last:\n{before}\n    in the state {state}\n    none of these fits:\n{told}"
    return Verdict("the_calls_have_an_order", Breach(at, job, text))


def _says(op: Op, frame: Frame) -> str:
    begin, end = op.invoked - frame.begin, op.returned - frame.begin
    return f"{begin:9.4f}..{end:9.4f} {op.who} {op.verb} {op.args} -> {op.value!r} {op.error}"


# ── calls with their answers ─────────────────────────────────────────────────────────────────────────────────────────


def _ops(lines: Sequence[Line], frame: Frame) -> dict[str, list[Op]]:
    answers = {(line.who, line.value.call, line.value.job): line for line in lines if line.kind == "answered"}
    looks = _looks(lines, frame)
    hints = _Hints(looks)
    found: dict[str, list[Op]] = defaultdict(list)
    for op in looks:
        found[op.job].append(op)
    for line in lines:
        if line.kind == "asked":
            op = _op(line, answers.get((line.who, line.value.call, line.value.job)), frame, hints)
            if op is not None:
                found[op.job].append(op)
    return found


def _looks(lines: Iterable[Line], frame: Frame) -> list[Op]:
    looks = []
    for line in lines:
        if line.kind == "looked":
            begin, job, record = line.value
            looks.append(Op(line.who, LOOK, job, (), {}, begin, line.at, line.at, (frame.wall_at(line.at),), record))
    return looks


class _Hints:
    """What the records that were seen tell of calls whose answer was lost, or did not say when."""

    def __init__(self, looks: Iterable[Op]) -> None:
        self.tokens: dict[tuple[str, datetime | None], int] = {}
        self.revisions: dict[tuple[str, str], int] = {}
        self.ends: dict[tuple[str, str], set[datetime]] = defaultdict(set)
        for look in looks:
            record = look.value
            if record is not None and record.schedule is not None:
                self.revisions.setdefault((record.id, record.schedule.bound), record.revision)
            if record is not None and record.owner is not None:
                self.tokens[record.owner, record.running] = record.token
                self.ends[record.id, record.owner].add(record.lease_until)

    def number(self, asked: Asked) -> int | None:
        """Return the token or the revision that a call has drawn that was never answered, if anybody has seen it."""
        if asked.verb == "claim":
            return self.tokens.get((asked.args[1], asked.args[0][0].fire_time))
        if asked.verb == "register":
            return self.revisions.get((asked.job, asked.args[0].schedule.bound))
        return self.revisions.get((asked.job, asked.args[1].bound)) if asked.verb == "reschedule" else None

    def begin(self, job: str, owner: str, ttl: timedelta, near: datetime) -> datetime | None:
        """Return from when exactly a renewed lease counts, if anybody has seen it."""
        begins = [end - ttl for end in self.ends[job, owner]]
        return min(
            (b for b in begins if abs(b - near) < timedelta(seconds=0.25)), default=None, key=lambda b: abs(b - near)
        )


def _op(line: Line, answer: Line | None, frame: Frame, hints: _Hints) -> Op | None:
    asked: Asked = line.value
    told: Answered | None = None if answer is None else answer.value
    if asked.verb == "claim" and told is not None and not isinstance(told.value, Granted):
        return None
    returned = _NEVER if answer is None else answer.at
    nows = tuple(_nows(asked, told, (line.at, returned), frame, hints))
    key = frame.true(nows[0], line.at, min(returned, line.at + 5))
    value, error = (None, "") if told is None else (told.value, told.error)
    about = (line.who, asked.verb, asked.job, asked.args, asked.kwargs)
    return Op(*about, line.at, returned, key, nows, value, error, told is not None)


def _nows(
    asked: Asked, told: Answered | None, interval: tuple[float, float], frame: Frame, hints: _Hints
) -> Iterator[datetime]:
    """Yield the storage's times by which a call may have been decided, the surest first."""
    value = None if told is None else told.value
    if isinstance(value, Granted):
        now = EPOCH + value.lease.token * _MICROSECOND
        if told is not None and told.now is not None and abs(now - told.now) < timedelta(seconds=20):
            yield now
    number = hints.number(asked) if told is None else None
    if number is not None:
        yield EPOCH + number * _MICROSECOND
    if told is not None and told.now is not None:
        if asked.verb == "renew":
            lease = asked.args[0][0]
            exact = hints.begin(asked.job, lease.owner, asked.args[1], told.now)
            if exact is not None:
                yield exact
        yield told.now
        return
    if isinstance(value, JobRecord) and asked.verb == "reschedule":
        yield EPOCH + value.revision * _MICROSECOND
    if asked.verb == "trigger" and value is not None:
        yield value.at
    yield frame.wall_at(interval[0])
    yield frame.wall_at(min(interval[1], interval[0] + 1))


# ── what the witness notes ───────────────────────────────────────────────────────────────────────────────────────────


class _TrueTime:
    """The history's clock, for the witness."""

    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> datetime:
        """Not asked for."""
        return datetime.now(UTC)

    def boot(self) -> float:
        """Return seconds since the history began."""
        return self.at


def _played(job: str, placed: Sequence[Placed], frame: Frame) -> list[Any]:
    """Return what the witness notes when the calls are made in this order."""
    player = _Player(job, frame)
    for each in placed:
        player.play(each)
    return player.events


class _Player:
    """Makes the calls of one job in their order, before the eyes of the simulation's witness."""

    def __init__(self, job: str, frame: Frame) -> None:
        self.job, self.frame, self.before = job, frame, State()
        self.model, self.scratch, self.clock = Model(), Model(), _TrueTime()
        history = History(TTL, POLL, PATIENCE)
        self.events = history.events
        self.witness = Witness(history, self.clock, lambda: self.model.records, notes=NOTED)

    def play(self, each: Placed) -> None:
        """Make the next call, or see what was seen."""
        self.clock.at = each.at - self.frame.begin
        if each.op.verb in {LOOK, BURY}:
            self.model.load(self.job, each.state)
            self.witness.look(each.op.verb)
        else:
            self._call(each)
        self.before = each.state
        self.model.load(self.job, each.state)

    def _call(self, each: Placed) -> None:
        op, now, first = each.op, self._decided(each), len(self.events)
        self.model.prepare(op, now)
        performed(self.witness.perform(op.who, self.model, op.verb, *op.args, **op.kwargs))
        # A lease counts from when the storage looked at its clock, which is before it wrote the lease down.
        early = max(0.0, each.at - self.frame.true(now, op.invoked, each.at))
        told = self.events[first:]
        self.events[first:] = [event._replace(until=event.until - early) if _grants(event) else event for event in told]

    def _decided(self, each: Placed) -> datetime:
        """Return by which of the times that it may have been the call was decided."""
        for now in each.op.nows:
            if step(self.scratch, self.before, each.op._replace(nows=(now,))) == each.state:
                return now
        return each.op.nows[0]


def _grants(event: Any) -> bool:
    return type(event) in {events.Claimed, events.Renewed}


# ── all other events ─────────────────────────────────────────────────────────────────────────────────────────────────


def _others(lines: Iterable[Line], frame: Frame) -> Iterator[Any]:
    asked = _Refusals()
    for line in lines:
        at = line.at - frame.begin
        if line.kind in _EVENTS:
            yield _EVENTS[line.kind](at, line, frame.begin)
        elif line.kind == "asked":
            asked.note(line)
        elif line.kind == "answered":
            yield from asked.refused(at, line)


class _Refusals:
    """Claims that were not granted: they change nothing, so that it does not matter when."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, int, str], tuple[ClaimRequest, str]] = {}
        self.seen: set[tuple[str, str, datetime]] = set()

    def note(self, line: Line) -> None:
        """Remember what was asked."""
        if line.value.verb == "claim":
            ((request,), owner, _) = line.value.args
            self.requests[line.who, line.value.call, line.value.job] = (request, owner)

    def refused(self, at: float, line: Line) -> Iterator[events.Refused]:
        """Return the event, if that is what it is."""
        answer: Answered = line.value
        known = self.requests.get((line.who, answer.call, answer.job))
        if known is None:
            return
        request, owner = known
        name = owner, request.job_id, request.fire_time
        if not isinstance(answer.value, Granted) and not answer.error:
            why = type(answer.value).__name__.lower()
            yield events.Refused(at, line.who, answer.job, why, name in self.seen)
        self.seen.add(name)


def _lived(at: float, line: Line, _: float) -> events.Lived:
    what, left = line.value if isinstance(line.value, tuple) else (line.value, ())
    return events.Lived(at, line.who, what, left)


def _began(at: float, line: Line, _: float) -> events.Began:
    b = line.value
    return events.Began(at, line.who, b.job, b.fire_time, b.token, b.attempt, b.manual, 0.0, b.missed, b.number)


def _ended(at: float, line: Line, _: float) -> events.Ended:
    return events.Ended(at, line.who, line.value.job, line.value.token, line.value.how, line.value.number)


def _fault(_: float, line: Line, zero: float) -> events.Fault:
    kind, who, begin, end = line.value
    return events.Fault(begin - zero, end - zero, who, kind)


_EVENTS: dict[str, Callable[[float, Line, float], Any]] = {
    "called": lambda at, line, _: events.Called(at, line.who, line.value[1]),
    "lived": _lived,
    "began": _began,
    "ended": _ended,
    "fault": _fault,
    "user": lambda at, line, _: events.Asked(at, line.who, *line.value),
    "defect": lambda at, line, _: events.Defect(at, f"{line.who}: {line.value}"),
}
