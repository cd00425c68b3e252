"""Hints over a server that is a queue."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import pytest

from chrono_async.errors import StorageError
from chrono_async.storage import _channel
from chrono_async.storage._channel import Channel


class Server:
    """Hands each word to all who hear; None ends their connections."""

    def __init__(self) -> None:
        self.ears: list[asyncio.Queue[str | None]] = []
        self.is_down = False
        self.lets_go = asyncio.Event()
        self.lets_go.set()

    async def send(self, word: str | None) -> None:
        if self.is_down:
            raise StorageError("down")
        for ear in self.ears:
            ear.put_nowait(word)

    async def hear(self) -> AsyncGenerator[str, None]:
        if self.is_down:
            raise StorageError("down")
        self.ears.append(ear := asyncio.Queue())
        try:
            yield ""
            while (word := await ear.get()) is not None:
                yield word
        finally:
            await self.lets_go.wait()
            self.ears.remove(ear)


class Listener:
    """Counts the hints that a channel gives it."""

    def __init__(self, channel: Channel) -> None:
        self.heard = 0
        self.task = asyncio.create_task(self._listen(channel))

    async def _listen(self, channel: Channel) -> None:
        async with contextlib.aclosing(channel.listen()) as hints:
            async for _ in hints:
                self.heard += 1


async def settle() -> None:
    """Let all that can go on go on; nothing here waits for anything else."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_channel, "_FIRST_PAUSE", 0.0)


@pytest.fixture
def server() -> Server:
    return Server()


async def test_ones_own_words_do_not_come_back(server: Server) -> None:
    """A change wakes the others, not who made it; who begins to hear may have missed something."""
    one, two = Channel(server.send, server.hear), Channel(server.send, server.hear)
    first, second = Listener(one), Listener(two)
    await settle()
    assert (first.heard, second.heard) == (1, 1)
    one.tell()
    await settle()
    assert (first.heard, second.heard) == (1, 2)
    two.tell()
    await settle()
    assert (first.heard, second.heard) == (2, 2)
    await asyncio.gather(one.close(), two.close())


async def test_listeners_of_one_storage_share_a_connection_and_hear_each_other(server: Server) -> None:
    """Two schedulers on one storage are two instances."""
    channel = Channel(server.send, server.hear)
    listeners = [Listener(channel), Listener(channel)]
    await settle()
    assert len(server.ears) == 1
    channel.tell()
    await settle()
    assert [listener.heard for listener in listeners] == [2, 2]
    await channel.close()


async def test_many_changes_at_once_are_one_word(server: Server) -> None:
    """It says that something has changed, not what."""
    words: list[str] = []

    async def send(word: str) -> None:
        words.append(word)
        await asyncio.sleep(0)

    channel = Channel(send, server.hear)
    for _ in range(100):
        channel.tell()
    await channel.close()
    assert len(words) == 1


async def test_a_lost_connection_is_made_again_and_may_have_missed_something(server: Server) -> None:
    """So it gives a hint when it hears again; a server that is down is nobody's exception."""
    channel = Channel(server.send, server.hear)
    listener = Listener(channel)
    await settle()
    await server.send(None)
    server.is_down = True
    await settle()
    channel.tell()
    await settle()
    assert (listener.heard, server.ears) == (1, [])
    server.is_down = False
    async with asyncio.timeout(5):
        while not server.ears:  # noqa: ASYNC110 - the server is a list
            await asyncio.sleep(0)
    await settle()
    assert listener.heard == 2
    await channel.close()


async def test_closing_ends_the_listeners_and_the_connection(server: Server) -> None:
    """Whichever comes first: the last listener's leave does so, too."""
    channel = Channel(server.send, server.hear)
    left, stays = Listener(channel), Listener(channel)
    await settle()
    left.task.cancel()
    await settle()
    assert len(server.ears) == 1
    await channel.close()
    await stays.task
    assert server.ears == []
    last = Listener(channel)
    await settle()
    last.task.cancel()
    await settle()
    assert server.ears == []
    await channel.close()


async def test_who_listens_while_the_connection_takes_leave_is_heard(server: Server) -> None:
    """As after a quick stop and start: there is a new connection, and the old one ends undisturbed."""
    channel = Channel(server.send, server.hear)
    first = Listener(channel)
    await settle()
    server.lets_go.clear()
    first.task.cancel()
    await settle()
    second = Listener(channel)
    await settle()
    await server.send("a word")
    await settle()
    assert (second.heard, len(server.ears)) == (2, 2)
    server.lets_go.set()
    await settle()
    await server.send("a word")
    await settle()
    assert (second.heard, len(server.ears)) == (3, 1)
    await channel.close()


async def test_closing_waits_until_all_connections_have_taken_leave(server: Server) -> None:
    """Neither the listeners that it ends nor a second call cut that short."""
    channel = Channel(server.send, server.hear)
    left = Listener(channel)
    await settle()
    server.lets_go.clear()
    left.task.cancel()
    await settle()
    stays = Listener(channel)
    await settle()
    closing = [asyncio.create_task(channel.close()) for _ in range(2)]
    await stays.task
    await settle()
    assert not any(task.done() for task in closing)
    assert len(server.ears) == 2
    server.lets_go.set()
    await asyncio.gather(*closing)
    assert server.ears == []
