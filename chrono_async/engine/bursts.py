"""
Who begins where in a burst: many jobs that are due at one instant, of which none has a right to be the first.

All instances know it in the same order. If all went through it so, each would ask for the same helping, and all but one
of them in vain.
"""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeVar
from zlib import crc32

from ..models import Due

Item = TypeVar("Item")

HELPING = 200
"""How many jobs are claimed at once, unless the storage wants it otherwise: so early runs of a burst are settled while
late ones are claimed."""


def in_turn(dues: list[Due], instances: Sequence[str], mine: str) -> list[Due]:
    """
    Return what is due in the order in which this instance should ask for it, one of those that share the burst.

    It begins with its own share, and then helps the next ones with theirs, from the far end. An instance that does not
    know of the others begins anywhere.
    """
    if len(dues) <= HELPING or dues[0].when != dues[-1].when:
        return dues
    if mine not in instances:
        return elsewhere(dues)
    shares: list[list[Due]] = [[] for _ in instances]
    for due in dues:
        shares[crc32(due.job_id.encode(errors="surrogatepass")) % len(shares)].append(due)
    own, *others = _from(sorted(instances).index(mine), shares)
    return own + [due for share in others for due in reversed(share)]


def is_burst(dues: Iterable[Due]) -> bool:
    """Whether more is due at one instant than is claimed at once."""
    return max(Counter(due.when for due in dues).values(), default=0) > HELPING


def elsewhere(items: Iterable[Item]) -> list[Item]:
    """Return the same, begun anywhere."""
    listed = list(items)
    return _from(random.randrange(len(listed)), listed) if listed else listed


def _from(start: int, items: list[Item]) -> list[Item]:
    return items[start:] + items[:start]
