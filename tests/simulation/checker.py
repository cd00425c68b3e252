"""
What must hold in every history, whatever went wrong: one pure function a rule.

Each yields the breaches that it finds. In which table the rules stand, and what their numbers are, docs/how-it-is-
proved.md says; what is excused, and why, each rule says itself.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from . import rules_of_bodies as bodies
from . import rules_of_fire_times as fire_times
from . import rules_of_liveness as liveness
from . import rules_of_outcomes as outcomes
from . import rules_of_policies as policies
from . import rules_of_storage as storage
from . import rules_of_time as time
from .breach import Breach
from .history import History

Rule = Callable[[History], Iterator[Breach]]

EVERYWHERE: Sequence[Rule] = (
    bodies.runs_belong_to_claims,
    bodies.fire_times_are_the_schedules,
    bodies.a_token_is_for_one_run,
    bodies.bodies_keep_apart,
    bodies.a_body_ends_before_its_lease,
    bodies.a_stopped_instance_is_silent,
    outcomes.outcomes_tell_what_bodies_did,
    outcomes.failures_are_tried_again,
    storage.nothing_is_claimed_early,
    time.all_is_well_in_the_end,
    time.peace_is_punctual,
    time.nobody_spins,
    time.the_engine_has_no_defects,
)
"""What the portable path promises too."""

LEASING: Sequence[Rule] = (
    *EVERYWHERE,
    bodies.at_most_once_is_begun_once,
    bodies.repeats_have_a_reason,
    bodies.no_lease_runs_out_by_itself,
    bodies.a_removed_job_ends_its_body,
    outcomes.poison_is_given_up,
    storage.records_are_well_formed,
    storage.tokens_grow,
    storage.leases_exclude_each_other,
    storage.stale_words_are_refused,
    storage.only_what_was_written_is_repeated,
    storage.what_was_written_is_known,
    storage.occurrences_are_settled_once,
    storage.counters_are_exact,
    storage.pausing_wins,
    storage.deleted_stays_deleted,
    storage.a_new_life_owes_nothing,
    storage.rescheduling_wins,
    storage.the_pointer_never_goes_back,
    storage.one_shots_run_once,
    storage.joining_changes_nothing,
    fire_times.no_fire_time_gets_lost,
    fire_times.what_is_set_begins_with_the_next,
    policies.misfires_follow_their_policy,
    policies.overlaps_follow_their_policy,
    time.take_over_is_prompt,
    liveness.what_is_due_is_claimed,
)
"""What a storage with the leasing verbs promises."""


class Verdict(NamedTuple):
    """A rule, and how it was broken."""

    rule: str
    breach: Breach


def check(history: History, rules: Sequence[Rule]) -> list[Verdict]:
    """Return all breaches, the earliest first."""
    found = [Verdict(rule.__name__, breach) for rule in rules for breach in rule(history)]
    return sorted(found, key=lambda verdict: verdict.breach.at)


def report(seed: int, history: History, verdicts: Sequence[Verdict]) -> str:
    """Say what was broken in the history of a seed, with the lines of the history that tell of it."""
    rules = sorted({verdict.rule for verdict in verdicts})
    first = verdicts[0]
    told = history.excerpt(first.breach.job, first.breach.at)
    head = f"seed {seed}: {', '.join(rules)}\n  {first.rule} at {first.breach.at:.4f} ({first.breach.job})"
    return "\n".join([f"{head}: {first.breach.text}", *(f"    {line}" for line in told[-60:])])
