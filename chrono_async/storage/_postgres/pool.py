"""
The way to a PostgreSQL: its connections, its tables, and the one edge at which the driver's exceptions are translated.

Connections belong to the event loop that they were made on. A pool that is ours is made anew for another loop, and
after `close`; a user's own is never closed.
"""

import asyncio
import contextlib
import logging
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any, Protocol, cast

from ...errors import ChronoError, InvalidOptionError, StorageCorruptError, StorageError
from .._doors import split_url, without_password
from .._home import Home
from .statements import Statements

try:
    import asyncpg
except ModuleNotFoundError as error:
    _MISSING = "PostgresStorage needs a package more: pip install 'chrono-async[postgres]'"
    raise ModuleNotFoundError(_MISSING, name=error.name) from None

_log = logging.getLogger("chrono_async")

_TAKE_LEAVE = 1.0
"""Seconds within which a server is to be told that an answer is not waited for any more."""
_LOOK_UP = 15.0
"""How often a listener that hears nothing sees whether its connection is still there."""


class Connection(Protocol):
    """What is used of a connection of asyncpg."""

    async def execute(self, query: str) -> str:
        """Execute statements."""

    async def fetch(self, query: str, *args: Any) -> list[Any]:
        """Execute a statement and return its rows."""

    async def fetchval(self, query: str) -> Any:
        """Execute a statement and return the first value of its first row."""

    def transaction(self, *, isolation: str | None = None) -> AbstractAsyncContextManager[None]:
        """Begin a transaction."""

    async def add_listener(self, channel: str, callback: Callable[..., None]) -> None:
        """Call back for each notification."""

    async def remove_listener(self, channel: str, callback: Callable[..., None]) -> None:
        """End that."""

    def add_termination_listener(self, callback: Callable[..., None]) -> None:
        """Call back when the connection ends."""

    def remove_termination_listener(self, callback: Callable[..., None]) -> None:
        """End that."""

    async def close(self) -> None:
        """End it."""

    def terminate(self) -> None:
        """End it at once."""


class Pool(Protocol):
    """What is used of a pool of asyncpg."""

    def acquire(self, *, timeout: float | None = None) -> Any:
        """Lend a connection."""

    async def release(self, connection: Any, *, timeout: float | None = None) -> None:
        """Take it back."""

    async def close(self) -> None:
        """Wait for all connections, and end them."""

    def terminate(self) -> None:
        """End all connections at once."""


class Fetch(Protocol):
    """A way to the server."""

    def __call__(self, name: str, *arguments: Any) -> Awaitable[list[Any]]:
        """Execute the statement of this name, and return its rows."""
        ...


class ConflictError(StorageError):
    """The server chose another statement over this one: nothing was written, and it can be asked again."""


