"""
The way to a Redis: its client, its scripts, and the one edge at which the driver's exceptions are translated.

A client belongs to the event loop that it was made on. One that is ours is made anew for another loop, and after
`close`; a user's own is never closed.
"""

import asyncio
import hashlib
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

from ...counts import to_count
from ...errors import ChronoError, InvalidOptionError, StorageError
from .._doors import split_url, without_password
from .._home import Home
from .schema import check_version, migration

try:
    from redis.asyncio import BlockingConnectionPool, Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import ConnectionError as ConnectionLostError
    from redis.exceptions import NoScriptError, ReadOnlyError, RedisError, ResponseError
except ModuleNotFoundError as error:
    _MISSING = "RedisStorage needs a package more: pip install 'chrono-async[redis]'"
    raise ModuleNotFoundError(_MISSING, name=error.name) from None

_log = logging.getLogger("chrono_async")

_KEYS = ("jobs", "due", "next", "bury", "leased", "runs", "log", "order", "meta", "instances", "seen")
"""As `shared.lua` names them."""

_LOOK_UP = 15.0
"""How often who hears nothing sees whether its connection is still there."""


@runtime_checkable
class Client(Protocol):
    """What is used of a client of redis-py, be it of a single server, of a cluster, or of sentinels."""

    async def execute_command(self, *words: Any, **options: Any) -> Any:
        """Send a command and return the answer."""

    async def aclose(self) -> None:
        """Let go of all connections."""


class Script(NamedTuple):
    """A script, and the name that a server remembers it by."""

    text: str
    digest: str


def _script(name: str) -> Script:
    return _behind_shared(_text_of(name))


def _behind_shared(part: str) -> Script:
    text = "\n".join((_text_of("shared"), part))
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def _text_of(name: str) -> str:
    return (Path(__file__).parent / f"{name}.lua").read_text("utf-8")


READ, WRITE, DUE = _script("read"), _script("write"), _script("due")
LIST, RUNS, BEAT, INSTANCES = _script("list"), _script("runs"), _script("beat"), _script("instances")


@contextmanager
def translated() -> Iterator[None]:
    """Let whatever the driver raises be a `StorageError`."""
    try:
        yield
    except ChronoError:
        raise
    except (RedisError, OSError, ValueError, TypeError) as error:
        raise StorageError(f"redis: {type(error).__name__}: {error}") from error


