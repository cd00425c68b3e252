"""
Every storage answers as memory does, whatever is asked of it.

Hypothesis thinks up what to ask, and makes what it finds small. Two storages on one store are asked by turns, and
memory the same; each answer must be equal, and so must all that is to be seen. Time is stepped for both: the servers'
scripts and statements are given a clock that is kept in the server. `MODEL_EXAMPLES=5000` looks for longer, elsewhere.
"""

import asyncio
import hashlib
import os
import random
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from uuid import uuid4

import asyncpg
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from chrono_async.storage import (
    FileStorage,
    InMemoryStorage,
    LeasingStorage,
    PostgresStorage,
    RedisStorage,
    SQLiteStorage,
)
from chrono_async.storage._redis import link
from chrono_async.testing.contract import SteppedClock
from tests import servers

from .asker import HISTORY, SECOND, Asker, all_of, answer_of

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "0"))
PHASES = (Phase.generate, Phase.shrink)


class Subject(NamedTuple):
    """Two storages on one empty store, and how it is told the time."""

    storages: tuple[LeasingStorage, LeasingStorage]
    tell: Callable[[datetime], Any]


Opens = Callable[[SteppedClock], AbstractAsyncContextManager[Subject]]


async def compare(opens: Opens, dice: random.Random, length: int) -> None:
    """Ask memory and the subject the same."""
    clock = SteppedClock()
    memory, asker = InMemoryStorage(clock=clock, history=HISTORY), Asker(dice, clock)
    async with opens(clock) as (storages, tell):
        await tell(clock.now())
        for _ in range(length):
            ask, storage = asker.next(), dice.choice(storages)
            wanted = await answer_of(memory, ask)
            assert await answer_of(storage, ask) == wanted
            passed = dice.choice([0, 0, 0.5, 1, 4])
            if passed:
                clock.advance(passed * SECOND)
                await tell(clock.now())
            if dice.randint(0, 2) == 0:
                asker.seen = {record.id: record for record in await memory.list_jobs()}
            if dice.randint(0, 5) == 0:
                assert await all_of(storage, clock, 2) == await all_of(memory, clock, 2)
        assert await all_of(storages[0], clock, 3) == await all_of(memory, clock, 3)


def check(opens: Opens, examples: int) -> None:
    """Compare through as many examples: the same ones each time, unless more are asked for."""
    with asyncio.Runner() as runner:

        @settings(
            max_examples=EXAMPLES or examples, derandomize=not EXAMPLES, database=None, deadline=None, phases=PHASES
        )
        @given(st.randoms(use_true_random=False), st.integers(1, 60))
        def compare_once(dice: random.Random, length: int) -> None:
            runner.run(compare(opens, dice, length))

        compare_once()


def test_a_file_answers_as_memory_does() -> None:
    """Whoever of two has written it last."""

    @asynccontextmanager
    async def opens(clock: SteppedClock) -> AsyncIterator[Subject]:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "jobs.json"
            async with closing(FileStorage(path, clock=clock, history=HISTORY) for _ in range(2)) as storages:
                yield Subject(storages, knows_it)

    check(opens, 25)


def test_sqlite_answers_as_memory_does() -> None:
    """Whoever of two has written it last."""

    @asynccontextmanager
    async def opens(clock: SteppedClock) -> AsyncIterator[Subject]:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "jobs.db"
            options: dict[str, Any] = {"clock": clock, "history": HISTORY, "durable": False}
            async with closing(SQLiteStorage(path, **options) for _ in range(2)) as storages:
                yield Subject(storages, knows_it)

    check(opens, 60)


@pytest.mark.long
def test_redis_answers_as_memory_does() -> None:
    """Its scripts read a clock of ours where they would read the server's."""

    @asynccontextmanager
    async def opens(_: SteppedClock) -> AsyncIterator[Subject]:
        namespace, url = uuid4().hex, servers.redis().url
        made = [RedisStorage(url, namespace=namespace, history=HISTORY, notify=False) for _ in range(2)]
        async with Redis.from_url(url) as client, closing(made) as storages:

            async def tell(now: datetime) -> None:
                await client.hset(f"{{{namespace}}}:jobs:clock", mapping=_seconds_and_microseconds(now))
                told(made, now)

            yield Subject(storages, tell)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("READ", "WRITE", "DUE", "LIST", "RUNS", "BEAT", "INSTANCES"):
            patch.setattr(link, name, _on_our_clock(getattr(link, name)))
        check(opens, 60)


def _on_our_clock(script: link.Script) -> link.Script:
    assert "redis.call('TIME')" in script.text
    text = script.text.replace("redis.call('TIME')", "redis.call('HMGET', KEYS[1] .. ':clock', 's', 'us')")
    return link.Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def _seconds_and_microseconds(now: datetime) -> dict[str, int]:
    since = now - datetime(1970, 1, 1, tzinfo=UTC)
    return {"s": since // SECOND, "us": since.microseconds}


@pytest.mark.long
def test_postgres_answers_as_memory_does() -> None:
    """Its statements read a clock of ours where they would read the server's."""

    @asynccontextmanager
    async def opens(_: SteppedClock) -> AsyncIterator[Subject]:
        connection = await asyncpg.connect(servers.postgres().dsn)
        try:
            await connection.execute(_POSTGRES_CLOCK)
            made = [_postgres() for _ in range(2)]
            async with closing(made) as storages:

                async def tell(now: datetime) -> None:
                    await connection.execute(_POSTGRES_TELL, now)
                    told(made, now)

                yield Subject(storages, tell)
        finally:
            await connection.execute(_POSTGRES_FORGET)
            await connection.close()

    check(opens, 30)


_POSTGRES_CLOCK = """
    CREATE TABLE IF NOT EXISTS model_clock (at timestamptz);
    DELETE FROM model_clock;
    INSERT INTO model_clock VALUES (now());
    CREATE OR REPLACE FUNCTION model_at() RETURNS timestamptz STABLE LANGUAGE sql AS 'SELECT at FROM model_clock';
"""
_POSTGRES_TELL = "UPDATE model_clock SET at = $1"
_POSTGRES_FORGET = (
    "TRUNCATE model_jobs, model_runs, model_instances; UPDATE model_meta SET token_floor = 0, revision_floor = 0"
)


def _postgres() -> PostgresStorage:
    storage = PostgresStorage(
        servers.postgres().dsn, namespace="model", history=HISTORY, history_age=None, notify=False
    )  # rows are dated by the table itself, and so by the true clock
    statements = storage._connections._statements
    assert "statement_timestamp()" in statements["read"]
    for name, text in statements._texts.items():
        statements._texts[name] = text.replace("statement_timestamp()", "model_at()")
    return storage


def told(storages: Iterable[PostgresStorage | RedisStorage], now: datetime) -> None:
    """Let them know what their server's clock says, which stands still until it is set the next time."""
    for storage in storages:
        storage._time.boot = lambda: 0.0
        storage._time.observe(now, 0.0)


async def knows_it(_: datetime) -> None:
    """Nobody need be told: the storages have the clock itself."""


@asynccontextmanager
async def closing(made: Iterable[LeasingStorage]) -> AsyncIterator[tuple[LeasingStorage, LeasingStorage]]:
    """Close both in the end."""
    first, second = made
    try:
        yield first, second
    finally:
        await first.close()
        await second.close()
