"""
What is to be seen in a long campaign, lest the rules hold because nothing ever puts them to the test.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from tests.simulation.history import Lived
from tests.simulation.sometimes import SOMETIMES as IN_SIMULATIONS

if TYPE_CHECKING:
    from .campaign import Report

_TAKEN, _STALE, _DRAINED, _LOST = "a run is taken over", "a stale settle is refused", "drained", "an answer is lost"
_ALWAYS = {_TAKEN, _DRAINED, "a process dies"}

SOMETIMES: Mapping[str, AbstractSet[str]] = {
    "file": _ALWAYS,
    "sqlite": _ALWAYS,
    "postgres": _ALWAYS | {_LOST},
    "redis": _ALWAYS | {_LOST},
}
"""By storage."""


def seen_in(report: "Report") -> set[str]:
    """Return what was seen."""
    history = report.history
    seen = {name for name, is_seen in IN_SIMULATIONS.items() if name != "an overlap is excused" and is_seen(history)}
    if any(life.what == "stopped" and life.who.startswith("a") for life in history.of(Lived)):
        seen.add(_DRAINED)
    if report.lost_answers:
        seen.add(_LOST)
    return seen