class Link:
    """A server, a namespace on it, and what is sent there."""

    def __init__(self, server: str | Client, namespace: str, *, max_connections: int, timeout: timedelta) -> None:
        self.prefix = f"{{{_checked(namespace)}}}:"
        self.channel = f"{self.prefix}changes"
        self._keys = [f"{self.prefix}{name}" for name in _KEYS]
        self._limits = (to_count(max_connections, "max_connections", least=1), timeout.total_seconds())
        self._url = self._checked_url(server) if isinstance(server, str) else None
        self._client = None if isinstance(server, str) else _checked_client(server)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.home = Home()
        self._is_fit = False
        self._has_warned = False

    async def ask(self, script: Script, *arguments: bytes | str | int) -> list[Any]:
        """Run a script that changes nothing; once more if the connection turns out to have been closed meanwhile."""
        async with self._edge():
            try:
                return await self.run(script, *arguments)
            except StorageError as error:
                if not isinstance(error.__cause__, ConnectionLostError):
                    raise
            return await self.run(script, *arguments)

    async def run(self, script: Script, *arguments: bytes | str | int) -> list[Any]:
        """Run a script and return its answer."""
        async with self._edge():
            answer: list[Any] = await self._run(await self.client(), script, *arguments)
            return answer

    async def _run(self, client: Client, script: Script, *arguments: bytes | str | int) -> Any:
        words = (len(self._keys), *self._keys, *arguments)
        try:
            return await _raw(client, "EVALSHA", script.digest, *words)
        except NoScriptError:  # a server that was started anew, or told to forget its scripts
            return await _raw(client, "EVAL", script.text, *words)
        except ReadOnlyError:  # behind this address another server may be the one that writes by now
            if self._url is not None:
                await cast(Any, client).connection_pool.disconnect(inuse_connections=False)
            raise

    async def say(self, word: str) -> None:
        """Tell a word to all who hear."""
        async with self._edge():
            await (await self.client()).execute_command("PUBLISH", self.channel, word)

    async def erase(self) -> None:
        """Delete all keys."""
        async with self._edge():
            await (await self.client()).execute_command("DEL", *self._keys)

    async def hear(self) -> AsyncGenerator[str, None]:
        """Yield an empty word when it has begun to hear, and then each that is said."""
        async with self._edge():
            client: Any = await self.client()
        with translated():
            if not hasattr(client, "pubsub"):
                raise StorageError(f"redis: a {type(client).__name__} cannot listen")
            async with client.pubsub() as pubsub:
                async with self._edge():
                    await pubsub.subscribe(self.channel)
                while True:
                    _heed_cancellation()
                    message = await pubsub.get_message(timeout=_LOOK_UP)
                    if message is not None:
                        yield _word_of(message)

    @asynccontextmanager
    async def _edge(self) -> AsyncIterator[None]:
        """Bound what is asked of the server, whoever has made the client; and translate what goes wrong."""
        seconds = self._limits[1]
        with translated():
            try:
                async with asyncio.timeout(seconds):
                    yield
            except TimeoutError as error:
                raise StorageError(f"redis: no answer within {seconds:g} s") from error

    async def client(self) -> Client:
        """Return the client, having seen that its server will keep what it is given, and that it is of this version."""
        self.home.check()
        client = self._own() if self._url is not None else self._client
        assert client is not None, "there is either a URL or a client"  # noqa: S101 - a type narrowing
        if not self._is_fit:
            await self._check(client)
            check_version(await self._run(client, _behind_shared(migration())), self.prefix)
            self._is_fit = True
        return client

    def _own(self) -> Client:
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            self._client, self._loop = self._connect(), loop
        return self._client

    def _connect(self) -> Client:
        return cast(Client, Redis.from_pool(self._pool(cast(str, self._url))))

    def _pool(self, url: str) -> BlockingConnectionPool:
        """Return one that opens a bounded number of connections, and waits for none of them for ever."""
        most, seconds = self._limits
        return BlockingConnectionPool.from_url(
            url,
            max_connections=most + 1,  # one of them listens
            timeout=seconds,
            socket_timeout=seconds,
            socket_connect_timeout=seconds,
            health_check_interval=30,
            **({} if url.startswith("unix:") else {"socket_keepalive": True}),
            # What is sent again after a lost answer could be done twice. Who asked knows how to ask again.
            retry=Retry(NoBackoff(), 0),
        )

    def _checked_url(self, url: str) -> str:
        """Refuse a URL that the driver cannot connect with: an unknown option would show only then."""
        parts = split_url(url, _OPTION)
        try:
            pool: Any = self._pool(url)
            pool.make_connection()
        except (RedisError, ValueError, TypeError) as error:
            raise InvalidOptionError(_OPTION, without_password(url), str(error)) from None
        if parts.scheme != "unix" and not _DATABASE.fullmatch(parts.path):  # of which the driver would make number 0
            raise InvalidOptionError(_OPTION, without_password(url), "the path must be the number of a database")
        return url

    async def _check(self, client: Client) -> None:
        """Refuse a server that throws keys away when its memory is full: they would be jobs."""
        try:
            policy = _policy(await client.execute_command("INFO", "memory"))
        except ResponseError as error:
            policy = f"unknown ({error})"
        if policy.startswith("unknown"):
            self._warn(policy)
        elif policy != "noeviction":
            raise StorageError(
                f"redis: maxmemory-policy is {policy!r}: a full server would throw jobs away; set it to noeviction"
            )

    def _warn(self, policy: str) -> None:
        if not self._has_warned:
            _log.warning("redis: maxmemory-policy is %s; it must be noeviction, or jobs may be thrown away", policy)
        self._has_warned = True

    async def close(self) -> None:
        """Let go of the connections, if they are ours; the next call would make new ones."""
        self.home.leave()
        if self._url is None or self._client is None:
            return
        client, self._client = self._client, None
        async with self._edge():
            await client.aclose()


async def _raw(client: Client, *words: bytes | str | int) -> Any:
    """Send a command whose answer is bytes, however the client is set up."""
    return await client.execute_command(*words, NEVER_DECODE=True)


def _heed_cancellation() -> None:
    """End a task that was cancelled while the driver sent: by `wait_for`, which before Python 3.12 may swallow that."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _word_of(message: dict[str, Any]) -> str:
    data = message["data"] if message["type"] == "message" else ""
    return data.decode() if isinstance(data, bytes) else data


def _policy(info: Any) -> str:
    policy = info.get("maxmemory_policy") if isinstance(info, dict) else None
    return policy if isinstance(policy, str) else "unknown"


_OPTION = "url_or_client"
_DATABASE = re.compile(r"(/\d*)?")


def _checked_client(client: object) -> Client:
    if not isinstance(client, Client):  # one that is not for asyncio has no `aclose`
        raise InvalidOptionError(_OPTION, client, "must be a URL, or a client of redis.asyncio")
    return client


def _checked(namespace: object) -> str:
    """Return a namespace that can be the part of a key that says in which slot of a cluster it lies."""
    if not isinstance(namespace, str) or not namespace or any(brace in namespace for brace in "{}"):
        raise InvalidOptionError("namespace", namespace, "must be a text without braces, and not empty")
    return namespace
