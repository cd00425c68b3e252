"""Each rule is needed, and each break of one is seen: or the worlds in which all rules hold would prove nothing."""

import pytest

from .checker import check
from .mutants import MUTANTS, Mutant, seeds_until_noticed
from .world import simulate
from .worlds import RULES

SEEDS = range(120)
"""Within so many worlds a mutant must be noticed."""

SHOWN_BY = {
    "CANCEL_RUNNING cancels for a fire time of a paused job": 100,
    "trust counts from the answer": 57,
    "an unanswered settle is forgotten": 31,
    "an unanswered claim is forgotten": 56,
    "nobody looks again after the lock": 21,
    "who renews is who ends bodies": 16,
    "a repeated settle is counted again": 16,
    "nobody looks in the history for what was written": 16,
    "SKIP is FIRE_ONCE": 8,
}
"""Where to look first: the worlds that showed them when last somebody went through all."""


def _rules_broken(seed: int, mutant: Mutant) -> list[str]:
    history = simulate(seed, eight_methods=mutant.eight_methods, on_rows=mutant.on_rows)
    return [verdict.rule for verdict in check(history, RULES[mutant.eight_methods])]


@pytest.mark.long
@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_noticed(name: str) -> None:
    """By a rule that says what is wrong with it, within a bounded number of worlds."""
    seeds = sorted(SEEDS, key=lambda seed: seed != SHOWN_BY.get(name))
    assert seeds_until_noticed(MUTANTS[name], seeds, _rules_broken) is not None
