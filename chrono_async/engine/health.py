"""
How the instance is doing.
"""

from dataclasses import dataclass
from datetime import datetime

from .session import Session
from .state import State


@dataclass(frozen=True, slots=True)
class Health:
    """A scheduler's state, for a health endpoint: `ok` is the short answer."""

    ok: bool
    """It runs, and the storage answers."""
    is_running: bool
    instance_id: str
    jobs: int
    """Jobs whose functions live here."""
    planned: int
    """Jobs on the timeline: due within the horizon."""
    running: int
    unsettled: int
    """Runs that are over, but not yet written down."""
    next_deadline: datetime | None
    last_answer: datetime | None
    """When the storage last answered."""
    storage_failures: int
    """How often in a row the storage has failed."""
    storage_error: str
    unknown_jobs: tuple[str, ...]
    """Jobs that nobody here has a function for, and that nobody has taken for a poll interval; the first hundred."""
    unreadable_jobs: tuple[str, ...]
    """Jobs that are left out, since what the storage says of them makes no sense here; the first hundred."""


def take_health(state: State, session: Session | None) -> Health:
    """Look at the instance, without asking anybody."""
    is_running = session is not None and not session.is_stopping
    door = state.door
    unsettled = 0 if session is None else len(session.settler)
    return Health(
        ok=is_running and not door.failures,
        is_running=is_running,
        instance_id=state.settings.instance_id,
        jobs=len(state.registry),
        planned=len(state.timeline),
        running=len(state.runs) - unsettled,
        unsettled=unsettled,
        next_deadline=state.timeline.next_deadline(),
        last_answer=door.last_answer,
        storage_failures=door.failures,
        storage_error=door.error,
        unknown_jobs=tuple(sorted(state.unknown)[:100]),
        unreadable_jobs=tuple(sorted(state.unreadable | state.left_out | state.torn)[:100]),
    )
