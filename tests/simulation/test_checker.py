"""The checker sees: for each rule a history, written by hand, that breaks just that one."""

from dataclasses import replace
from datetime import timedelta

import pytest

from chrono_async import InMemoryStorage, JobRecord, Misfire, Overlap, Recovery
from chrono_async.models import Definition, JobStatus, Trigger
from chrono_async.policies import Missed, Policies
from chrono_async.testing import Simulation

from .checker import LEASING, check
from .history import (
    START,
    Advanced,
    Asked,
    Began,
    Called,
    Changed,
    Claimed,
    Defect,
    Ended,
    Event,
    Fault,
    History,
    Lived,
    Released,
    Renewed,
    Seen,
    Settled,
    Stepped,
    Struck,
    Traits,
)
from .rules_of_time import Target, unmatched
from .witness import NOTED, Witness

EVERY = timedelta(seconds=10)
BOUND = '{"kind":"interval","every":"PT10S","start":"2026-01-01T00:00:00Z"}'
ONCE = '{"kind":"one_shot","delay":"PT10S","at":"2026-01-01T00:00:10Z"}'
RULES = {rule.__name__: rule for rule in LEASING}


def wall(seconds):
    return START + timedelta(seconds=seconds)


def record(next_run=10, runs=0, token=0, bound=BOUND, **values):
    pointer = None if next_run is None else wall(next_run)
    usual = {"id": "j", "next_run": pointer, "run_count": runs, "token": token, "revision": 1}
    return JobRecord(**(usual | {"schedule": Definition(bound, bound)} | values))


def seen(at, by="settle", **values):
    return Seen(at, "j", by, record(**values))


def claimed(
    at, token=1, *, fire=10, pointer=None, who="a1", attempt=1, manual=False, until=None, moves=False, asked=None
):
    until, pointer, asked = at + 6 if until is None else until, fire if pointer is None else pointer, asked or at
    granted = (wall(fire), token, attempt, manual, wall(pointer), 1, moves, False, wall(at), until)
    return Claimed(at, who, "j", *granted, asked=asked)


def began(at, token=1, *, fire=10, who="a1", number=1, stubborn=0.0, manual=False, attempt=1):
    return Began(at, who, "j", wall(fire), token, attempt, manual, stubborn, None, number)


def ended(at, token=1, *, who="a1", number=1, how="returned"):
    return Ended(at, who, "j", token, how, number)


def failed(at, token=1, *, number=1):
    return ended(at, token, number=number, how="JobFailedError")


def settled(
    at, token=1, *, fire=10, verdict="done", status="completed", missed=None, skipped=None, manual=False, error=""
):
    return Settled(at, "a1", "j", token, wall(fire), manual, verdict, status, missed, skipped, 1, error)


