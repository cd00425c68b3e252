"""
Whole numbers, as users give them.
"""

from .errors import InvalidOptionError


def to_count(value: object, option: str, *, least: int = 0) -> int:
    """Return a whole number that is not below `least`; `InvalidOptionError`, naming `option`, for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidOptionError(option, value, f"must be a whole number of {least} or more")
    return value
