"""
What memory's numbers and moments are called by a storage that runs beside it on a clock of its own.

Tokens, revisions and the moments that a storage reads off its clock are no other storage's. What counts is that each
keeps to its own, that numbers grow for the one as for the other, and that the moments are about the same.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

_NUMBERS = {"token": "token", "settled_token": "token", "revision": "revision"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_Leaf = Callable[[str, str, Any], Any]


class Translation:
    """
    From memory's answers to those of the storage, and from what memory is asked to what the storage is.

    Moments may be apart by `tolerance`; with none, numbers must be the same, too. Those from before `since`, which the
    storage keeps of jobs that are gone, are as good as none: a new memory has none.
    """

    def __init__(self, tolerance: timedelta, since: datetime) -> None:
        self._tolerance = tolerance
        self._least = (since - _EPOCH) // timedelta(microseconds=1)
        self._numbers: dict[tuple[str, str], dict[int, int]] = defaultdict(lambda: {0: 0})
        self._moments: dict[tuple[str, datetime | timedelta], datetime | timedelta] = {}

    def told(self, ours: Any, theirs: Any) -> Any:
        """Return the storage's answer in memory's terms, as far as it is to the same as memory's; and remember them."""
        if theirs == ours and not self._tolerance:
            return theirs  # there is nothing to remember
        theirs = _mapped(theirs, self._recent)
        wanted = _leaves(ours)
        if not self._tolerance or [leaf[:2] for leaf in wanted] != [leaf[:2] for leaf in _leaves(theirs)]:
            return theirs
        in_turn = iter(wanted)
        return _mapped(theirs, lambda job_id, name, their: self._ours(job_id, name, next(in_turn)[2], their))

    def _recent(self, _: str, name: str, value: Any) -> Any:
        return 0 if name in _NUMBERS and value < self._least else value

    def _ours(self, job_id: str, name: str, our: Any, their: Any) -> Any:
        if type(our) is not type(their):
            return their
        if name in _NUMBERS:
            return our if self._is_same_number(self._numbers[job_id, _NUMBERS[name]], our, their) else their
        if not isinstance(our, datetime | timedelta) or abs(our - their) > self._tolerance:
            return their
        self._moments[job_id, our] = their
        return our

    def _is_same_number(self, known: dict[int, int], our: int, their: int) -> bool:
        """Whether it is the one that stands for memory's; a new one does if it is greater where memory's is."""
        if our not in known and all((our < other) is (their < known[other]) for other in known):
            known[our] = their
        return known.get(our) == their

    def of(self, value: Any) -> Any:
        """Return what memory is asked in the storage's own numbers and moments."""
        return _mapped(value, self._leaf) if self._tolerance else value

    def _leaf(self, job_id: str, name: str, value: Any) -> Any:
        if name in _NUMBERS:
            return self._numbers[job_id, _NUMBERS[name]].get(value, value)
        if isinstance(value, datetime | timedelta):
            return self._moments.get((job_id, value)) or self._moments.get(("", value), value)
        return value


def _leaves(value: Any) -> list[tuple[str, str, Any]]:
    """Return what a value is made of, each with the job that it is of and the name of its field."""
    found: list[tuple[str, str, Any]] = []

    def note(job_id: str, name: str, leaf: Any) -> Any:
        found.append((job_id, name, leaf))
        return leaf

    _mapped(value, note)
    return found


def _mapped(value: Any, leaf: _Leaf, job_id: str = "", name: str = "") -> Any:
    """Return a value of the same kind, made of what `leaf` makes of its parts."""
    if isinstance(value, dict):
        return {key: _mapped(part, leaf, job_id, str(key)) for key, part in value.items()}
    if isinstance(value, list):
        return [_mapped(part, leaf, job_id, name) for part in value]
    if isinstance(value, tuple):
        return _mapped_tuple(value, leaf, _job_of(value) or job_id, name)
    if is_dataclass(value) and not isinstance(value, type):
        own = _job_of(value) or job_id
        parts = {f.name: _mapped(getattr(value, f.name), leaf, own, f.name) for f in fields(value)}
        return type(value)(**parts)
    return leaf(job_id, name, value)


def _mapped_tuple(value: tuple[Any, ...], leaf: _Leaf, job_id: str, name: str) -> tuple[Any, ...]:
    names: Iterable[str] | None = getattr(value, "_fields", None)
    if names is None:
        return tuple(_mapped(part, leaf, job_id, name) for part in value)
    return type(value)(*(_mapped(part, leaf, job_id, field) for field, part in zip(names, value, strict=True)))


def _job_of(value: Any) -> str:
    """Return the id of the job that a value is of, as far as it says so itself; or nothing."""
    lease = getattr(value, "lease", None)
    found = getattr(value, "job_id", None) or getattr(lease, "job_id", None) or getattr(value, "id", None)
    return found if isinstance(found, str) else ""
