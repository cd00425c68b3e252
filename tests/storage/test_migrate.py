"""The command `migrate`, run as a user runs it, on real servers."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from typer.testing import CliRunner, Result

from chrono_async.cli._app import app
from chrono_async.models import JobRecord
from chrono_async.storage import PostgresStorage, RedisStorage, SQLiteStorage
from tests import servers


def migrate(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["migrate", *map(str, arguments)], env={"COLUMNS": "200", "NO_COLOR": "1"})


def ask(query: str, *arguments: object) -> Any:
    async def ask() -> Any:
        connection = await asyncpg.connect(servers.postgres().dsn)
        try:
            return await connection.fetch(query, *arguments)
        finally:
            await connection.close()

    return asyncio.run(ask())


def tables_of(namespace: str) -> list[str]:
    rows = ask("SELECT tablename FROM pg_tables WHERE tablename LIKE $1 ORDER BY 1", f"{namespace}%")
    return [row[0].removeprefix(namespace) for row in rows]


@pytest.fixture
def namespace() -> Iterator[str]:
    name = f"test_{uuid4().hex[:8]}"
    yield name
    ask("DROP TABLE IF EXISTS " + ", ".join(f"{name}_{table}" for table in ("meta", "jobs", "runs", "instances")))


async def erase(storage: PostgresStorage | RedisStorage | SQLiteStorage) -> None:
    await storage.erase()
    await storage.close()


def test_postgres_gets_its_tables(namespace: str) -> None:
    """By hand, once, by somebody who may; the service may not."""
    told = migrate(servers.postgres().dsn, "--namespace", namespace)
    assert (told.exit_code, told.output) == (0, f"the tables {namespace}_* are there, and up to date\n")
    assert tables_of(namespace) == ["_instances", "_jobs", "_meta", "_runs"]
    assert migrate(servers.postgres().dsn, "--namespace", namespace).exit_code == 0


def test_tables_of_a_newer_version_are_refused(namespace: str) -> None:
    migrate(servers.postgres().dsn, "--namespace", namespace)
    ask(f"UPDATE {namespace}_meta SET schema_version = 99")  # noqa: S608 - a name of the test's
    told = migrate(servers.postgres().dsn, "--namespace", namespace)
    assert told.exit_code == 1
    assert told.stderr.startswith("chrono-async: the tables")
    assert "newer version" in told.stderr


def test_what_was_erased_is_gone_and_can_be_made_again(namespace: str) -> None:
    migrate(servers.postgres().dsn, "--namespace", namespace)
    asyncio.run(erase(PostgresStorage(servers.postgres().dsn, namespace=namespace)))
    assert tables_of(namespace) == []


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "a pool of the user's", "redis"])
async def test_a_storage_that_was_erased_can_be_used_at_once(kind: str, namespace: str, tmp_path: Path) -> None:
    """With its tables made anew, for the first call as for the next."""
    async with asyncpg.create_pool(servers.postgres().dsn, min_size=0) as pool:
        storage = {
            "sqlite": lambda: SQLiteStorage(tmp_path / "jobs.db", namespace=namespace),
            "postgres": lambda: PostgresStorage(servers.postgres().dsn, namespace=namespace),
            "a pool of the user's": lambda: PostgresStorage(pool, namespace=namespace),
            "redis": lambda: RedisStorage(servers.redis().url, namespace=namespace),
        }[kind]()
        await storage.save_job(JobRecord(id="a"))
        await storage.erase()
        assert await storage.list_jobs() == []
        await storage.save_job(JobRecord(id="a", run_count=1))
        assert [record.run_count for record in await storage.list_jobs()] == [1]
        await erase(storage)


def test_sqlite_gets_its_file_and_its_tables(tmp_path: Path) -> None:
    """So that they belong to who is to own them."""
    path = tmp_path / "state" / "jobs.db"
    assert migrate(f"sqlite:{path}", "--namespace", "billing").exit_code == 0
    with closing(sqlite3.connect(path)) as database:
        names = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert {"billing_jobs", "billing_runs"} <= names


@pytest.mark.parametrize("url", ["memory:", "file:jobs.yaml", "redis"])
def test_a_storage_without_tables_has_nothing_to_do(url: str) -> None:
    told = migrate(servers.redis().url if url == "redis" else url)
    assert told.exit_code == 0
    assert "has no tables: there is nothing to do" in told.output


def test_a_server_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    """Without a traceback, and without the password."""
    told = migrate(f"postgresql://me:secret@/db?host={tmp_path}")
    assert (told.exit_code, told.stderr.count("\n"), told.stdout) == (1, 1, "")
    assert told.stderr.startswith("chrono-async: postgres: ")
    assert "secret" not in told.stderr


def test_a_url_of_nothing_is_one_line_without_its_password() -> None:
    told = migrate("mongodb://me:secret@host/db")
    assert told.exit_code == 2
    assert "mongodb://me:***@host/db" in told.stderr
    assert "secret" not in told.stderr


@pytest.mark.parametrize("url", ["postgresql://me:secret@h:abc/db", "postgresql://127.0.0.1:99999/x", "redis://h/x"])
def test_a_url_that_cannot_lead_anywhere_is_one_line(url: str) -> None:
    """A typing error is no reason for a traceback."""
    told = migrate(url)
    assert (told.exit_code, told.stderr.count("\n"), told.stdout) == (2, 1, "")
    assert told.stderr.startswith("chrono-async: ")
    assert "secret" not in told.stderr


async def test_an_erased_sqlite_namespace_leaves_nothing_and_others_alone(tmp_path: Path) -> None:
    """What it is used for next is new, and whoever had it open finds that out."""
    path = tmp_path / "jobs.db"
    mine, beside, other = (SQLiteStorage(path, namespace=name) for name in ("mine", "mine", "other"))
    for storage in (mine, beside, other):
        await storage.save_job(JobRecord(id="a"))
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE own (a)")
        await mine.erase()
        names = {row[0] for row in database.execute("SELECT name FROM sqlite_master")}
    assert "own" in names
    assert not any(name.startswith("mine") for name in names)
    assert await mine.list_jobs() == []
    assert await beside.list_jobs() == []
    assert [record.id for record in await other.list_jobs()] == ["a"]
    for storage in (mine, beside, other):
        await storage.close()


async def test_an_erased_redis_namespace_leaves_nothing_and_others_alone() -> None:
    """Whatever keys it had."""
    url, name = servers.redis().url, uuid4().hex[:8]
    mine, other = RedisStorage(url, namespace=name), RedisStorage(url, namespace=f"{name}-other")
    for storage in (mine, other):
        await storage.acquire_lock("a", "me", timedelta(minutes=1))
    await mine.erase()
    client = await mine._link.client()
    assert await client.execute_command("KEYS", f"{{{name}}}*") == []
    assert await client.execute_command("KEYS", f"{{{name}-other}}*") != []
    await erase(other)
    await mine.close()
