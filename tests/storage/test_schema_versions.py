"""What lies in a database is brought from one version of this library to the next, once, whole, and never back."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import asyncpg
import pytest
from redis.asyncio import Redis

from chrono_async.errors import StorageCorruptError, StorageError
from chrono_async.models import JobRecord
from chrono_async.storage import PostgresStorage, RedisStorage, SQLiteStorage
from chrono_async.storage._ledger.rows import COLUMNS, RUN_COLUMNS
from chrono_async.storage._postgres import statements as postgres_statements
from chrono_async.storage._redis import schema as redis_schema
from chrono_async.storage._sqlite import schema as sqlite_schema
from tests import servers

from .redis_steps import keys_of

Opened = SQLiteStorage | PostgresStorage | RedisStorage


class Medium(Protocol):
    """A store, and the library's versions of it. The second one, made up here, fails where it is applied twice."""

    steps: list[str]
    second_step: str
    bad_versions: tuple[Any, ...]

    def open(self) -> Opened:
        """Return a storage on it, as another process would have one."""

    async def version(self) -> Any:
        """Return the version that it says it has."""

    async def set_version(self, version: Any) -> None:
        """Let it say that it has another; None to let it say nothing."""

    async def close(self) -> None:
        """Forget it."""


class SQLiteMedium:
    steps = sqlite_schema.STEPS
    second_step = "ALTER TABLE {ns}_jobs ADD COLUMN colour TEXT"
    bad_versions = ("x", "0", "-1", "", "1.5", None)

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self) -> SQLiteStorage:
        return SQLiteStorage(self.path)

    def _ask(self, query: str, *values: object) -> Any:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as database:
            return database.execute(query, values).fetchone()

    async def version(self) -> Any:
        return int(self._ask("SELECT value FROM chrono_meta WHERE name = 'schema'")[0])

    async def set_version(self, version: Any) -> None:
        if version is None:
            self._ask("DELETE FROM chrono_meta WHERE name = 'schema'")
        else:
            self._ask("UPDATE chrono_meta SET value = ? WHERE name = 'schema'", str(version))

    async def close(self) -> None: ...


class PostgresMedium:
    steps = postgres_statements.STEPS
    second_step = "ALTER TABLE chrono_jobs ADD COLUMN colour text"
    bad_versions = (0, -1, None)

    def __init__(self) -> None:
        self.namespace = f"test_{uuid4().hex[:8]}"

    def open(self) -> PostgresStorage:
        return PostgresStorage(servers.postgres().dsn, namespace=self.namespace)

    async def _ask(self, query: str, *values: object) -> Any:
        connection = await asyncpg.connect(servers.postgres().dsn)
        try:
            return await connection.fetchval(query.format(meta=f"{self.namespace}_meta"), *values)
        finally:
            await connection.close()

    async def version(self) -> Any:
        return await self._ask("SELECT schema_version FROM {meta}")

    async def set_version(self, version: Any) -> None:
        if version is None:
            await self._ask("DELETE FROM {meta}")
        else:
            await self._ask("UPDATE {meta} SET schema_version = $1", version)

    async def close(self) -> None:
        names = ", ".join(f"{self.namespace}_{table}" for table in ("meta", "jobs", "runs", "instances"))
        await self._ask(f"DROP TABLE IF EXISTS {names}")


class RedisMedium:
    steps = redis_schema.STEPS
    second_step = "if redis.call('HINCRBY', meta, 'colours', 1) > 1 then error('applied twice') end"
    bad_versions = ("x", "0", "-1", "", "1.5")

    def __init__(self) -> None:
        self.namespace = f"test_{uuid4().hex[:8]}"

    def open(self) -> RedisStorage:
        return RedisStorage(servers.redis().url, namespace=self.namespace)

    async def _ask(self, *words: Any) -> Any:
        async with Redis.from_url(servers.redis().url, decode_responses=True) as client:
            return await client.execute_command(words[0], f"{{{self.namespace}}}:meta", *words[1:])

    async def version(self) -> Any:
        return int(await self._ask("HGET", "schema"))

    async def set_version(self, version: Any) -> None:
        await (self._ask("HDEL", "schema") if version is None else self._ask("HSET", "schema", version))

    async def close(self) -> None:
        async with Redis.from_url(servers.redis().url) as client:
            await client.delete(*await keys_of(client, self.namespace), "no key")


