"""
Run campaigns: `python -m tests.chaos [--storage postgres] [--seconds 60] [--seed N] [--clock]`.

Without `--storage` there is one on each. With `--clock` the server's clock is set about as well. What is wrong is
printed, and the folder with the log kept: `--again FOLDER` judges it once more.
"""

import argparse
import random
import shutil
import sys
from collections import Counter
from pathlib import Path

from tests.simulation.checker import report as told

from .campaign import Plan, Report, judged, run
from .clock import compiler
from .sometimes import seen_in, wanted_of

STORAGES = ("file", "sqlite", "postgres", "redis")


def campaign(plan: Plan) -> bool:
    """Run one, say what came of it, and whether all is well; if so its folder is removed."""
    report = run(plan)
    is_well = _tell(report)
    if is_well:
        shutil.rmtree(report.folder)
    else:
        _say(f"  the log is in {report.folder}: judge it again with --again")
    return is_well


def _tell(report: Report) -> bool:
    """Say what was seen and what is wrong; return whether all is well."""
    plan, history, wanted, seen = report.plan, report.history, wanted_of(report.plan), seen_in(report)
    kinds = Counter(type(event).__name__ for event in history.events)
    _say(f"{plan.storage}, seed {plan.seed}: {report.story.ops} calls and looks, {report.story.unanswered} unanswered")
    _say(f"  {dict(kinds)}; answers lost: {report.lost_answers}")
    for name in sorted(wanted | seen):
        _say(f"  {'seen' if name in seen else 'NOT SEEN'}: {name}{' (required)' if name in wanted else ''}")
    if report.verdicts:
        _say(told(plan.seed, history, report.verdicts))
        _say(f"  {dict(Counter(verdict.rule for verdict in report.verdicts))}")
    return not report.verdicts and wanted <= seen


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Return how many campaigns have found something."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--storage", choices=STORAGES, action="append", help="on which; all, unless given")
    parser.add_argument("--seconds", type=float, default=60, help="of faults")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="what decides the faults")
    parser.add_argument("--clock", action="store_true", help="set the server's clock, too")
    parser.add_argument("--again", type=Path, metavar="FOLDER", help="run nothing: judge the log that lies there")
    options = parser.parse_args()
    if options.again is not None:
        return not _tell(judged(options.again))
    has_clock = options.clock and compiler() is not None
    if options.clock and not has_clock:
        _say("there is no C compiler here: no clock is set")
    failed = 0
    for storage in options.storage or STORAGES:
        steps = has_clock and storage in {"postgres", "redis"}
        failed += not campaign(Plan(storage, options.seconds, 6, options.seed, steps_clock=steps))
    return failed


__all__ = ["Report", "main"]

if __name__ == "__main__":
    sys.exit(main())
