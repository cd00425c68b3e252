"""
A connection that remembers the jobs that it has read and written, for as long as nobody else writes.

Mostly one process has the file to itself for a while: then what it has claimed needs not be read again to be settled.
"""

import sqlite3
from typing import Any

from .._ledger.memory import Memory
from .._ledger.rows import JobRow


class Connection(sqlite3.Connection):
    """One that is used by one thread at a time, and for the tables of one namespace."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._memory = Memory[JobRow]()
        self._version: object = None

    def remembered(self) -> Memory[JobRow]:
        """Return the jobs as they stand. To be asked within a transaction, and to be told of what it writes."""
        # It is another one as soon as another connection has written.
        version = self.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self._memory.clear()
            self._version = version
        return self._memory

    def forget(self) -> None:
        """Remember nothing: something that was written has been undone."""
        self._memory.clear()