def missed(first, last):
    return Missed((last - first) // 10 + 1, wall(first), wall(last))


def released(at, token=1):
    return Released(at, "a1", "j", token, True)


def options(**values):
    """A job that has them, with its pointer at 30."""
    return [BORN, changed(21, "register", "created"), seen(21, "register", next_run=30, options=Policies(**values))]


def run_of_30(at, *, until=None, next_run=40, claimed_at=30, skipped=None, queued=False, **values):
    """A run of the job above, and where its pointer is thereafter."""
    policies = Policies(**values)
    return [
        *options(**values),
        claimed(claimed_at, fire=30),
        seen(claimed_at, "claim", token=1, options=policies, next_run=30, **(HELD | {"claimed": wall(30)})),
        began(claimed_at, fire=30),
        ended(at),
        settled(until or at, fire=30, skipped=skipped),
        seen(until or at, next_run=next_run, runs=1, options=policies, claimed=wall(next_run) if queued else None),
    ]


def changed(at, verb, verdict="done"):
    return Changed(at, "a1", "j", verb, verdict)


BORN, CREATED = Lived(0, "a1", "born"), changed(0, "register", "created")
BEGINNING = [BORN, CREATED, seen(0, "register")]
HELD = {"owner": "a/1", "lease_until": wall(16), "running": wall(10), "claimed": wall(10), "attempt": 1}
RUN = [
    claimed(10),
    seen(10, "claim", token=1, status=JobStatus.RUNNING, **HELD),
    began(10.1),
    ended(11),
    settled(11.1),
    seen(11.1, next_run=20, runs=1, token=1, settled_token=1, status=JobStatus.COMPLETED),
]

SKIPPING = seen(0, "register", options=Policies(recovery=Recovery.SKIP))
MOVED = [claimed(10, moves=True), seen(10, "claim", token=1, next_run=20, status=JobStatus.RUNNING, **HELD)]
BACK = [Stepped(1, 20), Stepped(2, 0)]
BY_HAND = [
    claimed(10, manual=True), began(10, manual=True), failed(11), released(11), changed(11.5, "resume"),
    seen(11.5, "resume", next_run=20, token=1), claimed(12, 2, manual=True), began(12, 2, number=2, manual=True),
    failed(13, 2, number=2),
]  # fmt: skip
"""A manual run that fails twice, and whose job is resumed in between, by a clock that was set back if it was."""

WRITTEN_LATE = claimed(12, until=16)
"""What it was judged by had been read two seconds before, and its lease counts from there."""

BREACHES: dict[str, list[Event]] = {
    "runs_belong_to_claims": [*BEGINNING, claimed(10), began(10.1, fire=20)],
    "fire_times_are_the_schedules": [*BEGINNING, claimed(12, fire=11)],
    "a_token_is_for_one_run": [*BEGINNING, *RUN, claimed(12, who="a2"), began(12, who="a2", number=2)],
    "bodies_keep_apart": [*BEGINNING, claimed(10), began(10), claimed(13, 2), began(13, 2, number=2), ended(14)],
    "a_body_ends_before_its_lease": [*BEGINNING, claimed(10), began(10), ended(16.1)],
    "at_most_once_is_begun_once": [
        BORN, CREATED, SKIPPING, *RUN, claimed(17, 2), began(17, 2, number=2),
    ],
    "a_stopped_instance_is_silent": [*BEGINNING, Lived(5, "a1", "stopped"), Called(6, "a1", "claim")],
    "nothing_is_claimed_early": [*BEGINNING, claimed(9.9)],
    "nothing_is_claimed_early by the clock when it was read": [
        *BEGINNING, Stepped(5, 0.7), Stepped(9.5, 0), claimed(9.9, until=15.2),
    ],
    "nothing_is_claimed_early by the clock when it was read, which had just been set back": [
        *BEGINNING, Stepped(5, 1), Stepped(9.15, 0), claimed(9.9, until=15.2),
    ],
    "records_are_well_formed": [*BEGINNING, seen(1, owner="a/1")],
    "all_is_well_in_the_end": [*BEGINNING],
    "peace_is_punctual": [BORN, CREATED, seen(1, next_run=70, options=Policies(misfire=Misfire.FIRE_ALL))],
    "nobody_spins": [*BEGINNING, *[Called(5 + n / 1000, "a1", "due") for n in range(100)]],
    "the_engine_has_no_defects": [*BEGINNING, Defect(1, "a service failed")],
    "repeats_have_a_reason": [*BEGINNING, *RUN, claimed(12, 2)],
    "no_lease_runs_out_by_itself": [*BEGINNING, claimed(10)],
    "no_lease_runs_out_by_itself whatever the clock was before it was read": [
        *BEGINNING, Stepped(9.5, 3600), WRITTEN_LATE,
    ],
    "a_removed_job_ends_its_body": [
        *BEGINNING, claimed(10, until=30), began(10), changed(11, "delete_job"), Seen(11, "j", "delete_job", None),
        ended(15),
    ],
    "tokens_grow": [*BEGINNING, claimed(10, 5), claimed(17, 4)],
    "leases_exclude_each_other": [*BEGINNING, claimed(10), claimed(13, 2)],
    "leases_exclude_each_other whatever the clock was before it was read": [
        *BEGINNING, Stepped(9.5, 3600), WRITTEN_LATE, claimed(13, 2),
    ],
    "stale_words_are_refused": [*BEGINNING, claimed(10), claimed(17, 2), settled(18, 1)],
    "only_what_was_written_is_repeated": [*BEGINNING, claimed(10), settled(11, verdict="repeated")],
    "what_was_written_is_known": [*BEGINNING, *RUN, claimed(17, 2, fire=20), settled(18, verdict="stale")],
    "occurrences_are_settled_once": [*BEGINNING, *RUN, claimed(17, 2), settled(18, 2)],
    "counters_are_exact": [*BEGINNING, seen(1, runs=1)],
    "pausing_wins": [*BEGINNING, changed(1, "set_paused"), seen(1, "set_paused", paused=True), seen(2, "settle")],
    "deleted_stays_deleted": [
        *BEGINNING, changed(1, "delete_job"), Seen(1, "j", "delete_job", None), seen(2, "settle"),
    ],
    "a_new_life_owes_nothing": [
        *BEGINNING, claimed(10), changed(11, "delete_job"), Seen(11, "j", "delete_job", None),
        changed(12, "register", "created"), seen(12, "register"), settled(13),
    ],
    "rescheduling_wins": [
        *BEGINNING, claimed(10), changed(11, "reschedule"), seen(11, "reschedule", revision=2, next_run=30),
        settled(12), seen(12, revision=2, next_run=20, runs=1),
    ],
    "the_pointer_never_goes_back": [*BEGINNING, seen(1, next_run=5)],
    "the_pointer_never_goes_back to what has begun": [
        BORN, CREATED, SKIPPING, *MOVED, began(10.1), ended(11), released(11.1), seen(11.1, "release", token=1),
    ],
    "one_shots_run_once": [
        BORN, CREATED, seen(0, "register", bound=ONCE), claimed(10), settled(11),
        seen(11, bound=ONCE, next_run=20, runs=1),
    ],
    "joining_changes_nothing": [*BEGINNING, changed(1, "register", "joined"), seen(1, "register", next_run=20)],
    "no_fire_time_gets_lost": [*BEGINNING, claimed(10), settled(11), seen(11, next_run=40, runs=1)],
    "no_fire_time_gets_lost for another": [
        *BEGINNING, claimed(40, fire=30), settled(41, fire=30, missed=Missed(2, wall(0), wall(20))),
        seen(41, next_run=40, runs=1),
    ],
    "take_over_is_prompt": [
        Lived(0, "a1", "born"), CREATED, seen(0, "register"), claimed(10, who="b1"), Lived(12, "b1", "died"),
    ],
    "what_is_due_is_claimed": options(),
    "what_is_due_is_claimed by hand, even of a paused job": [
        *options(), seen(25, next_run=30, paused=True, triggered=Trigger(wall(25))),
    ],
    "outcomes_tell_what_bodies_did": [*BEGINNING, claimed(10), settled(11)],
    "outcomes_tell_what_bodies_did, to the end": [*BEGINNING, claimed(10), began(10), settled(11)],
    "outcomes_tell_what_bodies_did, failing": [*BEGINNING, claimed(10), began(10), failed(11), settled(11)],
    "outcomes_tell_what_bodies_did, doing well": [
        *BEGINNING, claimed(10), began(10), ended(11), settled(11, status="failed", error="JobFailedError: no"),
    ],
    "outcomes_tell_what_bodies_did, doing nothing": [
        *BEGINNING, claimed(10), settled(11, status="failed", error="JobFailedError: no"),
    ],
    "outcomes_tell_what_bodies_did, too long": [
        *BEGINNING, claimed(10), began(10), ended(11, how="CancelledError"),
        settled(11, status="failed", error="TimeoutError: long"),
    ],
    "outcomes_tell_what_bodies_did, when cut": [
        *BEGINNING, claimed(10), began(10), ended(11, how="CancelledError"), settled(11),
    ],
    "outcomes_tell_what_bodies_did, cut by nobody": [
        *BEGINNING, claimed(10), began(10), ended(11, how="CancelledError"), settled(11, status="cancelled"),
    ],
    "outcomes_tell_what_bodies_did, given back": [*BEGINNING, claimed(10), began(10), ended(11), released(11)],
    "outcomes_tell_what_bodies_did, cancelled while the job is paused": [
        *options(overlap=Overlap.CANCEL_RUNNING), seen(25, "set_paused", paused=True), claimed(30, manual=True),
        seen(30, "claim", paused=True), settled(40, status="cancelled", manual=True), seen(40, paused=True),
    ],
    "failures_are_tried_again": [
        *BEGINNING, claimed(10), began(10), failed(11), settled(11, status="failed", error="JobFailedError: no"),
    ],
    "failures_are_tried_again, not successes": [
        *BEGINNING, claimed(10), began(10), ended(11), began(12, number=2), ended(13, number=2), settled(13),
    ],
    "failures_are_tried_again no more than is allowed": [
        *BEGINNING, claimed(10), began(10), failed(11), began(12, number=2), failed(13, number=2), released(13),
        claimed(14, 2), began(14, 2, number=3),
    ],
    "failures_are_tried_again no more than is allowed, given back in between": [
        *BEGINNING, claimed(10), began(10), failed(11), released(11), claimed(12, 2), released(12, 2),
        claimed(13, 3), began(13, 3, number=2), failed(14, 3, number=2), began(15, 3, number=3),
    ],
    "failures_are_tried_again after a pause by a clock that it had heard of": [
        *BEGINNING, claimed(10), began(10), Stepped(8.5, 3600), failed(11), released(11), claimed(11.2, 2),
        began(11.2, 2, number=2),
    ],
    "failures_are_tried_again after a pause": [
        *BEGINNING, claimed(10), began(10), failed(11), began(11.3, number=2),
    ],
    "failures_are_tried_again no more than is allowed, a manual run in between": [
        *BEGINNING, claimed(10), began(10), failed(11), released(11), claimed(12, 2, fire=12, manual=True),
        settled(13, 2, fire=12, manual=True), claimed(14, 3), began(14, 3, number=2), failed(15, 3, number=2),
        began(16, 3, number=3),
    ],
    "failures_are_tried_again after a pause, though the job is rescheduled": [
        *BEGINNING, claimed(20, manual=True), began(20, manual=True), failed(21), released(21),
        changed(21.1, "reschedule"), claimed(21.2, 2, manual=True), began(21.2, 2, number=2, manual=True),
    ],
    "failures_are_tried_again no more than is allowed, resumed unpaused in between": [
        *BEGINNING, claimed(10), began(10), failed(11), released(11), changed(11.5, "resume", "kept"), claimed(12, 2),
        began(12, 2, number=2), failed(13, 2, number=2), began(14, 2, number=3),
    ],
    "failures_are_tried_again by hand no more than is allowed, resumed in between": [
        *BACK, *BEGINNING, *BY_HAND, began(14, 2, number=3, manual=True),
    ],
    "poison_is_given_up": [*BEGINNING, claimed(10, attempt=4), began(10, attempt=4)],
    "poison_is_given_up after three deaths, whatever is said": [
        *BEGINNING, claimed(10), claimed(17, 2), claimed(24, 3), claimed(31, 4), began(31, 4),
    ],
    "poison_is_given_up after three deaths by hand, resumed in between": [
        *BACK, *BEGINNING, *[claimed(at, at, manual=True) for at in (10, 16)], changed(17, "resume"),
        *[claimed(at, at, manual=True) for at in (22, 28)], began(28, 28, manual=True),
    ],
    "poison_is_given_up no sooner": [
        *BEGINNING, claimed(10), claimed(17, 2), settled(17, 2, status="failed", error="PoisonedError: it"),
    ],
    "what_is_set_begins_with_the_next": [BORN, changed(25, "register", "created"), seen(25, "register", next_run=40)],
    "what_is_set_begins_with_the_next after a pause": [
        *options(), changed(35, "set_paused"), seen(35, "set_paused", next_run=30, paused=True), changed(41, "resume"),
        seen(41, "resume", next_run=60),
    ],
    "what_is_set_begins_with_the_next, and not with none": [
        *options(), changed(41, "reschedule"), seen(41, "reschedule", next_run=None),
    ],
    "misfires_follow_their_policy": [*options(), claimed(45, fire=30)],
    "misfires_follow_their_policy where a pointer moves": [
        *options(), Advanced(45, "a1", "j", wall(30), wall(50), missed(30, 40), True),
    ],
    "misfires_follow_their_policy in what a run tells of": [
        *options(), claimed(45, fire=40, pointer=30), settled(46, fire=40),
    ],
    "misfires_follow_their_policy with all": [
        *options(misfire=Misfire.FIRE_ALL), claimed(45, fire=40, pointer=30),
    ],
    "misfires_follow_their_policy with all but very old ones": [
        *options(misfire=Misfire.FIRE_ALL, max_catchup=3), claimed(65, fire=50, pointer=30),
    ],
    "misfires_follow_their_policy with none": [*options(misfire=Misfire.SKIP), claimed(38, fire=30)],
    "misfires_follow_their_policy with none, where all have a place": [
        *options(misfire=Misfire.SKIP), Struck(29, "a1", "hangs", "claim"), claimed(38, fire=30),
    ],
    "misfires_follow_their_policy with none but young ones": [
        *options(misfire=Misfire.SKIP, misfire_grace=15), claimed(48, fire=40, pointer=30),
        claimed(53, 2, fire=50, pointer=40),
    ],
    "misfires_follow_their_policy with none, and no run": [
        *options(misfire=Misfire.SKIP), Advanced(41, "a1", "j", wall(30), wall(50), missed(30, 40), True),
    ],
    "misfires_follow_their_policy after what is queued": [
        *options(overlap=Overlap.QUEUE), seen(29, next_run=30, claimed=wall(30)), claimed(45, fire=40, pointer=30),
    ],
    "overlaps_follow_their_policy": run_of_30(31, next_run=50),
    "overlaps_follow_their_policy and skip": run_of_30(45, next_run=40),
    "overlaps_follow_their_policy and skip no more": run_of_30(45, next_run=60, skipped=missed(40, 50)),
    "overlaps_follow_their_policy and queue": run_of_30(45, next_run=50, skipped=missed(40, 40), overlap=Overlap.QUEUE),
    "overlaps_follow_their_policy and queue the latest": run_of_30(
        55, next_run=40, queued=True, overlap=Overlap.QUEUE
    ),
    "overlaps_follow_their_policy and keep what is queued": run_of_30(45, next_run=40, overlap=Overlap.QUEUE),
    "overlaps_follow_their_policy and queue nothing else": run_of_30(31, queued=True, overlap=Overlap.QUEUE),
    "overlaps_follow_their_policy until there were enough": run_of_30(31, max_runs=1),
    "overlaps_follow_their_policy but not after too few": run_of_30(31, next_run=None, max_runs=2),
    "overlaps_follow_their_policy by what is the next": [
        *options(), claimed(30, fire=30), seen(31, "resume", next_run=50), settled(32, fire=30),
        seen(32, next_run=60, runs=1),
    ],
}  # fmt: skip
"""For each rule a history that breaks it, or some."""


def rule_of(name):
    return RULES[name.split(maxsplit=1)[0].rstrip(",")]


def history_of(events: list[Event]) -> History:
    history = History(6, 2, 2, storm_ends=30, judged_from=60, ended=90)
    history.traits = {"j": Traits(is_short=True, tries=2, pause=0.5, timeout=2)}
    history.events = list(events)
    return history


@pytest.mark.parametrize("name", BREACHES)
def test_a_rule_sees_its_breach(name: str) -> None:
    """A rule that sees nothing would hold in every history."""
    assert list(rule_of(name)(history_of(BREACHES[name])))


@pytest.mark.parametrize("name", RULES)
def test_each_rule_is_shown_a_breach(name: str) -> None:
    """Or nobody would know whether it sees any."""
    assert name in BREACHES


def test_a_lease_that_outlasts_any_is_seen_in_the_end() -> None:
    """It was granted while the storage's clock was ahead, and nobody has cut it to its length."""
    held = HELD | {"running": wall(3605), "lease_until": wall(3690)}
    events = [BORN, CREATED, Stepped(5, 3600), seen(89, "claim", status=JobStatus.RUNNING, token=1, **held)]
    assert not list(RULES["all_is_well_in_the_end"](history_of(events)))
    assert list(RULES["all_is_well_in_the_end"](history_of([*events, Stepped(89.5, 0)])))


def test_a_good_history_breaks_no_rule() -> None:
    """A rule that sees breaches everywhere would say nothing about any."""
    good = [
        *BEGINNING,
        *RUN,
        changed(20, "set_paused"),
        seen(20, "set_paused", next_run=20, runs=1, token=1, paused=True),
    ]
    assert check(history_of(good), LEASING) == []


@pytest.mark.parametrize("name", BREACHES)
def test_a_clock_that_was_set_long_ago_excuses_nothing(name: str) -> None:
    """Or a storage whose clock is set once would never be judged again."""
    once = [Stepped(0.1, 20), Stepped(0.2, 0)]
    assert list(rule_of(name)(history_of([*once, *BREACHES[name]])))


FROZEN = Fault(11, 17, "a1", "frozen")
AHEAD = Stepped(12, 3600)
SINCE_IT_WAS_READ = Stepped(11, 3600)
AGAIN = [changed(12, "resume"), seen(12, "resume", next_run=10, runs=1, token=1, settled_token=1)]
EXCUSED: dict[str, list[Event]] = {
    "bodies_keep_apart": [
        *BEGINNING, claimed(10), began(10), FROZEN, claimed(16, 2), began(16, 2, number=2), ended(17),
    ],
    "a_body_ends_before_its_lease": [*BEGINNING, claimed(10), began(10), FROZEN, ended(17.1)],
    "no_lease_runs_out_by_itself": [*BEGINNING, claimed(10), Fault(9, 30, "", "outage")],
    "repeats_have_a_reason": [*BEGINNING, claimed(10), Released(11, "a1", "j", 1, True), claimed(12, 2)],
    "the_pointer_never_goes_back but to what has not begun": [
        BORN, CREATED, SKIPPING, *MOVED, released(11), seen(11, "release", token=1),
    ],
    "no_fire_time_gets_lost": [
        *BEGINNING, claimed(40, fire=30), settled(41, fire=30, missed=Missed(2, wall(10), wall(20))),
        seen(41, next_run=40, runs=1), Advanced(60, "a1", "j", wall(40), wall(60), Missed(2, wall(40), wall(50)), True),
        seen(60, next_run=60, runs=1),
    ],
    "leases_exclude_each_other": [
        *BEGINNING, claimed(10), Renewed(12, "a1", "j", 1, 18, False), claimed(18, 2),
    ],
    "bodies_keep_apart of a job that allows it": [
        BORN, CREATED, seen(0, "register", options=Policies(overlap=Overlap.ALLOW)), claimed(10), began(10),
        claimed(13, 2), began(13, 2, number=2), ended(14),
    ],
    "nobody_spins when users ask for much": [
        *BEGINNING, *[Asked(5, "a1", "j", "resume", "")] * 10, *[Called(5 + n / 1000, "a1", "due") for n in range(100)],
    ],
    "nothing_is_claimed_early by hand": [*BEGINNING, claimed(9.9, manual=True)],
    "nothing_is_claimed_early unless the clock is set back before it is written": [
        *BEGINNING, Stepped(5, 1), Stepped(9.5, 0), claimed(9.9, until=15.2),
    ],
    "leases_exclude_each_other unless the clock is set": [*BEGINNING, claimed(10), AHEAD, claimed(13, 2)],
    "repeats_have_a_reason unless the clock is set": [*BEGINNING, claimed(10), AHEAD, claimed(13, 2)],
    "bodies_keep_apart unless the clock is set": [
        *BEGINNING, claimed(10), began(10), AHEAD, claimed(13, 2), began(13, 2, number=2), ended(14),
    ],
    "leases_exclude_each_other unless the clock is set before it is written": [
        *BEGINNING, SINCE_IT_WAS_READ, WRITTEN_LATE, claimed(13, 2),
    ],
    "repeats_have_a_reason unless the clock is set before it is written": [
        *BEGINNING, SINCE_IT_WAS_READ, WRITTEN_LATE, claimed(13, 2),
    ],
    "bodies_keep_apart unless the clock is set before it is written": [
        *BEGINNING, SINCE_IT_WAS_READ, WRITTEN_LATE, began(12), claimed(13, 2), began(13, 2, number=2), ended(14),
    ],
    "no_lease_runs_out_by_itself unless the clock is set": [*BEGINNING, claimed(10), AHEAD],
    "no_lease_runs_out_by_itself unless the clock is set before it is written": [
        *BEGINNING, SINCE_IT_WAS_READ, WRITTEN_LATE,
    ],
    "take_over_is_prompt unless the clock is set back before it is written": [
        BORN, CREATED, seen(0, "register"), Stepped(11, -1), claimed(12, who="b1", until=16), Lived(13, "b1", "died"),
        claimed(20, 2),
    ],
    "take_over_is_prompt unless the clock is set back": [
        BORN, CREATED, seen(0, "register"), claimed(10, who="b1"), Lived(12, "b1", "died"), Stepped(13, -3600),
        claimed(21, 2),
    ],
    "take_over_is_prompt but of what is due": [
        BORN, CREATED, seen(0, "register"), Stepped(5, 3600), claimed(10, who="b1", fire=3605), Stepped(11, 0),
        Lived(12, "b1", "died"),
    ],
    "all_is_well_in_the_end but for what is due": [
        BORN, CREATED, seen(10, "claim", token=1, status=JobStatus.RUNNING, **(HELD | {"running": wall(3605)})),
    ],
    "occurrences_are_settled_once unless it is asked for again": [
        *BACK, *BEGINNING, *RUN, *AGAIN, claimed(13, 2), settled(14, 2),
    ],
    "repeats_have_a_reason where it is asked for again": [*BACK, *BEGINNING, *RUN, *AGAIN, claimed(13, 2)],
    "at_most_once_is_begun_once unless it is asked for again": [
        *BACK, BORN, CREATED, SKIPPING, *RUN, *AGAIN, claimed(13, 2), began(13, 2, number=2),
    ],
    "no_fire_time_gets_lost beyond what is counted": [
        *BEGINNING, claimed(2e5, fire=2e5), settled(2e5, fire=2e5, missed=Missed(10_000, wall(10), wall(199_990))),
        seen(2e5, next_run=200_010, runs=1),
    ],
    "what_was_written_is_known until the job is removed": [
        *BEGINNING, *RUN, changed(12, "delete_job"), settled(13, verdict="stale"),
    ],
    "what_was_written_is_known for as long as it is kept": [
        *BEGINNING, *RUN, *[settled(20 + n, 2 + n, fire=20 + n) for n in range(20)], settled(50, verdict="stale"),
    ],
    "what_is_due_is_claimed within a poll": [*BEGINNING, claimed(12.6), seen(12.6, **HELD)],
    "what_is_due_is_claimed but when paused": [BORN, CREATED, seen(5, paused=True)],
    "what_is_due_is_claimed but before its pause is over": [BORN, CREATED, seen(5, not_before=wall(100))],
    "what_is_due_is_claimed but where somebody is disturbed": [*BEGINNING, Fault(1, 200, "a1", "rough")],
    "what_is_due_is_claimed but where all stop": [*BEGINNING, Lived(12, "a1", "stopping")],
    "what_is_due_is_claimed but where nobody has the function": [
        BORN, Lived(0, "b1", "born"), Changed(0, "b1", "j", "register", "created"), seen(0, "register"),
    ],
    "what_is_due_is_claimed but after an old body": [*BEGINNING, began(9), ended(89)],
    "what_is_due_is_claimed unless the clock is set": [*BEGINNING, *[Stepped(n, 0) for n in range(90)]],
    "pausing_wins until the job is resumed where it is": [
        *BEGINNING, changed(1, "set_paused"), seen(1, "set_paused", paused=True), changed(2, "resume", "kept"),
        seen(2, "resume"),
    ],
    "outcomes_tell_what_bodies_did, too long": [
        *BEGINNING, claimed(10), began(10), ended(12, how="CancelledError"),
        settled(12, status="failed", error="TimeoutError: long"),
    ],
    "outcomes_tell_what_bodies_did, cut by a stop": [
        *BEGINNING, claimed(10), began(10), Lived(11, "a1", "stopping"), ended(11, how="CancelledError"),
        settled(11, status="cancelled"),
    ],
    "outcomes_tell_what_bodies_did, cut by what is due": [
        *options(overlap=Overlap.CANCEL_RUNNING), claimed(30, fire=30), settled(40, fire=30, status="cancelled"),
        seen(50, "set_paused", paused=True), claimed(60, 2, fire=50, manual=True), seen(70, "resume"),
        settled(80, 2, fire=50, status="cancelled", manual=True),
    ],
    "outcomes_tell_what_bodies_did, given up": [
        *BEGINNING, claimed(10, attempt=4), settled(10, status="failed", error="PoisonedError: it"),
    ],
    "outcomes_tell_what_bodies_did, given back unbegun": [*BEGINNING, claimed(10), released(11)],
    "failures_are_tried_again here": [
        *BEGINNING, claimed(10), began(10), failed(11), began(12, number=2), failed(13, number=2),
        settled(13, status="failed", error="JobFailedError: no"),
    ],
    "failures_are_tried_again elsewhere": [
        *BEGINNING, claimed(10), began(10), failed(11), released(11), claimed(12, 2), began(12, 2, number=2),
        failed(13, 2, number=2), settled(13, 2, status="failed", error="JobFailedError: no"),
    ],
    "failures_are_tried_again as often as ever after a stop": [
        *BEGINNING, claimed(10), began(10), failed(11), began(12, number=2), Lived(14, "a1", "stopping"),
        ended(14, number=2, how="CancelledError"), released(14), claimed(14, 2), began(14, 2, number=3),
        failed(15, 2, number=3), began(16, 2, number=4),
    ],
    "failures_are_tried_again as often as ever after a death": [
        *BEGINNING, claimed(10), began(10), failed(11), began(12, number=2), claimed(17, 2), began(17, 2, number=3),
        failed(18, 2, number=3), began(19, 2, number=4),
    ],
    "failures_are_tried_again by hand, resumed in between": [
        *BACK, *BEGINNING, *BY_HAND, settled(13, 2, status="failed", manual=True, error="JobFailedError: no"),
    ],
    "failures_are_tried_again, resumed unpaused in between": [
        *BACK, *BEGINNING, claimed(10), began(10), failed(11), released(11), changed(11.5, "resume", "kept"),
        claimed(12, 2), began(12, 2, number=2), failed(13, 2, number=2),
        settled(13, 2, status="failed", error="JobFailedError: no"),
    ],
    "failures_are_tried_again at once when the job is rescheduled": [
        *BEGINNING, claimed(10), began(10), failed(11), released(11), changed(11.1, "reschedule"), claimed(11.2, 2),
        began(11.2, 2, number=2),
    ],
    "failures_are_tried_again at once by a clock that it had not heard of": [
        *BEGINNING, claimed(10), began(10), Stepped(10.8, 3600), failed(11), released(11), claimed(11.2, 2),
        began(11.2, 2, number=2),
    ],
    "failures_are_tried_again by hand though the job is resumed while the clock is behind": [
        *BACK, *BEGINNING, claimed(10, manual=True), began(10, manual=True), failed(11), released(11),
        changed(12, "resume"), claimed(14, 2, manual=True), began(14, 2, number=2, manual=True),
        failed(15, 2, number=2), settled(15, 2, status="failed", error="JobFailedError: no", manual=True),
    ],
    "failures_are_tried_again but for poison": [
        *BEGINNING, claimed(10), settled(10, status="failed", error="PoisonedError: it"),
    ],
    "poison_is_given_up after three deaths": [
        *BEGINNING, claimed(10), began(10), claimed(17, 2), began(17, 2), claimed(24, 3), began(24, 3), claimed(31, 4),
        settled(31, 4, status="failed", error="PoisonedError: it"),
    ],
    "poison_is_given_up but not for stops": [
        *BEGINNING,
        *[event for n in range(11, 16) for event in (claimed(n, n), began(n, n), released(n, n))],
    ],
    "what_is_set_begins_with_the_next where it was not paused": [
        *options(), changed(45, "resume"), seen(45, "resume", next_run=30, name="again"),
    ],
    "what_is_set_begins_with_the_next but for what has run enough": [
        *options(max_runs=1), changed(31, "register", "changed"),
        seen(31, "register", next_run=None, options=Policies(max_runs=1)),
    ],
    "what_is_set_begins_with_the_next unless the clock is set": [
        BORN, Stepped(24, 0), changed(25, "register", "created"), seen(25, "register", next_run=40),
    ],
    "misfires_follow_their_policy as it was when it was asked for": [*options(), claimed(41, fire=30, asked=39.9)],
    "misfires_follow_their_policy after others of the turn": [
        *options(), Called(39.9, "a1", "advance"), claimed(41, fire=30),
    ],
    "misfires_follow_their_policy as it was before a freeze": [
        *options(), Fault(39, 45, "a1", "frozen"), claimed(45.1, fire=30),
    ],
    "misfires_follow_their_policy as it was when last heard": [
        *options(), Fault(30, 39, "a1", "rough"), claimed(42, fire=30),
    ],
    "misfires_follow_their_policy unless the clock is set": [*options(), AHEAD, claimed(31, fire=30)],
    "misfires_follow_their_policy and fold": [
        *options(), claimed(45, fire=40, pointer=30), settled(46, fire=40, missed=missed(30, 30)),
    ],
    "misfires_follow_their_policy with all": [*options(misfire=Misfire.FIRE_ALL), claimed(55, fire=30)],
    "misfires_follow_their_policy with all but very old ones": [
        *options(misfire=Misfire.FIRE_ALL, max_catchup=3), claimed(65, fire=40, pointer=30),
    ],
    "misfires_follow_their_policy with none but young ones": [
        *options(misfire=Misfire.SKIP), Advanced(45, "a1", "j", wall(30), wall(50), missed(30, 40), True),
        seen(45, next_run=50), claimed(51.9, fire=50),
    ],
    "misfires_follow_their_policy but for want of a place": [
        *options(misfire=Misfire.SKIP), *[claimed(25 + n, n, who="b1", manual=True, until=37) for n in (1, 2, 3)],
        claimed(38, 4, who="b1", fire=30),
    ],
    "misfires_follow_their_policy but for a place that is kept": [
        *options(misfire=Misfire.SKIP), Struck(29, "b1", "hangs", "claim"), claimed(37, who="b1", fire=30),
    ],
    "misfires_follow_their_policy after what is queued": [
        *options(overlap=Overlap.QUEUE), seen(29, next_run=30, claimed=wall(30)), claimed(45, fire=30),
    ],
    "overlaps_follow_their_policy and skip": run_of_30(55, next_run=60, skipped=missed(40, 50)),
    "overlaps_follow_their_policy and queue": run_of_30(
        55, next_run=50, queued=True, skipped=missed(40, 40), overlap=Overlap.QUEUE
    ),
    "overlaps_follow_their_policy but not misfires": run_of_30(
        55, next_run=40, claimed_at=45, misfire=Misfire.FIRE_ALL
    ),
    "overlaps_follow_their_policy until there were enough": run_of_30(31, next_run=None, max_runs=1),
    "overlaps_follow_their_policy as it was when the body ended": run_of_30(39, until=41),
    "overlaps_follow_their_policy as it was after a freeze": [
        *run_of_30(39, until=41, next_run=50, skipped=missed(40, 40)), Fault(39, 41, "a1", "frozen"),
    ],
    "overlaps_follow_their_policy by what is the next": [
        *options(), claimed(30, fire=30), seen(31, "resume", next_run=50), settled(32, fire=30),
        seen(32, next_run=50, runs=1),
    ],
}  # fmt: skip
"""Histories that look like a breach, and are none, or an excused one."""


@pytest.mark.parametrize("name", EXCUSED)
def test_what_is_excused_is_no_breach(name: str) -> None:
    """Each excuse is as narrow as its rule says, and no narrower."""
    assert list(rule_of(name)(history_of(EXCUSED[name]))) == []


async def test_a_resume_that_leaves_the_pointer_alone_is_told_from_one_that_sets_it(sim: Simulation) -> None:
    """The first begins nothing anew: of a job that is not paused, or whose next fire time is what it was."""
    storage, history = InMemoryStorage(clock=sim.clock), history_of([])
    witness = Witness(history, sim.clock, lambda: storage._kept.records, notes=NOTED)
    pointer, later = sim.clock.now() + EVERY, sim.clock.now() + 2 * EVERY
    registered = await witness.perform("a1", storage, "register", replace(record(), next_run=pointer))
    revision = registered.record.revision
    await witness.perform("a1", storage, "resume", "j", revision=revision, next_run=later)
    for next_run in (pointer, later):
        await witness.perform("a1", storage, "set_paused", "j")
        await witness.perform("a1", storage, "resume", "j", revision=revision, next_run=next_run)
    assert [event.verdict for event in history.of(Changed) if event.verb == "resume"] == ["kept", "kept", "done"]


def test_targets_are_matched_with_the_earliest_end_first() -> None:
    """A run in the overlap of two targets serves the one that ends first, so that a later run can serve the other."""
    early, late = Target(wall(0), wall(2)), Target(wall(1), wall(5))
    assert unmatched([late, early], [wall(1.5), wall(4)]) == []
    assert unmatched([late, early], [wall(4), wall(4.5)]) == [early]
