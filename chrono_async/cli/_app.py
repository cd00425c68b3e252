"""
The commands, put together.
"""

from typing import Annotated

import typer

from chrono_async import __version__

from . import _demo, _jobs, _schedules, _storages

app = typer.Typer(
    name="chrono-async",
    help="Cron, interval and one-shot jobs for asyncio services.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("next")(_schedules.next_)
app.command("explain")(_schedules.explain)
app.command("demo")(_demo.demo)
app.command("migrate")(_storages.migrate)
for command in (_jobs.jobs, _jobs.runs, _jobs.pause, _jobs.resume, _jobs.trigger, _jobs.remove):
    app.command(command.__name__)(command)


def _say_version(asked: bool) -> None:  # noqa: FBT001  # a flag of the command line
    if asked:
        typer.echo(f"chrono-async {__version__}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", is_eager=True, callback=_say_version, help="Say the version.")]


@app.callback()
def options(version: Version = False) -> None:  # noqa: FBT002  # a flag of the command line
    """Take the options that belong to no command."""
    del version  # it has been said
