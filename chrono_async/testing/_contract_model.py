"""
Whether a storage answers as memory does, whatever it is asked.

Hypothesis thinks up series of calls, and makes short what shows a difference: the failure then lists the calls, one by
one. All series are asked of the one storage that a test has, each about jobs of its own.
"""

import asyncio
import random
import time
from collections.abc import Callable
from types import ModuleType
from typing import ClassVar

import pytest

from chrono_async import Clock, LeasingStorage, Storage
from chrono_async.storage import PortableStorage

from ._contract_series import Series, SeriesOfEight, Stage
from ._contract_steps import Steps


class AsMemory(Steps):
    """Memory is the model: as it answers, every storage must."""

    model_examples: ClassVar[int] = 15
    """How many series of calls are tried. 0 leaves this test out, and with it the need for Hypothesis."""

    model_steps: ClassVar[int] = 80
    """How many calls a series has at most."""

    model_seed: ClassVar[int] = 0
    """The same seed tries the same, so that what fails fails again; another one tries others."""

    model_patience: ClassVar[float] = 20.0
    """How many seconds may be spent on making a series short that shows a difference."""

    model_history: ClassVar[int] = 20
    """How many runs of each job the storage keeps."""

    async def test_it_answers_as_memory_does(
        self, storage: Storage, leasing: LeasingStorage, another: Storage | None, clock: Clock
    ) -> None:
        """Two storage objects are asked by turns: what the one has written the other must know."""
        if not self.model_examples:
            pytest.skip("model_examples is 0")
        kind = SeriesOfEight if isinstance(leasing, PortableStorage) else Series
        by_boot, history = self.leases_by_boot_clock, self.model_history
        stage = Stage((storage, another or storage), clock, leases_by_boot_clock=by_boot, history=history)
        loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._try, lambda dice, length, said: kind(stage, loop, dice, said).play(length))

    def _try(self, play: Callable[[random.Random, int, list[str]], None]) -> None:
        """Let Hypothesis try, in a thread of its own: it waits for what it asks of the loop that the storage is on."""
        hypothesis = _hypothesis()
        settings = hypothesis.settings(
            max_examples=self.model_examples,
            database=None,
            deadline=None,
            phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        chance = hypothesis.strategies.randoms(use_true_random=False)
        lengths = hypothesis.strategies.integers(1, 4 * self.model_steps)  # mostly long: one that fails gets shorter
        shortest = Shortest(self.model_patience)

        def try_one(dice: random.Random, length: int) -> None:
            shortest.look_for(lambda said: play(dice, min(length, self.model_steps), said))

        with shortest:
            hypothesis.seed(self.model_seed)(settings(hypothesis.given(chance, lengths)(try_one)))()


def _hypothesis() -> ModuleType:
    try:
        import hypothesis.strategies  # noqa: PLC0415 - it is no part of the base install
    except ModuleNotFoundError as error:
        advice = "pip install 'chrono-async[testing]', or leave this test out by model_examples = 0"
        raise ModuleNotFoundError(f"the storage contract needs Hypothesis here: {advice}", name=error.name) from error
    return hypothesis


class _Enough(BaseException):
    """Ends the search: Hypothesis lets it pass, as no error of a test's is."""


class Shortest:
    """Looks for the shortest series that shows a difference, as long as its patience lasts, and raises that."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._since: float | None = None
        self._said: list[str] = []
        self._error: Exception | None = None

    def look_for(self, play: Callable[[list[str]], None]) -> None:
        """Play a series that says what it does."""
        said: list[str] = []
        try:
            play(said)
        except Exception as error:
            self._note(said, error)
            raise
        finally:
            if self._since is not None and time.monotonic() - self._since >= self._patience:
                raise _Enough

    def _note(self, said: list[str], error: Exception) -> None:
        self._since = time.monotonic() if self._since is None else self._since
        if self._error is None or len(said) < len(self._said):
            self._said, self._error = said, error

    def __enter__(self) -> None:
        return

    def __exit__(self, *raised: object) -> None:
        if self._error is not None:
            self._error.add_note("\n".join(["What was asked, and what memory answered:", *self._said]))
            raise self._error from None
