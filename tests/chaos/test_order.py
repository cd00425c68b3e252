"""The search for an order: it explains what a right storage answers, and nothing that a wrong one does."""

from datetime import UTC, datetime, timedelta
from typing import Any

from chrono_async import JobRecord
from chrono_async.claims import ClaimRequest, Granted, Lease, Outcome, PointerMove
from chrono_async.models import Definition, RunRecord, RunStatus
from tests.simulation.network import performed

from .model import LOOK, Model, Op, State
from .order import Unexplained, explain

START = datetime(2026, 1, 1, tzinfo=UTC)
TTL = timedelta(seconds=5)


class Scene:
    """A right storage, whose calls are a second apart and take a tenth of one."""

    def __init__(self) -> None:
        self.model, self.at, self.ops = Model(), 0.0, list[Op]()
        self.state = State()

    def call(self, verb: str, *args: Any, is_known: bool = True) -> Any:
        """Make a call, and note it with its answer, or without."""
        self.at += 1
        now = START + timedelta(seconds=self.at)
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
        """Claim the job for five seconds."""
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