class Connections:
    """A pool of connections to one database, its tables made or found when it is first used."""

    def __init__(
        self,
        database: str | Pool,
        statements: Statements,
        *,
        timeout: timedelta,
        min_size: int,
        max_size: int,
        statement_cache_size: int | None,
    ) -> None:
        if not isinstance(database, str | asyncpg.Pool):
            raise InvalidOptionError("dsn_or_pool", database, "must be a DSN or a pool of asyncpg")
        self._dsn: str | None = _checked_dsn(database) if isinstance(database, str) else None
        self._given: Pool | None = None if isinstance(database, str) else database
        self._statements = statements
        self._limit = timeout.total_seconds()
        self._sizes = {"min_size": min_size, "max_size": max_size}
        self._options = {} if statement_cache_size is None else {"statement_cache_size": statement_cache_size}
        self._opening: asyncio.Task[Pool] | None = None
        self.home = Home()

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def fetch(self, name: str, *arguments: Any) -> list[Any]:
        """Execute the statement of this name, and return its rows."""
        async with self._edge():
            pool = await self._pool()
            connection, is_given_up = await pool.acquire(timeout=self._limit), False
            try:
                return cast(list[Any], await connection.fetch(self._statements[name], *arguments))
            except asyncio.CancelledError:
                is_given_up = True
                raise
            finally:
                await _give_back(pool, connection, in_haste=is_given_up)

    def within(self, connection: object) -> Fetch:
        """Return the way to the server that leads over a user's connection, and through the transaction it is in."""
        if not isinstance(connection, asyncpg.Connection | asyncpg.pool.PoolConnectionProxy):
            raise InvalidOptionError("connection", connection, "must be a connection of asyncpg")

        async def fetch(name: str, *arguments: Any) -> list[Any]:
            async with self._edge():
                if not connection.is_in_transaction():
                    raise InvalidOptionError("connection", connection, "must be in a transaction that you have begun")
                return cast(list[Any], await connection.fetch(self._statements[name], *arguments))

        return fetch

    @contextlib.asynccontextmanager
    async def _edge(self) -> AsyncIterator[None]:
        """Bound what is asked of the server, and let whatever the driver raises be a `StorageError`."""
        try:
            async with asyncio.timeout(self._limit):
                yield
        except ChronoError:
            raise
        except TimeoutError as error:
            raise StorageError(f"postgres: no answer within {self._limit:g} s") from error
        except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError) as error:
            raise ConflictError(f"postgres: {error}") from error
        except (*_DRIVERS_ERRORS, *_OF_A_BAD_DSN) as error:
            if isinstance(error, asyncpg.UndefinedTableError):
                self._begin_anew()
            raise StorageError(f"postgres: {type(error).__name__}: {error}{self._where(error)}") from error

    def _where(self, error: Exception) -> str:
        """Return where it was looked for what there is not: the server's and the system's words mostly do not say."""
        if self._dsn is None or not isinstance(error, _LOST):
            return ""
        return f" ({without_password(self._dsn)})"

    # ── opening and closing ──────────────────────────────────────────────────────────────────────────────────────────

    async def _pool(self) -> Pool:
        """Return the pool, opened by whoever comes first, for all who wait."""
        self.home.check()
        opening, loop = self._opening, asyncio.get_running_loop()
        if opening is None or opening.get_loop() is not loop or _has_failed(opening):
            opening = self._begin(self._given or self._new_pool())
        return opening.result() if opening.done() else await asyncio.shield(opening)

    def _begin(self, pool: Pool) -> asyncio.Task[Pool]:
        self._opening = opening = asyncio.create_task(self._open(pool), name="chrono-async postgres")
        opening.add_done_callback(_has_failed)  # lest nobody asks
        return opening

    def _begin_anew(self) -> None:
        """Make the tables again, which somebody has dropped."""
        if self._opening is not None and self._opening.done() and not _has_failed(self._opening):
            self._begin(self._opening.result())

    async def _open(self, pool: Pool) -> Pool:
        try:
            async with asyncio.timeout(self._limit):
                if self._given is None:
                    await cast(Awaitable[Any], pool)  # one that is open already stays so
                await self._prepare(pool)
        except BaseException:
            if self._given is None:
                pool.terminate()
            raise
        return pool

    def _new_pool(self) -> Pool:
        made = asyncpg.create_pool(
            self._dsn, **self._sizes, **self._options, timeout=self._limit, reset=_leave_as_it_is, **_SESSION
        )
        return cast(Pool, made)

    async def close(self) -> None:
        """Close a pool that is ours; what is under way may end first, within its time."""
        self.home.leave()
        opening, self._opening = self._opening, None
        if opening is None or self._given is not None or opening.get_loop() is not asyncio.get_running_loop():
            return
        await asyncio.wait([opening])
        if not _has_failed(opening):
            await self._close(opening.result())

    async def _close(self, pool: Pool) -> None:
        try:
            async with self._edge():
                await pool.close()
        except StorageError as error:
            _log.debug("connections are cut off: %s", error)
            pool.terminate()

    # ── tables ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def migrate(self) -> None:
        """Make the tables, or bring them up to date."""
        async with self._edge():
            await self._prepare(await self._pool())

    async def _prepare(self, pool: Pool) -> None:
        """Find the tables as they should be, which takes no right to change them; or else make them so."""
        async with pool.acquire(timeout=self._limit) as connection:
            if await self._schema_version(connection) < len(self._statements.steps):
                await self._bring_up_to_date(connection)

    async def _schema_version(self, connection: Connection) -> int:
        """Return how many steps the tables have behind them; 0 where there are none."""
        try:
            async with connection.transaction():
                version = await connection.fetchval(self._statements["schema_version"])
        except asyncpg.UndefinedTableError:
            return 0
        tables, latest = f"the tables {self._statements.namespace}_*", len(self._statements.steps)
        if version is None or version < 1:
            raise StorageCorruptError(
                f"{tables} say that their version is {version}, which no version of this library says"
            )
        if version > latest:
            raise StorageError(
                f"{tables} were made by a newer version of this library: their schema is {version}, this one's {latest}"
            )
        return int(version)

    async def _bring_up_to_date(self, connection: Connection) -> None:
        """Let one at a time do it, of all processes that start at once; a lock of the session breaks behind poolers."""
        name, steps = f"chrono_async:{self._statements.namespace}", self._statements.steps
        # Where transactions repeat what they have read, one that has waited would not see what the one before has made.
        async with connection.transaction(isolation="read_committed"):
            await connection.execute(f"SELECT pg_advisory_xact_lock({zlib.crc32(name.encode())})")
            missing = steps[await self._schema_version(connection) :]
            try:
                for step in missing:
                    await connection.execute(step)
            except asyncpg.InsufficientPrivilegeError as error:
                raise StorageError(self._what_to_do(error)) from error
            if missing:
                await connection.fetch(self._statements["set_schema_version"], len(steps))

    def _what_to_do(self, error: Exception) -> str:
        """Say what helps where this role may not make tables: the server's words only name what it may not."""
        namespace = self._statements.namespace
        return (
            f"postgres: the tables {namespace}_* are not there, or not up to date, and this role may not change that "
            f"({error}); let one that may run: chrono-async migrate URL --namespace {namespace}"
        )

    # ── listening ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def hear(self, channel: str) -> AsyncGenerator[str, None]:
        """Yield an empty word when it has begun to hear, then each that is sent, until the connection is lost."""
        words: asyncio.Queue[str | None] = asyncio.Queue()
        async with self._listening(channel, words) as connection:
            yield ""
            while (word := await self._next(words, connection)) is not None:
                yield word

    async def _next(self, words: asyncio.Queue[str | None], connection: Connection) -> str | None:
        """Return the next word, or None when the connection is lost; one that went silently is found out."""
        while True:
            try:
                async with asyncio.timeout(_LOOK_UP):
                    return await words.get()
            except TimeoutError:
                async with self._edge():
                    await connection.execute("SELECT 1")

    @contextlib.asynccontextmanager
    async def _listening(self, channel: str, words: asyncio.Queue[str | None]) -> AsyncIterator[Connection]:
        def heard(*said: object) -> None:
            words.put_nowait(str(said[-1]))

        def ended(_: object) -> None:
            words.put_nowait(None)

        async with self._edge():
            connection = await self._own_connection()
        try:
            async with self._edge():
                connection.add_termination_listener(ended)
                await connection.add_listener(channel, heard)
            yield connection
        finally:
            with contextlib.suppress(StorageError):
                async with self._edge():
                    await self._let_go(connection, channel, heard, ended)

    async def _own_connection(self) -> Connection:
        """Return a connection to keep: one beside the pool, or one of the user's pool, which knows how to connect."""
        pool = await self._pool()
        if self._given is not None:
            return cast(Connection, await pool.acquire(timeout=self._limit))
        own = await asyncpg.connect(self._dsn, timeout=self._limit, **self._options, **_SESSION)
        return cast(Connection, own)

    async def _let_go(
        self, connection: Connection, channel: str, heard: Callable[..., None], ended: Callable[..., None]
    ) -> None:
        if self._given is None:
            try:
                await connection.close()
            finally:
                connection.terminate()  # where there was no time to take leave
            return
        try:
            connection.remove_termination_listener(ended)
            await connection.remove_listener(channel, heard)
        finally:
            await self._given.release(connection)


