"""
The statements of a storage in PostgreSQL, for a namespace.

They stand in the `.sql` files beside this one, as they are for the namespace `chrono`, but for the columns, which
`_ledger.rows` names; a statement that writes is made for the columns that it writes.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ...errors import InvalidOptionError
from .._ledger.rows import COLUMNS, COUNTS, INSTANTS, RUN_COLUMNS, RUN_INSTANTS

DUE_COLUMNS = (
    "id", "due_at", "next_run", "revision", "claimed", "status", "options", "triggered", "manual", "flights"
)  # fmt: skip
"""What must be known of a job that comes due; with these a job that cannot be read is recognised, too."""

_FOLDER = Path(__file__).parent

STEPS = [(_FOLDER / "schema.sql").read_text("utf-8")]
"""Version n is what the first n of them make of no tables. One that was released is never changed: another follows."""

_NAMESPACE = re.compile(r"[a-z_][a-z0-9_]{0,39}")
_JOB_TYPES = {**dict.fromkeys(INSTANTS, "timestamptz"), **dict.fromkeys(COUNTS, "bigint"), "paused": "boolean"}
_RUN_TYPES = {
    **dict.fromkeys(RUN_INSTANTS, "timestamptz"),
    **dict.fromkeys(("attempt", "token", "retry_count", "missed_count"), "bigint"),
    "manual": "boolean",
}
"""Of the columns that are no texts."""

_NOW = "(extract(epoch FROM statement_timestamp()) * 1000000)::bigint"
"""In whole microseconds, as locks end. It is one value for a statement, so that an index helps."""


class Statements:
    """The statements by name, and the texts that a namespace stands for."""

    def __init__(self, namespace: str) -> None:
        self.namespace: str = _checked(namespace)
        self.steps: list[str] = [self._named(step) for step in STEPS]
        """What makes the tables and brings them up to date, as many as this version of the library has."""
        text = self._named((_FOLDER / "statements.sql").read_text("utf-8"))
        _, *parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)
        named = {name: part.replace("{now}", _NOW) for name, part in zip(parts[::2], parts[1::2], strict=True)}
        self._texts = {name: part if name == _WRITE else _filled(part, _about(COLUMNS)) for name, part in named.items()}

    def _named(self, text: str) -> str:
        return re.sub(r"\bchrono_(?=[a-z])", f"{self.namespace}_", text)

    def __getitem__(self, name: str) -> str:
        text = self._texts.get(name)
        if text is None:
            statement, *columns = name.split()
            text = self._texts[name] = _filled(self._texts[statement], _about(columns))
        return text


def _checked(namespace: object) -> str:
    if not isinstance(namespace, str) or not _NAMESPACE.fullmatch(namespace):
        problem = "must be up to 40 of a-z, 0-9 and _, and begin with none of 0-9"
        raise InvalidOptionError("namespace", namespace, problem)
    return namespace


def write(columns: Sequence[str]) -> str:
    """Return the name of the statement that writes these columns of jobs, among them the id and the lock."""
    return " ".join([_WRITE, *columns])


_WRITE = "write"


def _filled(text: str, about: Mapping[str, str]) -> str:
    for name, value in about.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _listed(columns: Iterable[str], table: str = "") -> str:
    return ", ".join(f"{table}{column}" for column in columns)


def _arrays(columns: Iterable[str], types: Mapping[str, str], *, first: int) -> str:
    return _listed(f"${at}::{types.get(column, 'text')}[]" for at, column in enumerate(columns, start=first))


_FIRST_COLUMN = 3  # after the versions that were read, and whether the row is to go


def _about(columns: Sequence[str]) -> Mapping[str, str]:
    """Return what stands for what in the texts, where a job has these columns."""
    first_of_run = _FIRST_COLUMN + len(columns)
    floors = first_of_run + len(RUN_COLUMNS)
    return {
        "columns": _listed(columns),
        "g.columns": _listed(columns, "g."),
        "j.columns": _listed(columns, "j."),
        "due_columns": _listed(DUE_COLUMNS),
        "assignments": _listed(f"{column} = g.{column}" for column in columns if column != "id"),
        "arrays": _arrays(columns, _JOB_TYPES, first=_FIRST_COLUMN),
        "run_columns": _listed(RUN_COLUMNS),
        "r.run_columns": _listed(RUN_COLUMNS, "r."),
        "run_arrays": _arrays(RUN_COLUMNS, _RUN_TYPES, first=first_of_run),
        "token_floor": f"${floors}::bigint",
        "revision_floor": f"${floors + 1}::bigint",
        "earliest": f"${floors + 2}::timestamptz",
        "latest": f"${floors + 3}::timestamptz",
    }
