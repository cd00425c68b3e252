"""
How long does the import take, and how much does the base install bring along?

Each sample is the median over N fresh processes, from their start to their end, after one that leaves compiled bytecode
behind, as an installer does; bare imports asyncio and nothing else.
After the table: the distributions of the base install, and the packages that take the most of the import's time.
"""

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import requires
from importlib.util import find_spec
from statistics import median
from tempfile import TemporaryDirectory

from ._measure import Question, Sample

QUESTION = Question(
    "imports", __doc__, sizes=(5,), compared=dict.fromkeys(("CPU milliseconds", "milliseconds"), "bare"), repeats=5
)
_MODULES = {
    "bare": "asyncio",
    "chrono_async": "chrono_async",
    "APScheduler 3": "apscheduler.schedulers.asyncio",
    "aiocron": "aiocron",
    "taskiq": "taskiq",
}


def enter(name: str, module: str) -> None:
    @QUESTION.contestant(name)
    async def _(size: int) -> Sample:
        if find_spec(module.partition(".")[0]) is None:
            raise ImportError(module)
        with TemporaryDirectory() as bytecode:
            milliseconds(module, bytecode)
            walls, cpus = zip(*(milliseconds(module, bytecode) for _ in range(size)), strict=True)
        return {"milliseconds": median(walls), "CPU milliseconds": median(cpus), "imports": size}


for _name, _module in _MODULES.items():
    enter(_name, _module)


def milliseconds(module: str, bytecode: str) -> tuple[float, float]:
    """Return what importing takes in a fresh process, by the clock and of the processor."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    begun, before = time.perf_counter(), os.times()
    subprocess.run(
        [sys.executable, "-c", f"import {module}"], check=True, env={**environ, "PYTHONPYCACHEPREFIX": bytecode}
    )
    wall, after = time.perf_counter() - begun, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return wall * 1e3, cpu * 1e3


def distributions(name: str = "chrono-async") -> set[str]:
    """Return the distributions that the base install brings, with all that they need here."""
    from packaging.requirements import Requirement

    found, waiting = set[str](), {name}
    while waiting:
        found.add(one := waiting.pop())
        needed = (Requirement(text) for text in requires(one) or ())
        names = {
            need.name.lower().replace("_", "-")
            for need in needed
            if need.marker is None or need.marker.evaluate({"extra": ""})
        }
        waiting |= names - found
    return found


def heaviest(module: str = "chrono_async") -> Iterator[tuple[str, float]]:
    """Yield packages and the milliseconds that their own modules take, those that take the most first."""
    command = [sys.executable, "-X", "importtime", "-c", f"import {module}"]
    trace = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True).stderr
    weights = Counter[str]()
    for own, name in re.findall(r"import time:\s+(\d+) \|\s+\d+ \|\s+([\w.]+)", trace):
        weights[name.partition(".")[0]] += int(own)
    return ((name, microseconds / 1e3) for name, microseconds in weights.most_common(8))


if __name__ == "__main__":
    QUESTION.main()
    if "--one" not in sys.argv:
        brought = sorted(distributions())
        print(f"\n{len(brought)} distributions: {', '.join(brought)}")
        print("\nheaviest, in milliseconds:", ", ".join(f"{name} {weight:.1f}" for name, weight in heaviest()))
