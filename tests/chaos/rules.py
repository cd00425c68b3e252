"""
Which rules hold in a campaign: the simulation's, as far as processes can be judged by them.
"""

from collections.abc import Sequence

from tests.simulation import rules_of_bodies as bodies
from tests.simulation import rules_of_storage as storage
from tests.simulation import rules_of_time as time
from tests.simulation.checker import LEASING, Rule

RULES: Sequence[Rule] = LEASING

_BY_TRUE_TIME = {
    bodies.bodies_keep_apart,
    bodies.a_body_ends_before_its_lease,
    bodies.repeats_have_a_reason,
    bodies.no_lease_runs_out_by_itself,
    storage.leases_exclude_each_other,
    time.peace_is_punctual,
    time.take_over_is_prompt,
}
RULES_OF_STEPPED_CLOCKS: Sequence[Rule] = [rule for rule in RULES if rule not in _BY_TRUE_TIME]
"""While its clock is set about, a storage can't keep leases apart; tokens, outcomes and counters hold all the same."""
