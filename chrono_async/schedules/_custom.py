"""
What can be written down of a schedule that somebody else made.
"""

import re

# The address that a default repr ends in: another one in every process.
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def describe(schedule: object) -> dict[str, str]:
    """Return the name of the schedule's class, and what its `repr` says if the class has one of its own."""
    kind = type(schedule)
    described = {"kind": "custom", "type": f"{kind.__module__}:{kind.__qualname__}"}
    if kind.__repr__ is not object.__repr__:
        described["repr"] = _ADDRESS.sub("", repr(schedule))
    return described
