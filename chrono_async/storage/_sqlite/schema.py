"""
The tables of a SQLite storage: how they come to be, and how the leases of an earlier life of the machine end.

Their names begin with the storage's namespace, so that several storages, and tables of one's own, can share a file.
"""

import sqlite3

from ...errors import StorageCorruptError, StorageError
from .._boot import boot_id
from .values import ended_flights

# Types are checked where SQLite can do that: a number that somebody has made a text would spoil its neighbours' calls.
_STRICT = "STRICT" if sqlite3.sqlite_version_info >= (3, 37) else ""

# Of a row that is only a lock, all that a record cannot be without is null.
_FIRST = """
CREATE TABLE {ns}_meta (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) {strict};

CREATE TABLE {ns}_jobs (
    number INTEGER PRIMARY KEY,
    id TEXT, name TEXT, status TEXT, paused INTEGER, last_run INTEGER, next_run INTEGER, run_count INTEGER,
    error_count INTEGER, last_error TEXT, revision INTEGER, scheduled_runs INTEGER, last_success INTEGER,
    token INTEGER, settled_token INTEGER, owner TEXT, lease_until INTEGER, running INTEGER, claimed INTEGER,
    attempt INTEGER, tries INTEGER, not_before INTEGER,
    declared TEXT, bound TEXT, options TEXT, triggered TEXT, manual TEXT, flights TEXT,
    lock_owner TEXT, lock_until INTEGER, due_at INTEGER, bury_at INTEGER,
    UNIQUE (id),
    CHECK (id IS NOT NULL AND lock_until IS NOT NULL),
    CHECK (name IS NULL OR (
        status IS NOT NULL AND paused IS NOT NULL AND run_count IS NOT NULL AND error_count IS NOT NULL
        AND last_error IS NOT NULL AND revision IS NOT NULL AND scheduled_runs IS NOT NULL AND token IS NOT NULL
        AND settled_token IS NOT NULL AND attempt IS NOT NULL AND tries IS NOT NULL
    ))
) {strict};
CREATE INDEX {ns}_jobs_due ON {ns}_jobs (due_at, id) WHERE due_at IS NOT NULL;
CREATE INDEX {ns}_jobs_waiting ON {ns}_jobs (not_before) WHERE not_before IS NOT NULL;
CREATE INDEX {ns}_jobs_manual ON {ns}_jobs (manual) WHERE manual IS NOT NULL;
CREATE INDEX {ns}_jobs_held ON {ns}_jobs (lock_until) WHERE lock_until > 0;
CREATE INDEX {ns}_jobs_bury ON {ns}_jobs (bury_at) WHERE bury_at IS NOT NULL;

CREATE TABLE {ns}_runs (
    seq INTEGER PRIMARY KEY,
    job_id TEXT, fire_time INTEGER, status TEXT, instance_id TEXT, attempt INTEGER, token INTEGER, manual INTEGER,
    started INTEGER, finished INTEGER, error TEXT, retry_count INTEGER, missed_count INTEGER, missed_first INTEGER,
    missed_last INTEGER, written INTEGER NOT NULL
) {strict};
CREATE INDEX {ns}_runs_job ON {ns}_runs (job_id);

CREATE TABLE {ns}_instances (
    instance_id TEXT PRIMARY KEY NOT NULL, started INTEGER NOT NULL, seen INTEGER NOT NULL, jobs TEXT NOT NULL
) {strict}
"""

STEPS = [_FIRST]
"""Version n is what the first n of them make of an empty file. One that was released never changes: another follows."""


def prepare(database: sqlite3.Connection, namespace: str) -> None:
    """Make the tables or bring them up to date, in one transaction; and end the leases of an earlier life."""
    boot = boot_id()
    if _is_ready(_meta(database, namespace), boot):
        return
    database.execute("BEGIN IMMEDIATE")
    known = _meta(database, namespace)
    for step in STEPS[_version(known) :]:
        for statement in step.format(ns=namespace, strict=_STRICT).split(";"):
            database.execute(statement)
    if known is not None and known.get("boot_id", boot) != boot:
        _end_leases(database, namespace)
    _remember(database, namespace, schema=str(len(STEPS)), boot_id=boot)
    database.execute("COMMIT")


def _is_ready(known: dict[str, str] | None, boot: str) -> bool:
    """Look without keeping others from writing: nearly always there is nothing to be done."""
    return known is not None and _version(known) == len(STEPS) and known.get("boot_id") == boot


def _meta(database: sqlite3.Connection, namespace: str) -> dict[str, str] | None:
    """Return what the tables say of themselves; None where there are none."""
    found = database.execute(
        "SELECT 1 FROM sqlite_master WHERE name = ? COLLATE NOCASE", (f"{namespace}_meta",)
    ).fetchone()
    if found is None:
        return None
    return dict(database.execute(f"SELECT name, value FROM {namespace}_meta"))  # noqa: S608 - a checked name


def _remember(database: sqlite3.Connection, namespace: str, **known: str) -> None:
    sql = f"INSERT OR REPLACE INTO {namespace}_meta (name, value) VALUES (?, ?)"  # noqa: S608 - a checked name
    database.executemany(sql, known.items())


def _version(known: dict[str, str] | None) -> int:
    """Return how many steps the tables have behind them."""
    if known is None:
        return 0
    text = known.get("schema", "")
    if not text.isdecimal() or int(text) < 1:
        raise StorageCorruptError(
            f"the tables say that their version is {text!r}, which no version of this library says"
        )
    if int(text) > len(STEPS):
        raise StorageError(f"the tables were made by a newer version of this library (format {text}): upgrade it")
    return int(text)


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
