"""The one door to worker threads."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import pytest
from anyio import to_thread

from chrono_async._threads import call_in_thread

NAME: ContextVar[str] = ContextVar("NAME", default="nobody")


async def test_a_thread_sees_the_context_of_its_caller() -> None:
    """And runs beside the loop, not on it."""
    NAME.set("me")
    name, thread = await call_in_thread(lambda suffix: (NAME.get() + suffix, threading.current_thread()), "!")
    assert name == "me!"
    assert thread is not threading.main_thread()


async def test_at_once_means_at_once() -> None:
    """However many anyio's own limiter would let through: who calls bounds them."""
    to_thread.current_default_thread_limiter().total_tokens = 1
    turn = threading.Barrier(3)
    assert await asyncio.gather(*(call_in_thread(lambda: turn.wait(5) >= 0) for _ in range(3))) == [True] * 3


async def test_an_error_comes_back() -> None:
    """As it was raised."""
    with pytest.raises(ZeroDivisionError):
        await call_in_thread(lambda: 1 // 0)


async def test_a_loop_that_simulates_time_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It must not jump ahead while a thread is at work."""
    told = []

    @contextmanager
    def outside_work() -> Iterator[None]:
        told.append("in")
        yield
        told.append("out")

    monkeypatch.setattr(asyncio.get_running_loop(), "outside_work", outside_work, raising=False)
    await call_in_thread(lambda: told.append("work"))
    assert told == ["in", "work", "out"]
