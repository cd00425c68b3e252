"""
The texts of the statements of a SQLite storage. Nothing in them is a user's but the namespace, which has been checked.
"""

# ruff: noqa: S608

from collections.abc import Sequence

from .._ledger.rows import COLUMNS, OF_MISSED, RUN_COLUMNS

SIZES = (1, 4, 16, 32, 64, 128, 256, 512)
"""How many ids a statement is made for: the texts are always the same few, so that they stay prepared."""
SPARE = 4
"""By what part of its bound a job's history may outgrow that, until somebody looks, and until what is seen is deleted:
neither is cheap."""
SWEPT = 1000
"""How many rows of the history are looked at for their age at a time."""


class Statements:
    """Those of one namespace."""

    def __init__(self, ns: str, *, per_job: int) -> None:
        self.erase: list[str] = [f"DROP TABLE {ns}_{name}" for name in ("meta", "jobs", "runs", "instances")]
        self._about_jobs(f"{ns}_jobs", f"{ns}_meta")
        self._about_due(f"{ns}_jobs")
        self._about_runs(f"{ns}_runs", per_job)
        self._about_instances(f"{ns}_instances", f"{ns}_jobs")

    def _about_jobs(self, jobs: str, meta: str) -> None:
        columns = ", ".join(COLUMNS)
        self._updates: dict[tuple[tuple[str, ...], tuple[str, ...], int], str] = {}
        self._jobs = jobs
        self.jobs: dict[int, str] = _for_ids(f"SELECT {columns}, number FROM {jobs} WHERE id IN (%s)")
        self.insert: str = _insert(jobs, COLUMNS)
        self.forget: str = f"DELETE FROM {jobs} WHERE number = ?"
        self.records: str = f"SELECT {columns}, number FROM {jobs} WHERE name IS NOT NULL"
        self.floors: str = f"SELECT name, value FROM {meta} WHERE name IN ('token_floor', 'revision_floor')"
        self.raise_floors: str = f"INSERT OR REPLACE INTO {meta} (name, value) VALUES (?, ?)"

    def update(self, columns: tuple[str, ...], emptied: tuple[str, ...], size: int = 1) -> str:
        """Return the text that writes these columns of so many jobs: what has not changed costs no index anything."""
        sql = self._updates.get((columns, emptied, size))
        if sql is None:
            values = ", ".join([f"{name} = ?" for name in columns] + [f"{name} = NULL" for name in emptied])
            numbers = ", ".join("?" * size)
            sql = f"UPDATE {self._jobs} SET {values} WHERE number IN ({numbers})"
            self._updates[columns, emptied, size] = sql
        return sql

    def _about_due(self, jobs: str) -> None:
        look = f"SELECT {', '.join(COLUMNS)}, number FROM {jobs}"
        waits = "not_before > ? OR manual > ''"
        self.due_records: str = f"{look} WHERE (due_at <= ? OR {waits}) AND next_run <= ? AND NOT paused"
        self.to_bury: str = f"SELECT id FROM {jobs} WHERE bury_at <= ?"
        self.held: str = f"{look} WHERE lock_until > 0 AND lock_until > ? AND due_at < ?"
        self.free: str = f"""
            {look} WHERE due_at < ? AND (due_at, id) > (?, ?) AND lock_until <= ? ORDER BY due_at, id"""

    def _about_runs(self, runs: str, per_job: int) -> None:
        columns = ", ".join(RUN_COLUMNS)
        self.add_run: str = _insert(runs, ("written", *RUN_COLUMNS))
        self.add_simple_run: str = _insert(runs, ("written", *RUN_COLUMNS[:-OF_MISSED]))
        self.runs_of: dict[int, str] = _for_ids(f"SELECT {columns} FROM {runs} WHERE job_id IN (%s) ORDER BY seq")
        self.latest: str = f"SELECT {columns} FROM {runs} ORDER BY seq DESC LIMIT ? OFFSET ?"
        self.latest_of: str = f"SELECT {columns} FROM {runs} WHERE job_id = ? ORDER BY seq DESC LIMIT ? OFFSET ?"
        self.spare: int = max(1, per_job // SPARE)
        most = per_job + per_job // SPARE
        self.overgrown: dict[int, str] = _for_ids(
            f"SELECT job_id FROM {runs} WHERE job_id IN (%s) GROUP BY job_id HAVING count(*) > {most}"
        )
        self.prune: str = f"""
            DELETE FROM {runs} WHERE job_id = ? AND seq <= (
                SELECT seq FROM {runs} WHERE job_id = ? ORDER BY seq DESC LIMIT 1 OFFSET {per_job})"""
        self.forget_old_runs: str = f"""
            DELETE FROM {runs} WHERE seq IN (SELECT seq FROM {runs} ORDER BY seq LIMIT {SWEPT}) AND written < ?"""
        self.forget_many_runs: str = f"""
            DELETE FROM {runs} WHERE seq <= (SELECT seq FROM {runs} ORDER BY seq DESC LIMIT 1 OFFSET ?)"""

    def _about_instances(self, instances: str, jobs: str) -> None:
        columns = "instance_id, started, seen, jobs"
        self.alive: str = f"INSERT OR REPLACE INTO {instances} ({columns}) VALUES (?, ?, ?, ?)"
        self.forget_instances: str = f"DELETE FROM {instances} WHERE seen < ?"
        self.instances: str = f"SELECT {columns} FROM {instances} WHERE seen >= ? ORDER BY instance_id"
        self.forget_locks: str = f"DELETE FROM {jobs} WHERE name IS NULL AND lock_until <= ?"


def _for_ids(sql: str) -> dict[int, str]:
    return {size: sql % ", ".join("?" * size) for size in SIZES}


def _insert(table: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
