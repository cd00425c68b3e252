"""
A sorted multitude of `(when, job_id)`: which jobs have something to do, in the order in which they have it.

Short sorted lists in a row, rather than a heap: a page of a long backlog can be read from its middle, in order, without
taking everything before it out and putting it back.
"""

from bisect import bisect_left, bisect_right, insort
from datetime import datetime

Entry = tuple[datetime, str]

_LONGEST = 1000


class DueIndex:
    """Entries in order; adding and taking out cost about the same however many there are."""

    __slots__ = ("_lasts", "_parts")

    def __init__(self) -> None:
        self._parts: list[list[Entry]] = []
        self._lasts: list[Entry] = []

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def add(self, entry: Entry) -> None:
        """Put an entry in its place; one that is there already may come to stand twice."""
        parts, lasts = self._parts, self._lasts
        if not parts:
            parts.append([entry])
            lasts.append(entry)
            return
        at = min(bisect_left(lasts, entry), len(lasts) - 1)
        part = parts[at]
        insort(part, entry)
        lasts[at] = part[-1]
        if len(part) > _LONGEST:
            self._split(at)

    def _split(self, at: int) -> None:
        part = self._parts[at]
        self._parts.insert(at + 1, part[_LONGEST // 2 :])
        del part[_LONGEST // 2 :]
        self._lasts.insert(at, part[-1])

    def discard(self, entry: Entry) -> None:
        """Take one such entry out, if there is one."""
        at = bisect_left(self._lasts, entry)
        if at == len(self._lasts):
            return
        part = self._parts[at]
        place = bisect_left(part, entry)
        if part[place] != entry:
            return
        del part[place]
        if part:
            self._lasts[at] = part[-1]
        else:
            del self._parts[at], self._lasts[at]

    def chunk(self, until: datetime, after: Entry | None) -> list[Entry]:
        """Return the first of the entries later than `after` and before `until`, in order: some, if there are any."""
        at = 0 if after is None else bisect_right(self._lasts, after)
        if at == len(self._parts):
            return []
        part = self._parts[at]
        start = 0 if after is None else bisect_right(part, after)
        return part[start : bisect_left(part, (until, ""), start)]
