"""
How long does a cron schedule take to answer when it fires next, and to be built, beside its peers?

Three questions over ten expressions, in microseconds, all in one process and in turns, so that a slow moment of the
machine hits everybody: `next` in a chain (each answer is the next question), building one from its text, and building
one with its first answer. Building ours includes pydantic's validation. cronsim is always there; croniter and
APScheduler take part where they are installed.

Run it with `python -m benchmarks.cron [repeats]`. A cell is the median of the repeats, and its spread their
interquartile range over that median; the last column compares medians, and the last rows are geometric means over
the cases.
"""

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, tzinfo
from functools import partial
from statistics import geometric_mean, median, quantiles
from time import perf_counter
from typing import NamedTuple
from zoneinfo import ZoneInfo

from cronsim import CronSim

from chrono_async import CronSchedule

from ._measure import machine, versions

START = datetime(2026, 1, 1, tzinfo=UTC)


class Case(NamedTuple):
    """One expression in one zone."""

    name: str
    expr: str
    zone: str = "UTC"

    @property
    def tz(self) -> tzinfo:
        return UTC if self.zone == "UTC" else ZoneInfo(self.zone)

    @property
    def start(self) -> datetime:
        return START.astimezone(self.tz)


CASES = [
    Case("every minute", "* * * * *"),
    Case("every 5 minutes", "*/5 * * * *"),
    Case("weekday mornings", "30 9 * * 1-5"),
    Case("new year", "0 0 1 1 *"),
    Case("29 February", "0 0 29 2 *"),
    Case("29 February or a Monday", "0 0 29 2 1"),
    Case("business hours", "*/15 9-17 * * 1-5"),
    Case("lists", "5,17,42 1,9,13,20 1,15 * *"),
    Case("London, daily at 1:30", "30 1 * * *", "Europe/London"),
    Case("London, every 5 minutes", "*/5 * * * *", "Europe/London"),
]

Step = Callable[[], object]


class Peer(NamedTuple):
    """How a library is built from a case, and how it is stepped along a chain."""

    build: Callable[[Case], object]
    chain: Callable[[Case], Step]


def stepper(first: datetime, follow: Callable[[datetime], datetime | None]) -> Step:
    """Return a function that asks for the next of the last answer."""
    reached = first

    def step() -> None:
        nonlocal reached
        reached = follow(reached) or first

    return step


def ours() -> Peer:
    def build(case: Case) -> CronSchedule:
        return CronSchedule(case.expr, timezone=case.zone)

    return Peer(build, lambda case: stepper(case.start, build(case).next))


def cronsim() -> Peer:
    def build(case: Case) -> CronSim:
        return CronSim(case.expr, case.start)

    return Peer(build, lambda case: build(case).__next__)


def croniter() -> Peer:
    from croniter import croniter as Croniter  # noqa: N812  # a class with a function's name

    def build(case: Case) -> Croniter:
        return Croniter(case.expr, case.start, ret_type=datetime)

    return Peer(build, lambda case: build(case).get_next)


def apscheduler() -> Peer:
    from apscheduler.triggers.cron import CronTrigger

    def build(case: Case) -> CronTrigger:
        return CronTrigger.from_crontab(case.expr, timezone=case.zone)

    def chain(case: Case) -> Step:
        trigger = build(case)
        return stepper(case.start, lambda reached: trigger.get_next_fire_time(reached, reached))

    return Peer(build, chain)


def peers() -> Iterator[tuple[str, Peer]]:
    """Yield us and those that are installed."""
    for name, make in (
        ("chrono_async", ours),
        ("cronsim", cronsim),
        ("croniter", croniter),
        ("APScheduler", apscheduler),
    ):
        try:
            yield name, make()
        except ImportError:
            print(f"{name} is not installed, and does not take part")


def questions(peer: Peer) -> dict[str, Callable[[Case], Step]]:
    """Return what is measured of a peer: its name, and what gives the step to be timed."""
    return {
        "next": peer.chain,
        "build": lambda case: partial(peer.build, case),
        "build and first next": lambda case: partial(first_next, peer, case),
    }


def first_next(peer: Peer, case: Case) -> object:
    return peer.chain(case)()


def microseconds(step: Step, times: int) -> float:
    began = perf_counter()
    for _ in range(times):
        step()
    return (perf_counter() - began) / times * 1e6


def measure(contestants: dict[str, Peer], question: str, repeats: int) -> dict[tuple[str, str], list[float]]:
    """Return the samples of each peer and case, taken in turns."""
    samples: dict[tuple[str, str], list[float]] = {}
    for case in CASES:
        steps = {name: questions(peer)[question](case) for name, peer in contestants.items()}
        for _ in range(repeats):
            for name, step in steps.items():
                samples.setdefault((name, case.name), []).append(microseconds(step, 200 if name != "croniter" else 30))
    return samples


def spread(values: list[float]) -> float:
    """Return the interquartile range over the median."""
    low, middle, high = quantiles(values, n=4)
    return (high - low) / middle


def report(question: str, names: list[str], samples: dict[tuple[str, str], list[float]]) -> None:
    print(f"\n{question}, microseconds (spread)")
    print(" " * 26 + "".join(f"{name:>22}" for name in names) + f"{'cronsim / ours':>18}")
    for case in CASES:
        cells = [
            f"{median(values):.2f} ({spread(values):.0%})" for name in names if (values := samples[name, case.name])
        ]
        ratio = median(samples["cronsim", case.name]) / median(samples["chrono_async", case.name])
        print(f"{case.name:26}" + "".join(f"{cell:>22}" for cell in cells) + f"{ratio:>18.1f}")
    for label, cases in (("UTC", CASES[:8]), ("with summer time", CASES[8:]), ("all", CASES)):
        means = {name: geometric_mean([median(samples[name, case.name]) for case in cases]) for name in names}
        cells = "".join(f"{means[name]:>22.2f}" for name in names)
        print(f"mean, {label:20}{cells}{means['cronsim'] / means['chrono_async']:>18.1f}")


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    contestants = dict(peers())
    packages = versions(["pydantic", "cronsim", "croniter", "apscheduler"])
    print(f"{machine()}, {repeats} repeats\n{packages}")
    for question in ("next", "build", "build and first next"):
        report(question, list(contestants), measure(contestants, question, repeats))


if __name__ == "__main__":
    main()
