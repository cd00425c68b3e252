"""
The commands, put together.
"""

import typer

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
