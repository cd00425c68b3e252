"""
The testing kit: a day of jobs in a fraction of a second.

Importing it does not import pytest; the fixtures live in `chrono_async.testing.pytest_plugin`.
"""

from .simulation import Simulation, run
from .virtual_time import VirtualClock, VirtualDeadlockError, VirtualLivelockError, VirtualTimeLoop

__all__ = ["Simulation", "VirtualClock", "VirtualDeadlockError", "VirtualLivelockError", "VirtualTimeLoop", "run"]
