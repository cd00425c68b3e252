"""
Real processes on real storages, for ten seconds each: killed, stopped, drained, cut off, and judged like a simulation.

`nox -s chaos` runs campaigns as long as one likes, with more that goes wrong; this is the short form.
"""

import os
from pathlib import Path

import pytest

from tests.simulation.checker import report as told

from .campaign import Plan, run

pytestmark = pytest.mark.long

PROCESSES = ("kill", "freeze", "drain", "add again")
SERVERS = ("kill", "lose", "freeze", "server", "drain", "add again")
SHORT = {"file": PROCESSES, "sqlite": PROCESSES, "postgres": SERVERS, "redis": SERVERS}


def _descendants() -> set[int]:
    """Return the processes whose parent is this one."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            found.add(int(stat.parent.name))
    return found


@pytest.mark.timeout(110)
@pytest.mark.parametrize("storage", SHORT)
def test_processes_that_die_freeze_and_stop_break_no_rule(storage: str, tmp_path: Path) -> None:
    """What a simulation cannot show: that a kernel's signals, files and sockets are as it takes them to be."""
    before = _descendants()
    report = run(Plan(storage, storm=5.5, calm=2.5, seed=7, faults=SHORT[storage]), tmp_path)
    assert not report.verdicts, told(7, report.history, report.verdicts)
    assert {"died", "stopping", "stopped"} <= {event.what for event in report.history.events if _is_life(event)}
    assert report.lost_answers or "lose" not in SHORT[storage]
    assert _descendants() <= before


def _is_life(event: object) -> bool:
    return type(event).__name__ == "Lived"
