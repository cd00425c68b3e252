"""
Servers that go by a clock of the test's: their scripts and statements read it where they would read the server's.

It is kept in the server, and told what it is by who sets it. So time stands until it is moved, to the microsecond.
"""

import asyncio
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import redis

from chrono_async.storage import PostgresStorage, RedisStorage
from chrono_async.storage._redis import link
from chrono_async.testing.contract import SteppedClock

SECOND = timedelta(seconds=1)
TIMED_SCRIPTS = ("READ", "WRITE", "DUE", "LIST", "RUNS", "BEAT", "INSTANCES")


class ToldClock(SteppedClock):
    """A clock that stands until it is moved, and that tells the server and the storages then."""

    def __init__(self, tell: Callable[[datetime], object]) -> None:
        super().__init__()
        self._tell = tell
        self._storages: list[PostgresStorage | RedisStorage] = []
        tell(self.now())

    def is_of(self, storage: PostgresStorage | RedisStorage) -> None:
        """Let the storage know what its server's clock says, which stands still between one setting and the next."""
        self._storages.append(storage)
        storage._time.boot = lambda: 0.0
        storage._time.observe(self.now(), 0.0)

    def advance(self, by: timedelta) -> None:
        super().advance(by)
        self._told()

    def step(self, by: timedelta) -> None:
        super().step(by)
        self._told()

    def _told(self) -> None:
        self._tell(self.now())
        for storage in self._storages:
            storage._time.observe(self.now(), 0.0)


class RedisOnAToldClock:
    """A namespace whose scripts read their time from a key of it; `replace(name, script)` puts them in their places."""

    def __init__(self, url: str, replace: Callable[[str, link.Script], object]) -> None:
        self.url, self.namespace = url, uuid4().hex
        self._client = redis.Redis.from_url(url)
        self.clock = ToldClock(self._tell)
        for name in TIMED_SCRIPTS:
            replace(name, _on_the_key(getattr(link, name)))

    def _tell(self, now: datetime) -> None:
        since = now - datetime(1970, 1, 1, tzinfo=UTC)
        self._client.hset(f"{{{self.namespace}}}:jobs:clock", mapping={"s": since // SECOND, "us": since.microseconds})

    def open(self, history: int) -> RedisStorage:
        """Return a storage in the namespace."""
        storage = RedisStorage(self.url, namespace=self.namespace, history=history)
        self.clock.is_of(storage)
        return storage

    def close(self) -> None:
        self._client.close()


def _on_the_key(script: link.Script) -> link.Script:
    assert "redis.call('TIME')" in script.text
    text = script.text.replace("redis.call('TIME')", "redis.call('HMGET', KEYS[1] .. ':clock', 's', 'us')")
    return link.Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


class PostgresOnAToldClock:
    """Tables whose statements call a function of ours, which reads the time from a table."""

    def __init__(self, dsn: str) -> None:
        self.dsn, self.namespace = dsn, f"told_{uuid4().hex[:8]}"
        self._thread, self._runner = ThreadPoolExecutor(1), asyncio.Runner()
        self._connection = self._wait(self._connected())
        self.clock = ToldClock(lambda now: self._wait(self._connection.execute(_SET, now)))

    async def _connected(self) -> asyncpg.Connection:
        connection = await asyncpg.connect(self.dsn)
        await connection.execute(_MAKE)
        return connection

    def _wait(self, what: object) -> object:
        """Wait in a thread with a loop of its own: a clock is set by a plain call."""
        return self._thread.submit(self._runner.run, what).result()

    def open(self, history: int) -> PostgresStorage:
        """Return a storage in the tables; their rows are dated by the true clock, and so kept for ever."""
        storage = PostgresStorage(self.dsn, namespace=self.namespace, history=history, history_age=None)
        statements = storage._connections._statements
        assert "statement_timestamp()" in statements["read"]
        for name, text in statements._texts.items():
            statements._texts[name] = text.replace("statement_timestamp()", "told_now()")
        self.clock.is_of(storage)
        return storage

    def close(self) -> None:
        self._wait(self._connection.close())
        self._thread.submit(self._runner.close).result()
        self._thread.shutdown()


_MAKE = """
    CREATE TABLE IF NOT EXISTS told_clock (at timestamptz);
    DELETE FROM told_clock;
    INSERT INTO told_clock VALUES (now());
    CREATE OR REPLACE FUNCTION told_now() RETURNS timestamptz STABLE LANGUAGE sql AS 'SELECT at FROM told_clock';
"""
_SET = "UPDATE told_clock SET at = $1"
