"""
How it runs: the loop, the poller, the lease keeper, the runner and the settler. Private; `AsyncScheduler` is its face.
"""

from .context import RunContext, current_run
from .declarations import Declarations
from .desk import Desk
from .given import NewJob, check_text, delayed_or_at, read_job, to_rows
from .health import Health, take_health
from .session import Session
from .settings import LeaderElection, Settings, make_instance_id
from .signals import stop_on_signals
from .state import State
from .threadsafe import ThreadSafe
from .waiting import wait_for_result
from .workers import warn_if_one_of_several

__all__ = [
    "Declarations",
    "Desk",
    "Health",
    "LeaderElection",
    "NewJob",
    "RunContext",
    "Session",
    "Settings",
    "State",
    "ThreadSafe",
    "check_text",
    "current_run",
    "delayed_or_at",
    "make_instance_id",
    "read_job",
    "stop_on_signals",
    "take_health",
    "to_rows",
    "wait_for_result",
    "warn_if_one_of_several",
]
