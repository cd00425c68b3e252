"""The search for an order: it explains what a right storage answers, and nothing that a wrong one does."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from chrono_async import JobRecord
from chrono_async.claims import ClaimRequest, Granted, Lease, Outcome, PointerMove
from chrono_async.models import Definition, RunRecord, RunStatus
from tests.simulation.network import performed

from .frame import Frame
from .hints import Hints
from .model import LOOK, Model, Numbers, Op, State
from .order import Unexplained, explain
from .plan import TTL as _TTL
from .recording import Asked

START = datetime(2026, 1, 1, tzinfo=UTC)
TTL = timedelta(seconds=_TTL)


class Scene:
    """A right storage, whose calls are a second apart and take a tenth of one."""

    def __init__(self) -> None:
        self.model, self.at, self.ops = Model(), 0.0, list[Op]()
        self.state, self.steps = State(), list[tuple[float, float]]()

    @property
    def frame(self) -> Frame:
        """What is known of its time."""
        return Frame(0.0, START, 0.0, 0.0, self.at, 0.0, self.steps)

    def set_clock(self, ahead: float) -> None:
        """Let the storage's clock be ahead from now on."""
        self.at += 0.5
        self.steps.append((self.at, ahead))

    def call(self, verb: str, *args: Any, is_known: bool = True) -> Any:
        """Make a call, and note it with its answer, or without."""
        self.at += 1
        now = self.frame.wall_at(self.at)
        op = Op("a1", verb, "j", args, {}, self.at, self.at + 0.1, self.at, (now,))
        self.model.load("j", self.state)
        self.model.prepare(op, now)
        answer, _ = performed(getattr(self.model, verb)(*args))
        self.state = self.model.state("j")
        value = {"claim": lambda: answer.verdicts[0], "settle": lambda: answer.settled[0].verdict}
        told = value.get(verb, lambda: answer)()
        returned = op.returned if is_known else float("inf")
        self.ops.append(op._replace(value=told if is_known else None, is_known=is_known, returned=returned))
        return told

    def look(self, record: JobRecord | None = None) -> JobRecord | None:
        """See what is there, or what is not."""
        self.at += 1
        seen = self.state.record if record is None else record
        self.ops.append(Op("observer", LOOK, "j", (), {}, self.at, self.at + 0.1, self.at, (START,), seen))
        return seen

    def claim(self, *, is_known: bool = True) -> Granted:
        """Claim the job."""
        record = self.state.record
        assert record is not None
        request = ClaimRequest("j", record.next_run, START, record.revision)
        granted = self.call("claim", [request], f"a/{self.at}", TTL, is_known=is_known)
        assert isinstance(granted, Granted)
        return granted

    def settle(self, lease: Lease, *, is_known: bool = True) -> None:
        """Settle it."""
        record = self.state.record
        assert record is not None
        row = RunRecord("j", START, RunStatus.COMPLETED, token=lease.token)
        self.call("settle", [Outcome(lease, row, PointerMove(START, record.revision, None))], is_known=is_known)


def registered() -> Scene:
    scene = Scene()
    scene.call("register", JobRecord("j", next_run=START, schedule=Definition("d", "b")))
    return scene


def test_what_a_right_storage_answers_has_an_order() -> None:
    """Or every campaign would fail."""
    scene = registered()
    granted = scene.claim()
    scene.look()
    scene.settle(granted.lease)
    scene.look()
    assert not isinstance(explain(scene.ops), Unexplained)


def test_a_call_that_was_never_answered_has_taken_effect_if_that_was_seen() -> None:
    """A process was killed between its request and the answer."""
    scene = registered()
    granted = scene.claim(is_known=False)
    scene.look()
    scene.settle(granted.lease, is_known=False)
    scene.look()
    found = explain(scene.ops)
    assert not isinstance(found, Unexplained)
    assert [placed.op.verb for placed in found] == ["register", "claim", "look", "settle", "look"]


def test_a_renewal_that_was_never_answered_may_be_seen_first_in_the_answer_to_another_call() -> None:
    """It had waited for its turn, so that the lease ends later than it would by when it was sent."""
    scene = registered()
    lease = scene.claim().lease
    asked = scene.at + 0.2
    scene.call("renew", [lease], TTL, is_known=False)
    scene.ops[-1] = scene.ops[-1]._replace(invoked=asked, nows=(scene.frame.wall_at(asked),))
    scene.call("register", JobRecord("j", next_run=START, schedule=Definition("d", "b")))
    assert not isinstance(explain(scene.ops), Unexplained)


def test_a_call_that_was_never_answered_may_have_been_lost() -> None:
    """What is seen afterwards is as if it had never been made."""
    scene = registered()
    before = scene.look()
    scene.claim(is_known=False)
    scene.look(before)
    found = explain(scene.ops)
    assert not isinstance(found, Unexplained)
    assert [placed.op.verb for placed in found] == ["register", "look", "look"]


