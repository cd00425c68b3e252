"""
What is to be seen in a long campaign, lest the rules hold because nothing ever puts them to the test.
"""

from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from tests.simulation.history import Lived
from tests.simulation.sometimes import SOMETIMES as IN_SIMULATIONS

if TYPE_CHECKING:
    from .campaign import Plan, Report

_DRAINED, _LOST = "a process is drained", "an answer is lost"
_IN_HALF_A_MINUTE = frozenset({"a run is taken over", "a process dies", _DRAINED})
_IN_A_MINUTE = frozenset({"a stale settle is refused", "a job is paused during its run"})
_BY_A_SET_CLOCK = frozenset({"the storage's clock is set during a run"})


def wanted_of(plan: "Plan") -> AbstractSet[str]:
    """Return what must be seen in a campaign of that length, if anything can go wrong in it."""
    if plan.storm < 30 or plan.faults:
        return frozenset()
    wanted = set(_IN_HALF_A_MINUTE)
    if plan.storm >= 60:
        wanted |= _IN_A_MINUTE
    if plan.storage in {"postgres", "redis"}:
        wanted.add(_LOST)
    return wanted | _BY_A_SET_CLOCK if plan.steps_clock else wanted


def seen_in(report: "Report") -> set[str]:
    """Return what was seen."""
    history = report.history
    seen = {name for name, is_seen in IN_SIMULATIONS.items() if name != "an overlap is excused" and is_seen(history)}
    if any(life.what == "stopped" and life.who.startswith("a") for life in history.of(Lived)):
        seen.add(_DRAINED)
    if report.lost_answers:
        seen.add(_LOST)
    return seen
