"""
The tables of a SQLite storage: how they come to be, and how the leases of an earlier life of the machine end.

Their names begin with the storage's namespace, so that several storages, and tables of one's own, can share a file.
"""

import sqlite3
from collections.abc import Iterable

from ...errors import StorageError
from .._boot import boot_id
from .._ledger.rows import COLUMNS, COUNTS, INSTANTS, RUN_COLUMNS, RUN_INSTANTS
from .values import ended_flights

VERSION = 1

_JOB_NUMBERS = INSTANTS | COUNTS | {"paused"}
_RUN_NUMBERS = RUN_INSTANTS | {"attempt", "token", "manual", "retry_count", "missed_count"}
_NEEDED = ("status", "paused", "run_count", "error_count", "last_error", "revision", "scheduled_runs", "token",
           "settled_token", "attempt", "tries")  # fmt: skip
"""What a record cannot be without. A row that is only a lock has none of them."""

# Types are checked where SQLite can do that: a number that somebody has made a text would spoil its neighbours' calls.
_STRICT = "STRICT" if sqlite3.sqlite_version_info >= (3, 37) else ""

_SCHEMA = """
CREATE TABLE {ns}_meta (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) {strict};

CREATE TABLE {ns}_jobs (
    number INTEGER PRIMARY KEY,
    {jobs},
    UNIQUE (id),
    CHECK (id IS NOT NULL AND lock_until IS NOT NULL),
    CHECK (name IS NULL OR ({needed}))
) {strict};
CREATE INDEX {ns}_jobs_due ON {ns}_jobs (due_at, id) WHERE due_at IS NOT NULL;
CREATE INDEX {ns}_jobs_waiting ON {ns}_jobs (not_before) WHERE not_before IS NOT NULL;
CREATE INDEX {ns}_jobs_held ON {ns}_jobs (lock_until) WHERE lock_until > 0;
CREATE INDEX {ns}_jobs_bury ON {ns}_jobs (bury_at) WHERE bury_at IS NOT NULL;

CREATE TABLE {ns}_runs (seq INTEGER PRIMARY KEY, {runs}, written INTEGER NOT NULL) {strict};
CREATE INDEX {ns}_runs_job ON {ns}_runs (job_id);

CREATE TABLE {ns}_instances (
    instance_id TEXT PRIMARY KEY NOT NULL, started INTEGER NOT NULL, seen INTEGER NOT NULL, jobs TEXT NOT NULL
) {strict}
"""


def prepare(database: sqlite3.Connection, namespace: str) -> None:
    """Make the tables where there are none, and see that they are for this version and this life of the machine."""
    boot = boot_id()
    if _is_ready(database, namespace, boot):
        return
    database.execute("BEGIN IMMEDIATE")
    known = _meta(database, namespace)
    if not known:
        _create(database, namespace)
    _refuse_newer(known)
    if known.get("boot_id", boot) != boot:
        _end_leases(database, namespace)
    _remember(database, namespace, schema=str(VERSION), boot_id=boot)
    database.execute("COMMIT")


def _is_ready(database: sqlite3.Connection, namespace: str, boot: str) -> bool:
    """Look without keeping others from writing: nearly always there is nothing to be done."""
    known = _meta(database, namespace)
    return known.get("schema") == str(VERSION) and known.get("boot_id") == boot


def _meta(database: sqlite3.Connection, namespace: str) -> dict[str, str]:
    found = database.execute(
        "SELECT 1 FROM sqlite_master WHERE name = ? COLLATE NOCASE", (f"{namespace}_meta",)
    ).fetchone()
    if found is None:
        return {}
    return dict(database.execute(f"SELECT name, value FROM {namespace}_meta"))  # noqa: S608 - a checked name


def _remember(database: sqlite3.Connection, namespace: str, **known: str) -> None:
    sql = f"INSERT OR REPLACE INTO {namespace}_meta (name, value) VALUES (?, ?)"  # noqa: S608 - a checked name
    database.executemany(sql, known.items())


def _refuse_newer(known: dict[str, str]) -> None:
    version = known.get("schema", "0")
    if int(version) > VERSION:
        raise StorageError(f"the tables were made by a newer version of this library (format {version}): upgrade it")


def _create(database: sqlite3.Connection, namespace: str) -> None:
    needed = " AND ".join(f"{name} IS NOT NULL" for name in _NEEDED)
    jobs, runs = _typed(COLUMNS, _JOB_NUMBERS), _typed(RUN_COLUMNS, _RUN_NUMBERS)
    schema = _SCHEMA.format(ns=namespace, jobs=jobs, runs=runs, needed=needed, strict=_STRICT)
    for statement in schema.split(";"):
        database.execute(statement)


def _typed(columns: Iterable[str], numbers: frozenset[str]) -> str:
    return ", ".join(f"{name} {'INTEGER' if name in numbers else 'TEXT'}" for name in columns)


def _end_leases(database: sqlite3.Connection, namespace: str) -> None:
    """End all locks and flights: they were held by processes that the machine's restart has ended."""
    jobs = f"{namespace}_jobs"
    database.execute(f"DELETE FROM {jobs} WHERE name IS NULL")  # noqa: S608 - a checked name
    database.execute(
        f"UPDATE {jobs} SET lock_owner = NULL, lock_until = 0, bury_at = iif(bury_at IS NULL, NULL, 0)"  # noqa: S608 - a checked name
    )
    flying = database.execute(f"SELECT id, flights FROM {jobs} WHERE flights IS NOT NULL").fetchall()  # noqa: S608 - a checked name
    landed = [(ended_flights(flights), job_id) for job_id, flights in flying]
    database.executemany(f"UPDATE {jobs} SET flights = ? WHERE id = ?", landed)  # noqa: S608 - a checked name
