"""Each rule is needed, and each break of one is seen: or the worlds in which all rules hold would prove nothing."""

import pytest

from .checker import check
from .mutants import MUTANTS, seeds_until_noticed
from .world import simulate
from .worlds import RULES

SEEDS = range(60)
"""Within so many worlds a mutant must be noticed."""


def _rules_broken(seed: int, eight_methods: bool) -> list[str]:
    return [verdict.rule for verdict in check(simulate(seed, eight_methods=eight_methods), RULES[eight_methods])]


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_noticed(name: str) -> None:
    """By a rule that says what is wrong with it, within a bounded number of worlds."""
    assert seeds_until_noticed(MUTANTS[name], SEEDS, _rules_broken) is not None