def test_a_write_that_was_answered_and_is_lost_has_no_order() -> None:
    """The storage has said that the claim is granted, and shows the job as nobody's."""
    scene = registered()
    before = scene.look()
    scene.claim()
    scene.look(before)
    assert isinstance(explain(scene.ops), Unexplained)


def test_one_occurrence_that_is_granted_twice_has_no_order() -> None:
    """What two processes are told that have both read before either wrote."""
    scene = registered()
    before = scene.state
    scene.claim()
    scene.state = before
    scene.claim()
    assert isinstance(explain(scene.ops), Unexplained)


def with_a_lease_from_the_future() -> Scene:
    """One was granted while the clock was ahead by an hour, which it is no more."""
    scene = registered()
    scene.set_clock(3600)
    scene.claim()
    scene.set_clock(0)
    return scene


def test_a_lease_that_was_cut_since_the_clock_went_back_has_an_order() -> None:
    """Nobody tells when a storage cuts a lease to its length: that another is granted shows it."""
    scene = with_a_lease_from_the_future()
    scene.at += TTL.total_seconds()
    lock = scene.state.lock
    scene.state = scene.state.locked_until(scene.frame.wall_at(scene.at - 0.1))
    scene.claim()
    assert scene.state.lock != lock
    found = explain(scene.ops, scene.frame.cuts)
    assert not isinstance(found, Unexplained)
    assert [placed.op.verb for placed in found] == ["register", "claim", "cut", "claim"]
    assert isinstance(explain(scene.ops), Unexplained), "no clock was set: then nothing may be cut"


def test_a_lease_that_was_cut_too_short_has_no_order() -> None:
    """It may be cut to its length, counted from when the clock went back: nobody may be granted the job before."""
    scene = with_a_lease_from_the_future()
    scene.state = scene.state.locked_until(START)
    scene.claim()
    assert isinstance(explain(scene.ops, scene.frame.cuts), Unexplained)


def test_a_record_may_show_a_lease_that_was_cut() -> None:
    """To its length, and no shorter."""
    scene = with_a_lease_from_the_future()
    scene.state = scene.state.locked_until(scene.frame.wall_at(scene.at) + TTL)
    scene.look()
    assert not isinstance(explain(scene.ops, scene.frame.cuts), Unexplained)
    scene.state = scene.state.locked_until(START)
    scene.look()
    assert isinstance(explain(scene.ops, scene.frame.cuts), Unexplained)


def test_numbers_that_go_on_from_a_clock_that_was_ahead_are_taken_from_what_was_seen() -> None:
    """A job was added and nobody was told: its revision, an hour ahead of its time, the next record shows."""
    scene = registered()
    record = scene.state.record
    assert record is not None
    ahead = record.revision + 3_600_000_000
    op = scene.ops[0]._replace(is_known=False, value=None, returned=float("inf"))
    seen = replace(record, revision=ahead)
    look = Op("observer", LOOK, "j", (), {}, 2.0, 2.1, 2.0, (START,), seen)
    assert isinstance(explain([op, look]), Unexplained)
    assert not isinstance(explain([op._replace(drawn=Numbers(revision=ahead)), look]), Unexplained)


def test_a_token_that_nobody_was_seen_to_hold_is_that_of_an_unanswered_claim() -> None:
    """Its process was killed, and the dead run written down, between two looks."""
    scene = registered()
    scene.claim()
    scene.look()
    record = scene.state.record
    assert record is not None
    buried = replace(record, token=record.token + 7, owner=None, lease_until=None, running=None)
    looks = [scene.ops[-1], scene.ops[-1]._replace(invoked=9.0, value=buried)]
    asked = Asked(1, "claim", "j", ([ClaimRequest("j", START, START, 1)], "b/1", TTL), {})
    assert Hints(looks, []).drawn(asked, 1.0) == Numbers(token=buried.token)
    assert Hints(looks[:1], []).drawn(asked, 1.0) == Numbers(), "that one has an owner, who is another"


def test_only_what_the_clock_can_have_shown_is_a_time() -> None:
    """An hour was skipped, and shown twice."""
    frame = Frame(100.0, START, 0, 0, 200.0, 0, [(110.0, 3600.0), (120.0, 0.0)])
    hour = START + timedelta(hours=1)
    assert frame.shows(hour + timedelta(seconds=15), 105.0, 115.0)
    assert not frame.shows(hour + timedelta(seconds=15), 105.0, 109.0)
    assert not frame.shows(START + timedelta(seconds=15), 100.0, 120.0)
    assert frame.true(hour + timedelta(seconds=15), 100.0, 200.0) == 115.0
    assert frame.true(START + timedelta(seconds=25), 100.0, 200.0) == 125.0
    assert [stretch.begin for stretch in frame.cuts] == [120.0]
