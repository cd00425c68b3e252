"""The checker sees: for each rule a history, written by hand, that breaks just that one."""

from datetime import timedelta

import pytest

from chrono_async import JobRecord, Misfire, Overlap, Recovery
from chrono_async.models import Definition, JobStatus
from chrono_async.policies import Missed, Policies

from .checker import LEASING, Rule, check
from .history import (
    START,
    Advanced,
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
    Traits,
)
from .rules_of_time import Target, unmatched

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


def claimed(at, token=1, *, fire=10, who="a1", attempt=1, manual=False, until=None, revision=1, moves=False):
    until = at + 6 if until is None else until
    return Claimed(
        at, who, "j", wall(fire), token, attempt, manual, wall(fire), revision, moves, False, wall(at), until
    )


def began(at, token=1, *, fire=10, who="a1", number=1, stubborn=0.0, manual=False):
    return Began(at, who, "j", wall(fire), token, 1, manual, stubborn, None, number)


def ended(at, token=1, *, who="a1", number=1):
    return Ended(at, who, "j", token, "returned", number)


def settled(at, token=1, *, fire=10, who="a1", verdict="done", status="completed", missed=None, manual=False):
    return Settled(at, who, "j", token, wall(fire), manual, verdict, status, missed, None, 1, "")


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
    "records_are_well_formed": [*BEGINNING, seen(1, owner="a/1")],
    "all_is_well_in_the_end": [*BEGINNING],
    "peace_is_punctual": [BORN, CREATED, seen(1, next_run=70, options=Policies(misfire=Misfire.FIRE_ALL))],
    "nobody_spins": [*BEGINNING, *[Called(5 + n / 1000, "a1", "due") for n in range(100)]],
    "the_engine_has_no_defects": [*BEGINNING, Defect(1, "a service failed")],
    "repeats_have_a_reason": [*BEGINNING, *RUN, claimed(12, 2)],
    "no_lease_runs_out_by_itself": [*BEGINNING, claimed(10)],
    "a_removed_job_ends_its_body": [
        *BEGINNING, claimed(10, until=30), began(10), changed(11, "delete_job"), Seen(11, "j", "delete_job", None),
        ended(15),
    ],
    "tokens_grow": [*BEGINNING, claimed(10, 5), claimed(17, 4)],
    "leases_exclude_each_other": [*BEGINNING, claimed(10), claimed(13, 2)],
    "stale_words_are_refused": [*BEGINNING, claimed(10), claimed(17, 2), settled(18, 1)],
    "only_what_was_written_is_repeated": [*BEGINNING, claimed(10), settled(11, verdict="repeated")],
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
    "one_shots_run_once": [
        BORN, CREATED, seen(0, "register", bound=ONCE), claimed(10), settled(11),
        seen(11, bound=ONCE, next_run=20, runs=1),
    ],
    "joining_changes_nothing": [*BEGINNING, changed(1, "register", "joined"), seen(1, "register", next_run=20)],
    "no_fire_time_gets_lost": [*BEGINNING, claimed(10), settled(11), seen(11, next_run=40, runs=1)],
    "take_over_is_prompt": [
        Lived(0, "a1", "born"), CREATED, seen(0, "register"), claimed(10, who="b1"), Lived(12, "b1", "died"),
    ],
}  # fmt: skip
"""For each rule a history that breaks it."""


def history_of(events: list[Event]) -> History:
    history = History(6, 2, 2, storm_ends=30, judged_from=60, ended=90)
    history.traits = {"j": Traits(is_short=True)}
    history.events = list(events)
    return history


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_sees_its_breach(rule: Rule) -> None:
    """A rule that sees nothing would hold in every history."""
    assert list(rule(history_of(BREACHES[rule.__name__])))


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


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_clock_that_was_set_long_ago_excuses_nothing(rule: Rule) -> None:
    """Or a storage whose clock is set once would never be judged again."""
    once = [Stepped(0.1, 20), Stepped(0.2, 0)]
    assert list(rule(history_of([*once, *BREACHES[rule.__name__]])))


FROZEN = Fault(11, 17, "a1", "frozen")
AHEAD, BACK = Stepped(12, 3600), [Stepped(1, 20), Stepped(2, 0)]
AGAIN = [changed(12, "resume"), seen(12, "resume", next_run=10, runs=1, token=1, settled_token=1)]
EXCUSED: dict[str, list[Event]] = {
    "bodies_keep_apart": [
        *BEGINNING, claimed(10), began(10), FROZEN, claimed(16, 2), began(16, 2, number=2), ended(17),
    ],
    "a_body_ends_before_its_lease": [*BEGINNING, claimed(10), began(10), FROZEN, ended(17.1)],
    "no_lease_runs_out_by_itself": [*BEGINNING, claimed(10), Fault(9, 30, "", "outage")],
    "repeats_have_a_reason": [*BEGINNING, claimed(10), Released(11, "a1", "j", 1, True), claimed(12, 2)],
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
    "nothing_is_claimed_early by hand": [*BEGINNING, claimed(9.9, manual=True)],
    "leases_exclude_each_other unless the clock is set": [*BEGINNING, claimed(10), AHEAD, claimed(13, 2)],
    "repeats_have_a_reason unless the clock is set": [*BEGINNING, claimed(10), AHEAD, claimed(13, 2)],
    "bodies_keep_apart unless the clock is set": [
        *BEGINNING, claimed(10), began(10), AHEAD, claimed(13, 2), began(13, 2, number=2), ended(14),
    ],
    "no_lease_runs_out_by_itself unless the clock is set": [*BEGINNING, claimed(10), AHEAD],
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
        *BEGINNING, claimed(2e5, fire=2e5), settled(2e5, fire=2e5, missed=Missed(10_000, wall(10), wall(20))),
        seen(2e5, next_run=200_010, runs=1),
    ],
}  # fmt: skip
"""Histories that look like a breach, and are none, or an excused one."""


@pytest.mark.parametrize("name", EXCUSED)
def test_what_is_excused_is_no_breach(name: str) -> None:
    """Each excuse is as narrow as its rule says, and no narrower."""
    assert list(RULES[name.split(maxsplit=1)[0]](history_of(EXCUSED[name]))) == []


def test_targets_are_matched_with_the_earliest_end_first() -> None:
    """A run in the overlap of two targets serves the one that ends first, so that a later run can serve the other."""
    early, late = Target(wall(0), wall(2)), Target(wall(1), wall(5))
    assert unmatched([late, early], [wall(1.5), wall(4)]) == []
    assert unmatched([late, early], [wall(4), wall(4.5)]) == [early]
