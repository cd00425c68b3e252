"""
Simulate as many worlds as one likes: `python -m tests.simulation --seeds 10000 [--from 0] [--eight-methods]`.
"""

import argparse
import os
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from .checker import check, report
from .world import simulate
from .worlds import RULES, is_of_rows


def judge(seed: int, *, eight_methods: bool) -> tuple[int, list[str], str]:
    """Let one world live; return the names of the rules that it broke, and the report."""
    on_rows = is_of_rows(seed, eight_methods=eight_methods)
    history = simulate(seed, eight_methods=eight_methods, on_rows=on_rows)
    verdicts = check(history, RULES[eight_methods])
    return seed, sorted({v.rule for v in verdicts}), report(seed, history, verdicts) if verdicts else ""


def main() -> int:
    """Print what is wrong; the number of failing seeds, 100 at the most, is the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="how many")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first one")
    parser.add_argument("--eight-methods", action="store_true", help="on a storage that has only these")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="processes to use")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.seeds)
    broken: Counter[str] = Counter()
    failing = 0
    with ProcessPoolExecutor(options.jobs) as pool:
        work = partial(judge, eight_methods=options.eight_methods)
        for _, rules, text in pool.map(work, seeds, chunksize=8):
            broken.update(rules)
            failing += bool(rules)
            if rules:
                sys.stdout.write(text + "\n")
    sys.stdout.write(f"{len(seeds)} worlds, {failing} of them with a broken rule: {dict(broken)}\n")
    return min(failing, 100)


if __name__ == "__main__":
    sys.exit(main())
