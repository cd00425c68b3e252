"""
The testing kit: a day of jobs in a fraction of a second.

Importing it does not import pytest; the fixtures live in `chrono_async.testing.pytest_plugin`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from .faults import Fault, FaultyStorage, YieldingStorage
from .recorder import RecordedRun, Recorder
from .simulation import Simulation, run
from .virtual_time import VirtualClock, VirtualDeadlockError, VirtualLivelockError, VirtualTimeLoop

if TYPE_CHECKING:
    from .contract import StorageContract as StorageContract

__all__ = [
    "Fault",
    "FaultyStorage",
    "RecordedRun",
    "Recorder",
    "Simulation",
    "StorageContract",
    "VirtualClock",
    "VirtualDeadlockError",
    "VirtualLivelockError",
    "VirtualTimeLoop",
    "YieldingStorage",
    "run",
]


def __getattr__(name: str) -> object:
    """Import the contract when it is asked for: it is a pytest class, and nothing else here needs pytest."""
    if name == "StorageContract":
        return import_module(".contract", __name__).StorageContract
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
