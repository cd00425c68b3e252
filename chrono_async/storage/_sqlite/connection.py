"""
A connection that remembers the rows that it has read and written, for as long as nobody else writes.

Mostly one process has the file to itself for a while: then what it has claimed needs not be read again to be settled.
"""

import sqlite3
from typing import Any, NamedTuple

from .._ledger.rows import JobRow

_MOST = 5_000
"""How many rows are remembered: a few megabytes."""


class Remembered(NamedTuple):
    """A job's row, and its number in the table."""

    number: int
    row: JobRow


class Connection(sqlite3.Connection):
    """One that is used by one thread at a time, and for the tables of one namespace."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._jobs: dict[str, Remembered] = {}
        self._version: object = None

    def remembered(self) -> dict[str, Remembered]:
        """Return the rows as they stand. To be asked within a transaction, and to be told of what it writes."""
        version = self.execute(
            "PRAGMA data_version"
        ).fetchone()  # another one as soon as another connection has written
        if version != self._version or len(self._jobs) > _MOST:
            self._jobs.clear()
            self._version = version
        return self._jobs

    def forget(self) -> None:
        """Remember nothing: something that was written has been undone."""
        self._jobs.clear()
