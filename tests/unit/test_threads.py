"""The one door to worker threads."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import pytest
from anyio import to_thread

from chrono_async._threads import call_in_thread, run_in_thread

NAME: ContextVar[str] = ContextVar("NAME", default="nobody")


async def test_a_thread_sees_the_context_of_its_caller() -> None:
    """And runs beside the loop, not on it."""
    NAME.set("me")
    name, thread = await run_in_thread(lambda suffix: (NAME.get() + suffix, threading.current_thread()), "!")
    assert name == "me!"
    assert thread is not threading.main_thread()


async def test_no_more_work_at_once_than_anyio_lets() -> None:
    """Forty, if nobody has said otherwise; the rest wait for their turn."""
    limiter = to_thread.current_default_thread_limiter()
    limiter.total_tokens = 2
    busy, most, guard, turn = 0, 0, threading.Lock(), threading.Barrier(2)

    def work() -> None:
        nonlocal busy, most
        with guard:
            busy += 1
            most = max(most, busy)
        turn.wait(5)
        with guard:
            busy -= 1

    await asyncio.gather(*(run_in_thread(work) for _ in range(6)))
    assert most == 2


async def test_who_bounds_them_is_not_bounded_again() -> None:
    """Called at once means at once, however many anyio's own limiter would let through."""
    to_thread.current_default_thread_limiter().total_tokens = 1
    turn = threading.Barrier(3)
    assert await asyncio.gather(*(call_in_thread(lambda: turn.wait(5) >= 0) for _ in range(3))) == [True] * 3


async def test_an_error_comes_back() -> None:
    """As it was raised."""
    with pytest.raises(ZeroDivisionError):
        await run_in_thread(lambda: 1 // 0)


async def test_a_loop_that_simulates_time_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It must not jump ahead while a thread is at work."""
    told = []

    @contextmanager
    def outside_work() -> Iterator[None]:
        told.append("in")
        yield
        told.append("out")

    monkeypatch.setattr(asyncio.get_running_loop(), "outside_work", outside_work, raising=False)
    await run_in_thread(lambda: told.append("work"))
    assert told == ["in", "work", "out"]
