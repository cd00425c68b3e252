"""
The commands that look after the jobs of a storage: `jobs`, `runs`, `pause`, `resume`, `trigger` and `remove`.

They work beside the service, as one more process that shares its storage and has none of its functions.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from chrono_async import AsyncScheduler, InvalidOptionError, JobInfo, RunRecord
from chrono_async.storage import open_storage

from ._storages import Namespace, Url, check_file, failure_in_one_line

T = TypeVar("T")

Fields = dict[str, object]
"""A row of an answer, by the names of its columns."""

_OF_JOBS = ("id", "schedule", "status", "paused", "next run", "runs", "errors")
_OF_RUNS = ("job", "fire time", "status", "attempt", "started", "error")

_WIDEST = 80
"""So many characters of a text are shown in a table, of its first line; JSON has all."""

Id = Annotated[str, typer.Argument(metavar="ID", help="The job's id.")]
AnyId = Annotated[str | None, typer.Argument(metavar="ID", help="The job's id; all jobs without it.")]
Count = Annotated[int, typer.Option("-n", "--count", min=1, max=10_000, help="How many rows to show.")]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
Args = Annotated[str | None, typer.Option("--args", metavar="JSON", help="Arguments of this run, such as '[5]'.")]
Kwargs = Annotated[str | None, typer.Option("--kwargs", metavar="JSON", help="""Keywords, such as '{"days": 5}'.""")]


def jobs(url: Url, namespace: Namespace = None, as_json: AsJson = False) -> None:  # noqa: FBT002  # a flag
    """Show the jobs of a storage."""
    found = _ask(url, namespace, lambda s: s.list_jobs())
    _show([_job_fields(job) for job in found], None if as_json else _OF_JOBS)


def runs(
    url: Url,
    job_id: AnyId = None,
    count: Count = 20,
    namespace: Namespace = None,
    as_json: AsJson = False,  # noqa: FBT002  # a flag of the command line
) -> None:
    """Show the latest runs, the newest first."""
    found = _ask(url, namespace, lambda s: s.list_runs(job_id, limit=count))
    _show([_run_fields(run) for run in found], None if as_json else _OF_RUNS)


def pause(url: Url, job_id: Id, namespace: Namespace = None) -> None:
    """Let a job run no more until it is resumed."""
    _ask(url, namespace, lambda s: s.pause_job(job_id))
    typer.echo(f"job {job_id!r} is paused")


def resume(url: Url, job_id: Id, namespace: Namespace = None) -> None:
    """Let a paused job run again, from now on."""
    job = _ask(url, namespace, lambda s: s.resume_job(job_id))
    typer.echo(f"job {job_id!r} runs next {_text(job.next_run) or 'never'}")


def trigger(url: Url, job_id: Id, args: Args = None, kwargs: Kwargs = None, namespace: Namespace = None) -> None:
    """Ask for one run of a job now, by whoever has its function."""
    with failure_in_one_line():
        given = {"args": _read(args, "--args"), "kwargs": _read(kwargs, "--kwargs")}
    typer.echo(_ask(url, namespace, lambda s: s.trigger_job(job_id, **given)))


def remove(url: Url, job_id: Id, namespace: Namespace = None) -> None:
    """Forget a job everywhere, and cancel its run."""
    _ask(url, namespace, lambda s: s.remove_job(job_id))
    typer.echo(f"job {job_id!r} is removed")


def _ask(url: str, namespace: str | None, question: Callable[[AsyncScheduler], Awaitable[T]]) -> T:
    """Ask a scheduler on this storage that is not started: it runs nothing."""

    async def ask() -> T:
        storage = open_storage(url, namespace=namespace)
        try:
            check_file(storage)
            return await question(AsyncScheduler(storage=storage))
        finally:
            await storage.close()

    with failure_in_one_line():
        return asyncio.run(ask())


def _read(text: str | None, option: str) -> Any:
    try:
        return None if text is None else json.loads(text)
    except ValueError as error:
        raise InvalidOptionError(option, text, f"must be JSON: {error}") from None


def _job_fields(job: JobInfo) -> Fields:
    return {
        "id": job.id,
        "name": job.name,
        "schedule": None if job.schedule is None else str(job.schedule),
        "status": job.status.value,
        "paused": job.paused,
        "next run": job.next_run,
        "last run": job.last_run,
        "runs": job.run_count,
        "errors": job.error_count,
        "last error": job.last_error,
        "instance": job.instance_id,
    }


def _run_fields(run: RunRecord) -> Fields:
    return {
        "job": run.job_id,
        "fire time": run.fire_time,
        "status": run.status.value,
        "manual": run.manual,
        "attempt": run.attempt,
        "retries": run.retry_count,
        "started": run.started,
        "finished": run.finished,
        "instance": run.instance_id,
        "error": run.error,
    }


def _show(rows: Sequence[Fields], columns: Sequence[str] | None) -> None:
    """Print these columns as a table, in UTC; without any, all there is as JSON."""
    if columns is None:
        typer.echo(json.dumps([_for_programs(row) for row in rows], indent=2))
    elif rows:
        table = Table(*columns)
        for row in rows:
            table.add_row(*(Text(_text(row[name])) for name in columns))  # what users wrote is no markup
        Console().print(table)
    else:
        typer.echo("there are none")


def _for_programs(row: Fields) -> Fields:
    return {
        name.replace(" ", "_"): value.isoformat() if isinstance(value, datetime) else value
        for name, value in row.items()
    }


def _text(value: object) -> str:
    match value:
        case None | False | "":
            return ""
        case True:
            return "yes"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M:%S}"
        case _:
            return str(value).partition("\n")[0][:_WIDEST]
