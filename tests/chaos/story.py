"""
From the log of a campaign to a history that the simulation's checker can judge.

From outside nobody sees when a call took effect. So for each job an order of the calls is looked for that explains all
answers and all records that were seen (see order.py); in that order they are played to the simulation's own witness,
which notes what it notes there.
"""

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

from .frame import Frame
from .hints import Hints
from .log import Line
from .model import EPOCH, LOOK, Model, Numbers, Op, State, step
from .order import BURY, CUT, Placed, Unexplained, explain
from .plan import JOBS, PATIENCE, POLL, TTL
from .recording import Answered, Asked

_MICROSECOND, _SECOND = timedelta(microseconds=1), timedelta(seconds=1)
_NEVER = float("inf")
_LONGEST_WAY = 4.0
"""Seconds until a call that was never answered has taken effect, most likely."""


class Story(NamedTuple):
    """A history, and what is wrong already since no order explains what was seen."""

    history: History
    verdicts: list[Verdict]
    ops: int
    unanswered: int


def tell(lines: Iterable[Line], frame: Frame) -> Story:
    """Return what the log tells."""
    lines = [line for line in lines if line.at <= frame.ended + 60]
    frame = frame._replace(steps=[(line.at, line.value) for line in lines if line.kind == "stepped"])
    ops = _ops(lines, frame)
    history = History(TTL, POLL, PATIENCE, storm_ends=frame.storm_ends - frame.begin)
    history.judged_from, history.ended = frame.judged_from - frame.begin, frame.ended - frame.begin
    history.start, history.moment = frame.wall, frame.moment
    history.traits = {job: spec.traits for job, spec in JOBS.items()}
    verdicts: list[Verdict] = []
    unexplained: set[str] = set()
    for job, calls in ops.items():
        found = explain(calls, frame.cuts)
        if isinstance(found, Unexplained):
            unexplained.add(job)
            verdicts.append(_verdict(job, found, frame))
        else:
            history.events += _played(job, calls, found, frame)
    history.events += [events.Stepped(at - frame.begin, ahead) for at, ahead in frame.steps]
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
    hints = Hints(looks, answers.values())
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


def _op(line: Line, answer: Line | None, frame: Frame, hints: Hints) -> Op | None:
    asked: Asked = line.value
    told: Answered | None = None if answer is None else answer.value
    if asked.verb == "claim" and told is not None and not isinstance(told.value, Granted):
        return None
    returned = _NEVER if answer is None else answer.at
    drawn = hints.drawn(asked, line.at) if told is None else Numbers()
    if asked.verb == "claim" and not frame.steps and not _is_drawn_then(drawn.token, line.at, frame):
        drawn = Numbers()
    nows = tuple(_nows(asked, told, (line.at, returned), frame, hints))
    key = frame.true(nows[0], line.at, min(returned, line.at + 5))
    value, error = (None, "") if told is None else (told.value, told.error)
    about = (line.who, asked.verb, asked.job, asked.args, asked.kwargs)
    return Op(*about, line.at, returned, key, nows, value, error, told is not None, drawn=drawn)


def _is_drawn_then(token: int, at: float, frame: Frame) -> bool:
    return frame.shows(EPOCH + token * _MICROSECOND, at, at + _LONGEST_WAY)


def _nows(
    asked: Asked, told: Answered | None, interval: tuple[float, float], frame: Frame, hints: Hints
) -> Iterator[datetime]:
    """Yield the storage's times by which a call may have been decided, the surest first."""
    value, begin, end = None if told is None else told.value, interval[0], min(interval[1], interval[0] + _LONGEST_WAY)
    stretches = frame.stretches(begin, end)
    if isinstance(value, Granted):
        drawn = EPOCH + value.lease.token * _MICROSECOND
        if frame.shows(drawn, begin, interval[1]):  # else it is the one before, and one
            yield drawn
    number = max(hints.drawn(asked, begin)) if told is None and asked.verb != "register" else 0
    if number and frame.shows(EPOCH + number * _MICROSECOND, begin, end):
        yield EPOCH + number * _MICROSECOND
    if told is not None and told.now is not None:
        lease = asked.args[0][0] if asked.verb == "renew" else getattr(value, "lease", None)
        if lease is not None:  # it counts from when the job was read, the answer from when it was written
            begins = [b for b in hints.begins(asked.job, lease.owner, TTL * _SECOND) if frame.shows(b, *interval)]
            yield from sorted(begins, key=lambda begin: abs(begin - told.now))
        yield told.now
    if isinstance(value, JobRecord) and asked.verb == "reschedule":
        yield EPOCH + value.revision * _MICROSECOND
    if asked.verb == "trigger" and value is not None:
        yield value.at
    if told is None or told.now is None:
        yield from (stretch.wall for stretch in stretches)
        yield frame.wall_at(min(interval[1], begin + 1))
    elif len(stretches) > 1:
        yield from (moment for stretch in stretches for moment in (stretch.wall, stretch.last))


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


def _played(job: str, calls: Iterable[Op], placed: Sequence[Placed], frame: Frame) -> list[Any]:
    """Return what the witness notes when the calls are made in this order."""
    player = _Player(job, frame)
    for op in sorted(calls, key=lambda op: op.invoked):
        if op.verb == "claim":
            player.witness.note_asked(*op.args[:2], op.invoked - frame.begin)
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
        if each.op.verb in {LOOK, BURY, CUT}:
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
            after = step(self.scratch, self.before, each.op._replace(nows=(now,)))
            if after is not None and after._replace(since=each.state.since) == each.state:
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
