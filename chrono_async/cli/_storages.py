"""
The command `migrate`, and how commands reach a user's storage.

A storage that cannot be reached, or is none, is one line on stderr: exit code 1 for what failed, 2 for what was asked
wrongly.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Protocol, runtime_checkable

import typer

from chrono_async import ChronoError, InvalidOptionError, StorageError
from chrono_async.storage import open_storage

Url = Annotated[str, typer.Argument(metavar="URL", help="The storage, such as postgresql://host/db or sqlite:jobs.db.")]
Namespace = Annotated[str | None, typer.Option(metavar="NAME", help="What the names of its tables begin with.")]


@runtime_checkable
class HasTables(Protocol):
    """A storage in a database: its driver may not be installed, so that it cannot be asked for by name."""

    async def migrate(self) -> None:
        """Make the tables, or bring them up to date."""


@runtime_checkable
class HasFile(Protocol):
    """A storage in a file."""

    path: Path


def migrate(url: Url, namespace: Namespace = None) -> None:
    """Make the tables that a storage needs, or bring them up to date."""
    with failure_in_one_line():
        asyncio.run(_migrate(url, namespace))


async def _migrate(url: str, namespace: str | None) -> None:
    storage = open_storage(url, namespace=namespace)
    try:
        if isinstance(storage, HasTables):
            await storage.migrate()
            typer.echo(f"the tables {namespace or 'chrono'}_* are there, and up to date")
        else:
            typer.echo(f"{type(storage).__name__} has no tables: there is nothing to do")
    finally:
        await storage.close()


def check_file(storage: object) -> None:
    """Refuse a file that is not there: who looks after jobs has mistyped it, and it would be made."""
    if isinstance(storage, HasFile) and not storage.path.exists():
        raise StorageError(f"{storage.path}: there is no such file")


@contextmanager
def failure_in_one_line() -> Iterator[None]:
    """Turn what is wrong with a storage, or with its being asked for, into one line and an exit code."""
    logging.getLogger("chrono_async").addHandler(logging.NullHandler())  # or its warnings were lines of their own
    try:
        yield
    except (ChronoError, ModuleNotFoundError) as error:
        typer.echo(f"chrono-async: {error}", err=True)
        raise typer.Exit(2 if isinstance(error, InvalidOptionError) else 1) from None
