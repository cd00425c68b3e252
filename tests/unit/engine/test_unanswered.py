"""Claims of which nothing was heard: how long they are kept, and when and together with whom they are asked again."""

import math
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from chrono_async.engine.unanswered import Asked, Unanswered, of_first_owner
from chrono_async.models import Due

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TTL = timedelta(seconds=60)


def asked(job_id: str, *, owner: str = "me/1", sent: float = 100.0) -> Asked:
    claim: Any = SimpleNamespace(due=Due(job_id, NOW, NOW, 1))
    return Asked(claim, owner, sent)


def test_a_claim_is_kept_until_its_lease_has_ended() -> None:
    unanswered = Unanswered(TTL)
    for boot, is_kept in ((159.9, True), (160.0, False)):
        unanswered.put(asked("a"))
        assert (unanswered.pop("a", boot) is not None) is is_kept
        assert "a" not in unanswered
        unanswered.put(asked("a"))
        unanswered.drop_ended(boot)
        assert ("a" in unanswered) is is_kept


def test_the_first_that_ends_is_told() -> None:
    unanswered = Unanswered(TTL)
    assert unanswered.seconds_left(0.0) == math.inf
    for sent in (120.0, 100.0, 110.0):
        unanswered.put(asked(f"job-{sent}", sent=sent))
    assert unanswered.seconds_left(130.0) == 30.0


def test_a_pause_is_half_of_what_is_left_at_the_most_but_never_none() -> None:
    unanswered = Unanswered(TTL)
    pauses = [unanswered.pause(asked("a"), boot, 20.0) for boot in (100.0, 130.0, 159.0, 159.99, 160.0, 200.0)]
    assert pauses == [20.0, 15.0, 0.5, 0.05, 20.0, 20.0]


def test_only_those_are_asked_for_together_that_were_so_before() -> None:
    claims = [asked("a"), asked("b"), asked("c", owner="me/2"), asked("d")]
    assert of_first_owner(claims) == claims[:2]
