"""
Which rules hold in which kind of world, and which seeds are worlds of which kind.
"""

from collections.abc import Mapping, Sequence

from .checker import EVERYWHERE, LEASING, Rule

RULES: Mapping[bool, Sequence[Rule]] = {False: LEASING, True: EVERYWHERE}
"""By whether the storage has only the eight methods."""


def is_of_rows(seed: int, *, eight_methods: bool) -> bool:
    """Whether the world of a seed is on rows, as on PostgreSQL or Redis: each third of those with the leasing verbs."""
    return not eight_methods and seed % 3 == 2
