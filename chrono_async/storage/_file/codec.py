"""
Between the bytes of a state file and a table: the file's format, and what is said where it cannot be read.
"""

from pathlib import Path

from ...errors import InvalidOptionError, StorageCorruptError
from .._boot import boot_id
from .._ledger.bounds import Bounds
from .._table.table import Table
from .._told import Told
from .documents import FORMATS, DamagedError, Format, Tree
from .state import UnreadableError, fill, tree_of


class Codec:
    """Reads and writes the file at `path` in its format."""

    def __init__(self, path: Path, file_format: Format, bounds: Bounds) -> None:
        self.format: Format = file_format
        self._path, self._bounds = path, bounds
        self._told = Told()

    def new_table(self) -> Table:
        """Return an empty table."""
        of_job, total, age = self._bounds
        return Table(history=of_job, total_history=total, history_age=age)

    def read(self, data: bytes) -> tuple[Table, list[Tree]]:
        """Return what the file's bytes say, and the jobs in it that cannot be read."""
        table = self.new_table()
        try:
            return table, fill(table, self.format.decode(data), boot_id(), self._told)
        except DamagedError as error:
            raise StorageCorruptError(self._damage(error.line, error.problem)) from error
        except UnreadableError as error:
            raise StorageCorruptError(self._damage(1, str(error))) from error

    def _damage(self, line: int, problem: str) -> str:
        return (
            f"{self._path}, line {line}: {problem}. The file is left as it is; put it right, or replace it with "
            f"{self._path}.bak, the state before the last change, or move it away to begin anew"
        )

    def write(self, table: Table, unreadable: list[Tree]) -> bytes:
        """Return the bytes that say what a table holds."""
        return self.format.encode(tree_of(table, boot_id(), unreadable, self.format.escaped))


_OF_SQLITE = {".db", ".sqlite", ".sqlite3"}


def format_of(path: Path) -> Format:
    """Return the format that the ending of a path says, or raise `InvalidOptionError`."""
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        advice = "; a SQLite file takes SQLiteStorage(path) or 'sqlite:<path>'" if path.suffix in _OF_SQLITE else ""
        problem = f"unsupported file type {path.suffix!r}: use one of {', '.join(FORMATS)}{advice}"
        raise InvalidOptionError("path", str(path), problem) from None