@pytest.fixture(params=["sqlite", "postgres", "redis"])
async def medium(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Medium]:
    found: Medium
    match request.param:
        case "sqlite":
            found = SQLiteMedium(tmp_path / "jobs.db")
        case "postgres":
            found = PostgresMedium()
        case _:
            found = RedisMedium()
    steps = list(found.steps)
    yield found
    found.steps[:] = steps
    await found.close()


async def jobs_in(medium: Medium) -> list[str]:
    storage = medium.open()
    try:
        return sorted(record.id for record in await storage.list_jobs())
    finally:
        await storage.close()


async def save(medium: Medium, job_id: str) -> None:
    storage = medium.open()
    try:
        await storage.save_job(JobRecord(id=job_id))
    finally:
        await storage.close()


async def test_a_new_store_has_the_latest_version(medium: Medium) -> None:
    """Whatever it took to get there."""
    await save(medium, "a")
    assert await medium.version() == 1
    await medium.close()
    if isinstance(medium, SQLiteMedium):
        medium.path.unlink()
    medium.steps.append(medium.second_step)
    await save(medium, "a")
    assert await medium.version() == 2


async def test_an_older_store_is_brought_up_to_date_with_its_jobs(medium: Medium) -> None:
    """When it is next opened, and once: the step could not be applied again."""
    await save(medium, "a")
    medium.steps.append(medium.second_step)
    assert await jobs_in(medium) == ["a"]
    assert await medium.version() == 2
    await save(medium, "b")
    assert await jobs_in(medium) == ["a", "b"]
    assert await medium.version() == 2


async def test_many_who_open_an_older_store_at_once_bring_it_up_to_date_once(medium: Medium) -> None:
    """None of them fails, and none is in another's way."""
    await save(medium, "a")
    medium.steps.append(medium.second_step)
    assert await asyncio.gather(*(jobs_in(medium) for _ in range(8))) == [["a"]] * 8
    assert await medium.version() == 2


async def test_of_a_step_that_fails_nothing_is_left(medium: Medium) -> None:
    """The store has the version, the jobs and the form that it had; with a better step all is well."""
    await save(medium, "a")
    bad = "redis.call('NONSENSE')" if isinstance(medium, RedisMedium) else f"{medium.second_step}; NONSENSE"
    medium.steps.append(bad)
    with pytest.raises(StorageError):
        await jobs_in(medium)
    assert await medium.version() == 1
    medium.steps[-1] = medium.second_step
    assert await jobs_in(medium) == ["a"]
    assert await medium.version() == 2


async def test_a_store_of_a_newer_version_is_refused(medium: Medium) -> None:
    """Old code does not know what it would break; and it writes nothing there."""
    await save(medium, "a")
    await medium.set_version(99)
    with pytest.raises(StorageError, match=r"newer version of this library.*99"):
        await save(medium, "b")
    assert await medium.version() == 99
    await medium.set_version(1)
    assert await jobs_in(medium) == ["a"]


async def test_a_version_that_nobody_has_written_is_refused(medium: Medium) -> None:
    """Nobody knows which steps were applied; so none is, and no other version is written over it."""
    await save(medium, "a")
    for version in medium.bad_versions:
        await medium.set_version(version)
        with pytest.raises(StorageCorruptError, match="version"):
            await save(medium, "b")
        if version is None:
            return
    await medium.set_version(1)
    assert await jobs_in(medium) == ["a"]


async def test_a_redis_from_before_versions_were_noted_has_the_first() -> None:
    """There was none before."""
    medium = RedisMedium()
    await save(medium, "a")
    await medium.set_version(None)
    assert await jobs_in(medium) == ["a"]
    redis_schema.STEPS.append(medium.second_step)
    try:
        assert await jobs_in(medium) == ["a"]
        assert await medium.version() == 2
    finally:
        redis_schema.STEPS.pop()
        await medium.set_version(1)
        await medium.close()


async def test_what_sqlite_is_made_of_is_what_is_written(tmp_path: Path) -> None:
    """What a row has is named in one place, what a table has in another, where it stays for older files' sake."""
    await save(SQLiteMedium(tmp_path / "jobs.db"), "a")
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as database:
        jobs, runs = (
            {name for (name,) in database.execute("SELECT name FROM pragma_table_info(?)", (f"chrono_{table}",))}
            for table in ("jobs", "runs")
        )
    assert jobs == {*COLUMNS, "number"}
    assert runs == {*RUN_COLUMNS, "seq", "written"}
