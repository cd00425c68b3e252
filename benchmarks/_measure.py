"""
The stopwatch: contestants take turns, each sample in a process of its own, and the answer is a ratio with its spread.

A sample is what one contestant measured at one size. A ratio compares it with the base's sample of the same round, so
that a machine that is busy for a while is busy for both.
"""

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

Sample = dict[str, float]
Measure = Callable[[int], Awaitable[Sample]]


class Row(NamedTuple):
    """What a contestant measured at one size, a sample a round."""

    size: int
    name: str
    samples: list[Sample]
    ratios: list[float]


@dataclass(frozen=True)
class Contestant:
    """Somebody who is measured, in sizes up to `most`."""

    name: str
    measure: Measure
    most: int
    python: str
    """The variable of the environment that names another interpreter, for a package that cannot share ours."""


class Question:
    """The contestants, the sizes, and the figure that decides; `base` is the contestant that all are compared with."""

    def __init__(
        self, name: str, text: str | None, *, sizes: Sequence[int], figure: str, base: str = "bare", repeats: int = 5
    ) -> None:
        self.name, self.sizes, self.figure, self.base, self.repeats = name, tuple(sizes), figure, base, repeats
        self.text = (text or "").strip()
        self.contestants: dict[str, Contestant] = {}

    def contestant(self, name: str, *, most: int = sys.maxsize, python: str = "") -> Callable[[Measure], Measure]:
        """Let a coroutine function compete: it takes a size and returns a sample."""

        def enter(measure: Measure) -> Measure:
            self.contestants[name] = Contestant(name, measure, most, python)
            return measure

        return enter

    def sample(self, name: str, size: int) -> Sample:
        """Measure once, here."""
        return asyncio.run(_call(self.contestants[name].measure, size))

    def ask(self, sizes: Sequence[int], repeats: int) -> Iterator[Row]:
        """Measure all, at every size: A B C, A B C, and so on."""
        for size in sizes:
            rows: dict[str, list[Sample]] = {name: [] for name, c in self.contestants.items() if size <= c.most}
            for _ in range(repeats):
                for name, samples in rows.items():
                    sample = self._sample_apart(name, size)
                    if sample is not None:
                        samples.append(sample)
            base = [sample[self.figure] for sample in rows.get(self.base, [])]
            for name, samples in rows.items():
                ratios = [s[self.figure] / b for s, b in zip(samples, base, strict=False) if b]
                if samples:
                    yield Row(size, name, samples, ratios)

    def _sample_apart(self, name: str, size: int) -> Sample | None:
        """Measure once in a fresh process; None if the contestant is not installed."""
        python = os.environ.get(self.contestants[name].python, sys.executable)
        command = [python, "-m", f"benchmarks.{self.name}", "--one", name, "--sizes", str(size)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        answer: Sample | None = json.loads(done.stdout.splitlines()[-1])
        return answer

    def main(self) -> None:
        """Answer on the command line."""
        parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{self.name}", description=self.text)
        parser.add_argument("--quick", action="store_true", help="the smallest size, twice")
        parser.add_argument("--sizes", type=int, nargs="+", default=self.sizes)
        parser.add_argument("--repeats", type=int, default=self.repeats)
        parser.add_argument("--only", nargs="+", metavar="NAME", help="measure only these contestants")
        parser.add_argument("--one", metavar="NAME", help="measure this contestant once, here: for a profiler")
        parser.add_argument("--plot", type=Path, metavar="SVG", help="draw the answer")
        options = parser.parse_args()
        if options.one:
            print(json.dumps(self._sample_if_installed(options.one, options.sizes[0])))
            return
        if options.only:
            self.contestants = {name: c for name, c in self.contestants.items() if name in options.only}
        sizes, repeats = (options.sizes[:1], 2) if options.quick else (options.sizes, options.repeats)
        self._answer(sizes, repeats, options.plot)

    def _sample_if_installed(self, name: str, size: int) -> Sample | None:
        try:
            return self.sample(name, size)
        except ImportError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            return None

    def _answer(self, sizes: Sequence[int], repeats: int, plot: Path | None) -> None:
        print(f"{self.text}\n\n{machine()}, {repeats} rounds\n", flush=True)
        rows = []
        for row in self.ask(sizes, repeats):
            if not rows:
                print(heading(row, self.base))
            rows.append(row)
            print(line(row), flush=True)
        if plot is not None:
            from ._plot import draw

            draw(plot, self.text.splitlines()[0], self.figure, rows)


async def _call(measure: Measure, size: int) -> Sample:
    return await measure(size)


def machine() -> str:
    """Say where this was measured."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def heading(row: Row, base: str) -> str:
    """Return the head of a Markdown table that has rows like this one."""
    cells = ["size", "who", *row.samples[0], f"ratio to {base}", "spread"]
    return f"| {' | '.join(cells)} |\n|{'|'.join('--:' if cell != 'who' else '---' for cell in cells)}|"


def line(row: Row) -> str:
    """Return the row: medians of all figures, and the ratio's median, least and most."""
    figures = [_short(median(sample[figure] for sample in row.samples)) for figure in row.samples[0]]
    ratio = (_short(median(row.ratios)), f"{_short(min(row.ratios))} to {_short(max(row.ratios))}")
    return f"| {' | '.join([f'{row.size:,}', row.name, *figures, *(ratio if row.ratios else ('', ''))])} |"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
