"""
Run campaigns: `python -m tests.chaos [--storage postgres] [--seconds 60] [--seed N] [--clock]`.

Without `--storage` there is one on each. With `--clock` the server's clock is set about as well. What is wrong is
printed, and the folder with the log kept.
"""

import argparse
import random
import shutil
import sys
from collections import Counter

from tests.simulation.checker import report as told

from .campaign import Plan, Report, run
from .clock import compiler
from .sometimes import SOMETIMES, seen_in

STORAGES = ("file", "sqlite", "postgres", "redis")


def campaign(plan: Plan) -> bool:
    """Run one, say what came of it, and whether all is well."""
    report = run(plan)
    seen = seen_in(report)
    unseen = sorted(set(SOMETIMES[plan.storage]) - seen)
    kinds = Counter(type(event).__name__ for event in report.history.events)
    _say(f"{plan.storage}, seed {plan.seed}: {report.story.ops} calls and looks, {report.story.unanswered} unanswered")
    _say(f"  {dict(kinds)}; answers lost: {report.lost_answers}")
    _say(f"  seen: {', '.join(sorted(seen))}" + (f"; NOT SEEN: {', '.join(unseen)}" if unseen else ""))
    if report.verdicts:
        _say(told(plan.seed, report.history, report.verdicts))
        _say(f"  {dict(Counter(verdict.rule for verdict in report.verdicts))}; the log is in {report.folder}")
    else:
        shutil.rmtree(report.folder)
    return not report.verdicts and (not unseen or plan.storm < 30)


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
    options = parser.parse_args()
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
