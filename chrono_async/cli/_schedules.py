"""
The commands that look at cron expressions: `next` and `explain`.

Answers go to stdout, as a table or with `--json` for programs; an expression or zone that cannot be is one line on
stderr and exit code 2.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from chrono_async import CronSchedule, ScheduleError, SystemClock


class Dialect(StrEnum):
    """The dialects, as choices of an option."""

    STANDARD = "standard"
    EXTENDED = "extended"


Expression = Annotated[
    str, typer.Argument(metavar="EXPR", help="A cron expression, quoted, or a macro such as @daily.")
]
Zone = Annotated[str, typer.Option("--tz", metavar="ZONE", help="The IANA time zone to read it in.")]
Count = Annotated[int, typer.Option("-n", "--count", min=1, max=10_000, help="How many fire times to show.")]
DialectOption = Annotated[Dialect, typer.Option(help="The dialect to read it in.")]
Id = Annotated[str | None, typer.Option("--id", metavar="ID", help="The job's id, which H depends on.")]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]


def next_(
    expr: Expression,
    tz: Zone = "UTC",
    count: Count = 5,
    *,
    dialect: DialectOption = Dialect.STANDARD,
    job_id: Id = None,
    as_json: AsJson = False,
) -> None:
    """Show when an expression fires next."""
    with bad_input_in_one_line():
        times = fire_times(CronSchedule(expr, timezone=tz, dialect=dialect.value, spread=job_id), count)
    if as_json:
        typer.echo(json.dumps([time_forms(time) for time in times], indent=2))
    else:
        Console().print(times_table(times, tz))


def explain(
    expr: Expression,
    tz: Zone = "UTC",
    count: Count = 5,
    *,
    dialect: DialectOption = Dialect.STANDARD,
    job_id: Id = None,
    as_json: AsJson = False,
) -> None:
    """Say an expression in words, show its next fire times, and warn of what may surprise."""
    with bad_input_in_one_line():
        schedule = CronSchedule(expr, timezone=tz, dialect=dialect.value, spread=job_id)
        words, warnings = schedule.explain(), schedule.warnings(SystemClock().now())
    times = fire_times(schedule, count)
    if as_json:
        next_times = [time_forms(time) for time in times]
        typer.echo(json.dumps({"expr": expr, "words": words, "next": next_times, "warnings": warnings}, indent=2))
    else:
        print_explanation(words, times, tz, warnings)


def print_explanation(words: str, times: list[datetime], tz: str, warnings: list[str]) -> None:
    """Print the words, the table and the warnings; none of them is markup."""
    console = Console()
    console.print(words, markup=False, highlight=False, style="bold")
    console.print(times_table(times, tz))
    for warning in warnings:
        console.print(f"warning: {warning}", markup=False, highlight=False, style="yellow", soft_wrap=True)


@contextmanager
def bad_input_in_one_line() -> Iterator[None]:
    """Turn what is wrong with an expression into one line on stderr and exit code 2."""
    try:
        yield
    except ScheduleError as error:
        typer.echo(f"chrono-async: {error}", err=True)
        raise typer.Exit(2) from None


def fire_times(schedule: CronSchedule, count: int) -> list[datetime]:
    """Return the next fire times from now."""
    return list(islice(schedule.occurrences(SystemClock().now()), count))


def time_forms(time: datetime) -> dict[str, str]:
    """Return a fire time in its zone and in UTC."""
    return {"local": time.isoformat(), "utc": time.astimezone(UTC).isoformat()}


def times_table(times: list[datetime], tz: str) -> Table:
    """Return the fire times as a table; a zone that is UTC needs no second column."""
    table = Table("#", "day", tz, *([] if tz == "UTC" else ["UTC"]))
    for number, time in enumerate(times, 1):
        utc = [] if tz == "UTC" else [f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}"]
        table.add_row(str(number), f"{time:%a}", f"{time:%Y-%m-%d %H:%M:%S %Z}", *utc)
    return table