_SESSION: dict[str, Any] = {"server_settings": {"application_name": "chrono-async"}}

_DRIVERS_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, EOFError)
_LOST = (OSError, asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)
_OF_A_BAD_DSN = (ValueError, TypeError, LookupError, ArithmeticError)
"""What the driver raises, besides, for what it cannot make out; most of that is refused before."""


def _checked_dsn(dsn: str) -> str:
    """Refuse a DSN that leads nowhere before anything is connected."""
    parts = split_url(dsn, "dsn_or_pool")
    if parts.scheme not in {"postgres", "postgresql"}:
        raise InvalidOptionError("dsn_or_pool", without_password(dsn), "must begin with postgresql://")
    return dsn


async def _give_back(pool: Pool, connection: Any, *, in_haste: bool) -> None:
    """Give a connection back; in haste one on which a server is still asked: if it does not let go, it is cut off."""
    try:
        await pool.release(connection, timeout=_TAKE_LEAVE if in_haste else None)
    except _DRIVERS_ERRORS:
        if not in_haste:
            raise


def _has_failed(opening: asyncio.Task[Pool]) -> bool:
    return opening.done() and (opening.cancelled() or opening.exception() is not None)


async def _leave_as_it_is(connection: Connection) -> None:
    """Reset nothing when a connection goes back to the pool: no statement of ours leaves anything behind."""
