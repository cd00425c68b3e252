"""
Which rules hold in which kind of world.
"""

from collections.abc import Mapping, Sequence

from .checker import EVERYWHERE, LEASING, Rule

RULES: Mapping[bool, Sequence[Rule]] = {False: LEASING, True: EVERYWHERE}
"""By whether the storage has only the eight methods."""
