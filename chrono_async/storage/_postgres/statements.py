"""
The statements of a storage in PostgreSQL, for a namespace.

They stand in the `.sql` files beside this one, as they are for the namespace `chrono`, but for the columns, which
`_ledger.rows` names. A statement that writes is made for the columns that it writes, each of which is given as an
array in text, with a value a row, or as the one value that all rows share.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
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
READ = ("was", "gone")
"""What is given of a job before its columns: its version when it was read, and whether it is to go."""
INSTANTS_GIVEN = INSTANTS | RUN_INSTANTS
"""The columns that are given in whole microseconds: a number costs the driver a tenth of what a moment does."""
JOB_TYPES = {**dict.fromkeys(("was", *COUNTS), "bigint"), **dict.fromkeys(("gone", "paused"), "boolean")}
RUN_TYPES = {
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
        self._writes = lru_cache(maxsize=256)(self._write)
        self._texts = {name: part if name == _WRITE else _filled(part, _about(COLUMNS)) for name, part in named.items()}

    def _named(self, text: str) -> str:
        return re.sub(r"\bchrono_(?=[a-z])", f"{self.namespace}_", text)

    def __getitem__(self, name: str) -> str:
        text = self._texts.get(name)
        if text is None:
            text = self._writes(name)
        return text

    def _write(self, name: str) -> str:
        return _filled(self._texts[_WRITE], _about_write(*_marks_in(name)))


def _checked(namespace: object) -> str:
    if not isinstance(namespace, str) or not _NAMESPACE.fullmatch(namespace):
        problem = "must be up to 40 of a-z, 0-9 and _, and begin with none of 0-9"
        raise InvalidOptionError("namespace", namespace, problem)
    return namespace


def write(jobs: Iterable[str], runs: Iterable[str]) -> str:
    """Return the name of the statement that writes these columns of jobs and of runs; `shared` has marked some."""
    return " ".join([_WRITE, *jobs, _RUNS, *runs])


def shared(column: str) -> str:
    """Mark a column whose value is given once, for all rows."""
    return column + _SHARED


def _marks_in(name: str) -> tuple[list[str], list[str]]:
    _, *marks = name.split()
    at = marks.index(_RUNS)
    return marks[:at], marks[at + 1 :]


_WRITE, _RUNS, _SHARED = "write", "+", "="


def _filled(text: str, about: Mapping[str, str]) -> str:
    for name, value in about.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _listed(columns: Iterable[str], table: str = "") -> str:
    return ", ".join(f"{table}{column}" for column in columns)


def _about(columns: Iterable[str]) -> Mapping[str, str]:
    """Return what stands for what in the texts, where a job has these columns."""
    columns = list(columns)
    return {
        "columns": _listed(columns),
        "g.columns": _listed(columns, "g."),
        "j.columns": _listed(columns, "j."),
        "due_columns": _listed(DUE_COLUMNS),
        "assignments": _listed(f"{column} = g.{column}" for column in columns if column != "id"),
        "run_columns": _listed(RUN_COLUMNS),
        "r.run_columns": _listed(RUN_COLUMNS, "r."),
    }


def _about_write(jobs: Sequence[str], runs: Sequence[str]) -> Mapping[str, str]:
    """Return the same for what writes these columns, and how its parameters become rows."""
    of_jobs, of_runs = _Lists(jobs, JOB_TYPES, first=1), _Lists(runs, RUN_TYPES, first=1 + len(jobs))
    token_floor = 1 + len(jobs) + len(runs)
    return {
        **_about(column for column in map(_unmarked, jobs) if column not in READ),
        "values": of_jobs.values,
        "arrays": of_jobs.arrays,
        "listed": of_jobs.columns,
        "run_values": of_runs.values,
        "run_arrays": of_runs.arrays,
        "run_listed": of_runs.columns,
        "token_floor": f"${token_floor}::bigint",
        "revision_floor": f"${token_floor + 1}::bigint",
        "earliest": f"${token_floor + 2}::timestamptz",
        "latest": f"${token_floor + 3}::timestamptz",
    }


def _unmarked(mark: str) -> str:
    return mark.removesuffix(_SHARED)


class _Lists:
    """How parameters become rows: the lists are unnested, as a table `u`; what is shared stands beside it."""

    def __init__(self, marks: Sequence[str], types: Mapping[str, str], *, first: int) -> None:
        values: list[str] = []
        arrays: list[str] = []
        columns: list[str] = []
        for at, mark in enumerate(marks, start=first):
            column = _unmarked(mark)
            kind = "bigint" if column in INSTANTS_GIVEN else types.get(column, "text")
            value = f"${at}::{kind}"
            if mark == column:
                value = f"u.{column}"
                arrays.append(f"${at}::text::{kind}[]")
                columns.append(column)
            values.append(f"{_INSTANT.format(value) if column in INSTANTS_GIVEN else value} AS {column}")
        self.values, self.arrays, self.columns = ", ".join(values), ", ".join(arrays), ", ".join(columns)


_INSTANT = "to_timestamp({0} / 1000000) + {0} % 1000000 * interval '1us'"
"""The moment that so many microseconds since 1970 are, to the microsecond: whole seconds have an exact double."""
