"""The rules of the leasing verbs, on records alone: no loop, no storage."""

from datetime import UTC, datetime, timedelta

import pytest

from chrono_async import models
from chrono_async.claims import (
    ClaimRequest,
    Early,
    Granted,
    Held,
    Lease,
    Moved,
    Outcome,
    PointerMove,
    RegisterVerdict,
    Release,
)
from chrono_async.models import Definition, Flight, JobRecord, JobStatus, RunRecord, RunStatus, Trigger
from chrono_async.policies import Missed, Overlap, Policies, Recovery
from chrono_async.storage._table import claiming, endings, planning
from chrono_async.storage._table.instants import microseconds_of

NOW = datetime(2030, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LATER = NOW + 60 * SECOND


def a_job(**values: object) -> JobRecord:
    return JobRecord(id="a", **{"next_run": NOW, "revision": 5, "schedule": Definition("d", "b"), **values})  # type: ignore[arg-type] # a test's shorthand


def a_request(**values: object) -> ClaimRequest:
    return ClaimRequest("a", NOW, NOW, 5)._replace(**values)  # type: ignore[arg-type] # a test's shorthand


def claimed(record: JobRecord, request: ClaimRequest | None = None, owner: str = "me/1") -> Granted:
    request = request or a_request()
    assert claiming.refuse(record, request, NOW) is None
    return claiming.grant(record, request, claiming.Terms(owner, NOW, LATER, microseconds_of(NOW)))


def outcome(
    lease: Lease, move: PointerMove | None, status: RunStatus = RunStatus.COMPLETED, error: str = ""
) -> Outcome:
    return Outcome(lease, RunRecord("a", NOW, status, token=lease.token, started=NOW + SECOND, error=error), move)


MOVE = PointerMove(NOW, 5, LATER)


def test_what_a_job_has_to_do_depends_on_more_than_its_pointer() -> None:
    """A manual request is due even while the job is paused; nothing is due before its wait or lease is over."""
    at = NOW - SECOND
    cases = [
        (a_job(), None, NOW),
        (a_job(paused=True), None, None),
        (a_job(next_run=None), None, None),
        (a_job(paused=True, triggered=Trigger(LATER)), None, LATER),
        (a_job(triggered=Trigger(at)), None, at),
        (a_job(manual=Trigger(at, attempt=1), triggered=Trigger(LATER)), None, at),
        (a_job(not_before=LATER), None, LATER),
        (a_job(), LATER, LATER),
        (a_job(not_before=LATER), LATER + SECOND, LATER + SECOND),
        (a_job(not_before=LATER, triggered=Trigger(at)), None, at),
        (a_job(not_before=LATER, triggered=Trigger(at)), LATER, LATER),
        (a_job(manual=Trigger(at, not_before=LATER)), None, LATER),
        (a_job(manual=Trigger(at, not_before=NOW), not_before=LATER), None, NOW),
        (a_job(manual=Trigger(at, not_before=LATER), triggered=Trigger(NOW), paused=True), None, LATER),
    ]
    for record, held_until, when in cases:
        due = models.due_of(record, held_until)
        assert (due and due.when) == when


def test_a_manual_run_of_an_at_most_once_job_is_not_offered_again() -> None:
    """Its process died with it; the next request takes its place."""
    options = Policies(recovery=Recovery.SKIP)
    record = a_job(options=options, manual=Trigger(NOW, attempt=1), triggered=Trigger(LATER))
    assert models.pending_manual(record) == Trigger(LATER)
    record = a_job(options=options, manual=Trigger(NOW, attempt=0))
    assert models.pending_manual(record) == Trigger(NOW), "it was given back, not lost"


@pytest.mark.parametrize(
    ("record", "request_", "verdict"),
    [
        (a_job(), a_request(), None),
        (a_job(next_run=None), a_request(next_run=None), Moved()),
        (a_job(), a_request(next_run=LATER), Moved()),
        (a_job(), a_request(revision=4), Moved()),
        (a_job(paused=True), a_request(), Moved()),
        (a_job(), a_request(fire_time=NOW - SECOND), Moved()),
        (a_job(), a_request(fire_time=NOW + SECOND), Early(SECOND)),
        (a_job(next_run=NOW + SECOND), a_request(next_run=NOW + SECOND, fire_time=NOW + SECOND), Early(SECOND)),
        (a_job(not_before=LATER), a_request(), Held(LATER)),
        (a_job(not_before=NOW), a_request(), None),
        (a_job(not_before=LATER, triggered=Trigger(NOW)), a_request(), Held(LATER)),
        (a_job(not_before=LATER, triggered=Trigger(NOW)), a_request(manual=True), None),
        (a_job(manual=Trigger(NOW, not_before=LATER)), a_request(manual=True), Held(LATER)),
        (a_job(manual=Trigger(NOW, not_before=LATER)), a_request(), Moved()),
        (a_job(claimed=NOW, attempt=1), a_request(), None),
        (a_job(next_run=NOW - SECOND, claimed=NOW - SECOND), a_request(next_run=NOW - SECOND), Moved()),
        (a_job(manual=Trigger(NOW, attempt=1)), a_request(), Moved()),
        (a_job(), a_request(manual=True), Moved()),
        (a_job(triggered=Trigger(LATER)), a_request(manual=True), Moved()),
        (a_job(triggered=Trigger(NOW), paused=True, next_run=None), a_request(manual=True), None),
    ],
)
def test_why_a_claim_is_refused(record: JobRecord, request_: ClaimRequest, verdict: object) -> None:
    """Each condition alone is enough."""
    before = record.copy()
    assert claiming.refuse(record, request_, NOW) == verdict
    assert record == before


def test_a_manual_request_waits_for_no_time() -> None:
    """It was due when it was made. If it seems to lie ahead, the clock went back, and it would hold up the pointer."""
    record = a_job(triggered=Trigger(LATER))
    assert claiming.refuse(record, a_request(manual=True, fire_time=LATER), NOW) is None


def test_a_token_is_never_less_than_the_time_nor_than_the_last() -> None:
    """A clock that went back takes no token back."""
    record = a_job(token=7)
    assert claimed(record).lease.token == microseconds_of(NOW)
    record = a_job(token=microseconds_of(LATER))
    assert claimed(record).lease.token == microseconds_of(LATER) + 1


def test_attempts_count_claims_of_one_occurrence() -> None:
    """Found abandoned: one more. Settled, and the pointer moved: from one again."""
    record = a_job()
    first = claimed(record)
    assert endings.abandon(record, NOW).attempt == 1
    second = claimed(record, owner="me/2")
    assert (first.attempt, second.attempt) == (1, 2)
    endings.settle(record, outcome(second.lease, MOVE))
    assert (record.attempt, record.claimed, record.next_run) == (0, None, LATER)


def test_running_means_owned() -> None:
    """Through claim, settle, release and abandonment."""
    for end in (
        lambda record, lease: endings.settle(record, outcome(lease, MOVE)),
        lambda record, lease: endings.release(record, Release(lease)),
        lambda record, lease: endings.abandon(record, NOW),
    ):
        record = a_job()
        lease = claimed(record).lease
        assert (record.status, record.owner, record.running) == (JobStatus.RUNNING, "me/1", NOW)
        end(record, lease)
        assert record.status is not JobStatus.RUNNING
        assert (record.owner, record.running, record.lease_until) == (None, None, None)


@pytest.mark.parametrize("change", [{"next_run": NOW + SECOND}, {"revision": 6}, {"next_run": None}])
def test_a_pointer_that_somebody_moved_is_left_where_it_is(change: dict[str, object]) -> None:
    """The run is counted all the same."""
    record = a_job()
    lease = claimed(record).lease
    for name, value in change.items():
        setattr(record, name, value)
    expected = record.next_run
    endings.settle(record, outcome(lease, MOVE))
    assert record.next_run == expected
    assert record.run_count == record.scheduled_runs == 1


def test_settling_leaves_flag_and_definition_alone() -> None:
    """They are the user's."""
    record = a_job()
    lease = claimed(record).lease
    record.paused, record.schedule = True, Definition("new", "new")
    endings.settle(record, outcome(lease, MOVE))
    assert (record.paused, record.schedule) == (True, Definition("new", "new"))


def test_the_last_of_its_runs_leaves_no_pointer() -> None:
    """Counted by settle, and by an at-most-once claim."""
    record = a_job(options=Policies(max_runs=1))
    endings.settle(record, outcome(claimed(record).lease, MOVE))
    assert record.next_run is None
    record = a_job(options=Policies(max_runs=2, recovery=Recovery.SKIP), scheduled_runs=1)
    assert claimed(record, a_request(moves=True, moves_to=LATER)).next_run is None


def test_manual_runs_touch_neither_pointer_nor_attempts_nor_the_most() -> None:
    """They have all of that for themselves, tries and the pause before a retry too."""
    begun = {"claimed": NOW, "attempt": 2, "tries": 3, "not_before": LATER}
    record = a_job(triggered=Trigger(NOW, "args"), options=Policies(max_runs=1), **begun)
    granted = claimed(record, a_request(manual=True))
    assert (granted.attempt, granted.tries, granted.arguments, record.triggered) == (1, 0, "args", None)
    endings.release(record, Release(granted.lease, NOW, tries=1))
    assert record.manual == Trigger(NOW, "args", attempt=0, tries=1, not_before=NOW)
    granted = claimed(record, a_request(manual=True))
    assert (granted.attempt, granted.tries) == (1, 1)
    assert claiming.regrant(record, a_request(manual=True), "me/1") == granted
    endings.settle(record, outcome(granted.lease, None))
    assert (record.next_run, record.scheduled_runs, record.run_count) == (NOW, 0, 1)
    assert (record.claimed, record.attempt, record.tries, record.not_before) == tuple(begun.values())
    assert record.manual is None


@pytest.mark.parametrize("verb", ["reschedule", "register", "resume"])
def test_who_moves_the_pointer_moves_no_manual_run(verb: str) -> None:
    """What waits for its retry goes on waiting, with its tries."""
    manual = Trigger(NOW, "args", tries=2, not_before=LATER)
    record = a_job(manual=manual, claimed=NOW, tries=1, not_before=LATER, paused=verb == "resume")
    new = Definition("x", "y")
    if verb == "reschedule":
        assert planning.reschedule(record, new, revision=5, next_run=LATER, now=NOW)
    elif verb == "register":
        assert planning.register(record, a_job(schedule=new, next_run=LATER), NOW) is RegisterVerdict.CHANGED
    else:
        assert planning.resume(record, revision=5, next_run=LATER, now=NOW)
    assert (record.next_run, record.tries, record.not_before) == (LATER, 0, None)
    assert record.manual is manual


def test_a_release_gives_the_attempt_back_unless_the_pointer_was_moved() -> None:
    """What was rescheduled meanwhile does not wait for the retry of what was before."""
    record = a_job()
    endings.release(record, Release(claimed(record).lease, LATER, tries=2))
    assert (record.attempt, record.tries, record.not_before, record.bound_fire_time) == (0, 2, LATER, NOW)
    record = a_job()
    lease = claimed(record).lease
    assert planning.reschedule(record, Definition("x", "y"), revision=5, next_run=LATER, now=NOW)
    endings.release(record, Release(lease, LATER, tries=2))
    assert (record.attempt, record.tries, record.not_before) == (0, 0, None)


AT_MOST_ONCE = Policies(recovery=Recovery.SKIP, max_runs=1)
MOVES = a_request(moves=True, moves_to=LATER)
BACK = PointerMove(None, 5, NOW, is_counted=True)


def test_an_at_most_once_run_that_never_began_is_due_again() -> None:
    """Its claim has moved the pointer and counted it: both are undone, whether or not it holds the job's lease."""
    record = a_job(options=AT_MOST_ONCE)
    lease = claimed(record, MOVES).lease
    assert (record.next_run, record.scheduled_runs) == (None, 1)
    endings.release(record, Release(lease, move=BACK))
    assert (record.next_run, record.bound_fire_time, record.attempt, record.scheduled_runs) == (NOW, NOW, 0, 0)
    granted = claimed(record, MOVES._replace(frees=True), "me/2")
    flight = claiming.flight_of(record, granted.lease)
    assert flight is not None
    endings.release_flight(record, flight, Release(granted.lease, move=BACK))
    assert (record.next_run, record.bound_fire_time, record.attempt, record.scheduled_runs) == (NOW, NOW, 0, 0)
    assert (record.flights, record.status) == ((), JobStatus.PENDING)


@pytest.mark.parametrize("change", [{"next_run": LATER}, {"revision": 6}, {"claimed": LATER}])
def test_but_not_where_the_job_has_gone_on(change: dict[str, object]) -> None:
    """A user has pointed it elsewhere, or the next occurrence is claimed."""
    for release in (
        lambda record, lease: endings.release(record, Release(lease, move=BACK)),
        lambda record, lease: endings.release_flight(record, record.flights[0], Release(lease, move=BACK)),
    ):
        record = a_job(options=AT_MOST_ONCE)
        lease = claimed(record, MOVES).lease
        record.flights = (Flight(lease.owner, lease.token, NOW, LATER),)
        for name, value in change.items():
            setattr(record, name, value)
        before = (record.next_run, record.scheduled_runs, record.attempt)
        release(record, lease)
        assert (record.next_run, record.scheduled_runs, record.attempt) == before


def test_an_abandoned_run_is_told_of_even_after_a_reschedule() -> None:
    """The pointer has gone elsewhere; what ran is known."""
    record = a_job()
    token = claimed(record).lease.token
    planning.reschedule(record, Definition("x", "y"), revision=5, next_run=LATER, now=NOW)
    assert endings.is_lost(record)
    row = endings.abandon(record, LATER)
    assert (row.fire_time, row.token, row.instance_id, row.status) == (NOW, token, "me", RunStatus.ABANDONED)


def test_flights_leave_the_job_free_and_running() -> None:
    """Each lands alone."""
    record = a_job(options=Policies(overlap=Overlap.ALLOW))
    granted = claimed(record, a_request(moves=True, moves_to=LATER, frees=True))
    assert (record.owner, record.status, record.next_run) == (None, JobStatus.RUNNING, LATER)
    flight = claiming.flight_of(record, granted.lease)
    assert flight is not None
    assert claiming.flight_of(record, granted.lease._replace(owner="x")) is None
    endings.settle_flight(record, flight, outcome(granted.lease, None, RunStatus.FAILED, "boom"))
    assert (record.status, record.flights, record.last_error) == (JobStatus.FAILED, (), "boom")


@pytest.mark.parametrize(
    ("record", "row", "revision"),
    [
        (a_job(), RunRecord("a", LATER, RunStatus.MISSED), 5),
        (a_job(), RunRecord("a", NOW, RunStatus.MISSED), 4),
        (a_job(paused=True), RunRecord("a", NOW, RunStatus.MISSED), 5),
        (a_job(claimed=NOW), RunRecord("a", NOW, RunStatus.MISSED), 5),
        (a_job(), RunRecord("a", NOW, RunStatus.MISSED, missed=Missed(2, NOW, LATER)), 5),
        (a_job(next_run=LATER), RunRecord("a", LATER, RunStatus.MISSED), 5),
    ],
)
def test_why_nothing_is_passed_over(record: JobRecord, row: RunRecord, revision: int) -> None:
    """Each condition alone is enough."""
    before = record.copy()
    assert not planning.advance(record, row, revision=revision, next_run=LATER + SECOND, now=NOW)
    assert record == before


def test_registering_compares_what_code_declared() -> None:
    """Options and name follow the code without a new revision; a definition brings one."""
    options = Policies(max_runs=9)
    record = a_job()
    assert planning.register(record, a_job(name="n", options=options, next_run=LATER), NOW) is RegisterVerdict.JOINED
    assert (record.name, record.options, record.next_run, record.revision) == ("n", options, NOW, 5)
    other = a_job(schedule=Definition("other", "other"), next_run=LATER)
    assert planning.register(record, other, NOW, floor=2**62) is RegisterVerdict.CHANGED
    assert (record.next_run, record.revision) == (LATER, 2**62 + 1)
    assert planning.register(record, a_job(schedule=Definition("x", "x")), NOW) is RegisterVerdict.LATE


def test_a_changed_job_whose_runs_are_used_up_stays_finished() -> None:
    """Counters stay, and so does what they decide."""
    record = a_job(next_run=None, scheduled_runs=2, run_count=2)
    other = a_job(schedule=Definition("other", "other"), next_run=LATER, options=Policies(max_runs=2))
    planning.register(record, other, NOW)
    assert record.next_run is None


def test_a_manual_request_never_has_the_name_of_one_before() -> None:
    """Its fire time is its identity, even where two come at one instant of a clock."""
    record = a_job()
    assert planning.trigger(record, Trigger(LATER), NOW).at == NOW, "never ahead of the storage's time"
    record = a_job(manual=Trigger(NOW, attempt=1))
    assert planning.trigger(record, Trigger(NOW), NOW).at == NOW + timedelta(microseconds=1)
    record = a_job()
    assert planning.trigger(record, Trigger(NOW), NOW, latest=NOW).at > NOW


def test_resuming_keeps_an_old_pointer_only_if_it_is_the_jobs_own() -> None:
    """A one-shot whose time has passed runs at once; nothing else is set into the past."""
    past = NOW - SECOND
    record = a_job(paused=True, next_run=past)
    assert not planning.resume(record, revision=5, next_run=past - SECOND, now=NOW)
    assert not planning.resume(record, revision=4, next_run=past, now=NOW)
    assert record.paused
    assert planning.resume(record, revision=5, next_run=past, now=NOW)
    assert not record.paused
