"""The rules, as tables: no loop, no clock."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chrono_async import CronSchedule, IntervalSchedule, InvalidOptionError, OneShotSchedule
from chrono_async.policies import (
    COUNT_LIMIT,
    Backlog,
    Misfire,
    Missed,
    Move,
    Overlap,
    Policies,
    Recovery,
    Retry,
    default_grace,
    jitter_offset,
    move_after_run,
    move_at_claim,
    resolve_backlog,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def at(seconds):
    return None if seconds is None else START + seconds * SECOND


def missed(count, first, last):
    return Missed(count, at(first), at(last))


TENS = IntervalSchedule(10, start=START)


class Plain:
    """The same fire times, from a schedule that knows nothing but `next`."""

    def next(self, after):
        return TENS.next(after)


class FewTens:
    """Only the fire times up to 30 s."""

    def next(self, after):
        moment = TENS.next(after)
        return moment if moment <= at(30) else None


# ── the backlog ──────────────────────────────────────────────────────────────────────────────────────────────────────

BACKLOGS = [
    # misfire, grace, due, now: run, next_run, missed (count, first, last)
    ("fire_once", 0, 10, 10, 10, 10, None),
    ("fire_once", 0, 10, 19.999999, 10, 10, None),
    ("fire_once", 0, 10, 20, 20, 20, (1, 10, 10)),
    ("fire_once", 0, 10, 55, 50, 50, (4, 10, 40)),
    ("fire_once", 45, 10, 55, 10, 10, None),
    ("fire_once", 44.999999, 10, 55, 50, 50, (4, 10, 40)),
    ("skip", 0, 10, 10, 10, 10, None),
    ("skip", 0, 10, 10.000001, None, 20, (1, 10, 10)),
    ("skip", 2, 10, 12, 10, 10, None),
    ("skip", 2, 10, 12.000001, None, 20, (1, 10, 10)),
    ("skip", 2, 10, 55, None, 60, (5, 10, 50)),
    ("skip", 5, 10, 55, 50, 50, (4, 10, 40)),
    ("skip", 4.999999, 10, 55, None, 60, (5, 10, 50)),
    ("skip", 15, 10, 55, 40, 40, (3, 10, 30)),
    ("skip", 0, 10, 50, 50, 50, (4, 10, 40)),
    ("fire_all", 0, 10, 10, 10, 10, None),
    ("fire_all", 0, 10, 30, 10, 10, None),
    ("fire_all", 0, 10, 39.999999, 10, 10, None),
    ("fire_all", 0, 10, 40, 20, 20, (1, 10, 10)),
    ("fire_all", 0, 10, 105, 80, 80, (7, 10, 70)),
]


@pytest.mark.parametrize("schedule", [TENS, Plain()], ids=["interval", "own"])
@pytest.mark.parametrize(("misfire", "grace", "due", "now", "run", "next_run", "lost"), BACKLOGS)
def test_a_backlog_is_resolved(schedule, misfire, grace, due, now, run, next_run, lost):  # noqa: PLR0917  # columns
    backlog = resolve_backlog(
        schedule,
        at(due),
        at(now),
        Policies(misfire=misfire, max_catchup=3),
        grace=grace * SECOND,
        found=at(now),
    )
    assert backlog == Backlog(at(run), at(next_run), None if lost is None else missed(*lost))


@pytest.mark.parametrize("misfire", ["fire_once", "skip"])
def test_what_was_found_in_time_and_then_waited_is_not_missed(misfire):
    backlog = resolve_backlog(
        OneShotSchedule(at=at(10)), at(10), at(500), Policies(misfire=misfire), grace=0 * SECOND, found=at(10)
    )
    assert backlog == Backlog(at(10), at(10))


def test_while_it_waited_for_a_place_more_fire_times_may_have_come():
    """Without a grace they are folded into one run, as any others."""
    backlog = resolve_backlog(TENS, at(10), at(55), Policies(), grace=0 * SECOND, found=at(10))
    assert backlog == Backlog(at(50), at(50), missed(4, 10, 40))


@pytest.mark.parametrize(
    ("misfire", "expected"),
    [
        ("fire_once", Backlog(at(30), at(30), missed(2, 10, 20))),
        ("skip", Backlog(None, None, missed(3, 10, 30))),
        ("fire_all", Backlog(at(10), at(10))),
    ],
)
def test_a_schedule_that_has_ended_meanwhile(misfire, expected):
    policies = Policies(misfire=misfire)
    assert resolve_backlog(FewTens(), at(10), at(500), policies, grace=0 * SECOND, found=at(500)) == expected


def test_a_pointer_off_the_grid_is_a_fire_time_all_the_same():
    """As after `run_immediately`, or a reschedule."""
    policies = Policies()
    assert resolve_backlog(TENS, at(3), at(8), policies, grace=0 * SECOND, found=at(8)) == Backlog(at(3), at(3))
    assert resolve_backlog(TENS, at(3), at(25), policies, grace=0 * SECOND, found=at(25)) == Backlog(
        at(20), at(20), missed(2, 3, 10)
    )


def witnessed(kind, asked):
    """A subclass that notes what it is asked."""

    class Witnessed(kind):
        def next(self, after):
            asked.append(after)
            return super().next(after)

        def previous(self, before):
            asked.append(before)
            return super().previous(before)

    return Witnessed


@pytest.mark.parametrize("misfire", Misfire)
@pytest.mark.parametrize(
    ("kind", "argument", "options"),
    [(IntervalSchedule, 1, {"start": START}), (CronSchedule, "* * * * * *", {"dialect": "extended"})],
)
def test_a_week_of_seconds_takes_constant_work(kind, argument, options, misfire):
    asked = []
    schedule, week = witnessed(kind, asked)(argument, **options), 7 * 86400
    policies = Policies(misfire=misfire, max_catchup=5)
    backlog = resolve_backlog(schedule, at(1), at(week), policies, grace=0 * SECOND, found=at(week))
    assert 0 < len(asked) < 20
    assert backlog.missed.count == min(
        COUNT_LIMIT, {"fire_once": week - 1, "skip": week - 1, "fire_all": week - 5}[misfire]
    )


def test_a_long_backlog_of_cron_is_counted_up_to_a_limit():
    minutes, year = CronSchedule("* * * * *"), 365 * 86400
    backlog = resolve_backlog(minutes, at(60), at(year), Policies(), grace=0 * SECOND, found=at(year))
    assert backlog.run == at(year)
    assert backlog.missed.count == COUNT_LIMIT


@given(
    due=st.integers(1, 200).map(lambda n: 10 * n),
    late=st.integers(0, 400_000),
    grace=st.integers(0, 60),
    misfire=st.sampled_from(Misfire),
    most=st.integers(1, 5),
)
def test_nothing_is_lost_and_nothing_is_counted_twice(due, late, grace, misfire, most):
    """Each fire time in `[due, now]` is run now, is run later, or is reported."""
    now = at(due) + timedelta(milliseconds=late)
    policies = Policies(misfire=misfire, max_catchup=most)
    run, next_run, lost = resolve_backlog(TENS, at(due), now, policies, grace=grace * SECOND, found=now)
    all_of_them = {at(due) + n * 10 * SECOND for n in range(int((now - at(due)) / (10 * SECOND)) + 1)}
    reported = set() if lost is None else {moment for moment in all_of_them if lost.first <= moment <= lost.last}
    kept = {moment for moment in all_of_them if next_run is not None and moment >= next_run}
    assert len(reported) == (0 if lost is None else lost.count)
    assert reported | kept == all_of_them
    assert not reported & kept
    assert run in {None, next_run}
    assert run is None or run <= now


# ── after a run ──────────────────────────────────────────────────────────────────────────────────────────────────────

MOVES = [
    # overlap, fire time, claimed, finished: next_run, queued, skipped (count, first, last)
    ("skip", 10, 10, 15, 20, False, None),
    ("skip", 10, 10, 20, 30, False, (1, 20, 20)),
    ("skip", 10, 10, 55, 60, False, (4, 20, 50)),
    ("queue", 10, 10, 15, 20, False, None),
    ("queue", 10, 10, 20, 20, True, None),
    ("queue", 10, 10, 55, 50, True, (3, 20, 40)),
    ("cancel_running", 10, 10, 20, 20, True, None),
    ("cancel_running", 10, 10, 35, 30, True, (1, 20, 20)),
    # what was due before the claim is backlog, and left where it is
    ("skip", 10, 25, 55, 20, False, None),
    ("queue", 10, 25, 55, 20, False, None),
    ("skip", 10, 20, 55, 20, False, None),
    ("skip", 10, 19.999999, 25, 30, False, (1, 20, 20)),
]


@pytest.mark.parametrize("schedule", [TENS, Plain()], ids=["interval", "own"])
@pytest.mark.parametrize(("overlap", "fire_time", "claimed", "finished", "next_run", "queued", "skipped"), MOVES)
def test_after_a_run_the_pointer_moves(  # noqa: PLR0917  # columns
    schedule, overlap, fire_time, claimed, finished, next_run, queued, skipped
):
    move = move_after_run(schedule, at(fire_time), at(claimed), at(finished), Overlap(overlap))
    assert move == Move(at(next_run), queued, None if skipped is None else missed(*skipped))


@pytest.mark.parametrize("overlap", Overlap)
def test_after_the_last_fire_time_it_points_nowhere(overlap):
    assert move_after_run(OneShotSchedule(at=at(10)), at(10), at(10), at(500), overlap) == Move(None)


def test_a_schedule_that_ends_during_the_run():
    assert move_after_run(FewTens(), at(10), at(10), at(500), Overlap.SKIP) == Move(None, False, missed(2, 20, 30))
    assert move_after_run(FewTens(), at(10), at(10), at(500), Overlap.QUEUE) == Move(at(30), True, missed(1, 20, 20))


def test_at_most_once_the_claim_moves_it_to_the_next():
    assert move_at_claim(TENS, at(10)) == Move(at(20))
    assert move_at_claim(OneShotSchedule(at=at(10)), at(10)) == Move(None)


def test_whatever_zone_a_schedule_answers_in_the_pointer_is_in_utc():
    schedule = CronSchedule("0 8 * * *", timezone="Asia/Tokyo")
    for move in (move_at_claim(schedule, START), move_after_run(schedule, START, START, START, Overlap.SKIP)):
        assert move.next_run == datetime(2026, 1, 1, 23, tzinfo=UTC)
        assert move.next_run.tzinfo is UTC


# ── jitter and grace ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_jitter_is_the_same_for_the_same_occurrence_everywhere():
    """The figure is part of what instances of different versions must agree on."""
    assert jitter_offset("job", START, 60 * SECOND) == jitter_offset("job", START, 60 * SECOND)
    assert jitter_offset("job", START, 60 * SECOND) == timedelta(seconds=1.047023)
    assert jitter_offset("job", START, 60 * SECOND) != jitter_offset("job", at(1), 60 * SECOND)
    assert jitter_offset("job", START, 60 * SECOND) != jitter_offset("bob", START, 60 * SECOND)


@given(job_id=st.text(min_size=1), n=st.integers(0, 10**6), jitter=st.timedeltas(timedelta(0), timedelta(days=1)))
def test_jitter_lies_between_nothing_and_all(job_id, n, jitter):
    assert timedelta(0) <= jitter_offset(job_id, at(n), jitter) <= jitter


def test_jitter_is_spread_evenly():
    offsets = sorted(jitter_offset("job", at(n), 100 * SECOND) / SECOND for n in range(1000))
    assert all(abs(offset - n / 10) < 6 for n, offset in enumerate(offsets))


def test_without_jitter_there_is_none():
    assert jitter_offset("job", START, timedelta(0)) == timedelta(0)


@pytest.mark.parametrize(
    ("misfire", "given_grace", "grace"),
    [
        ("skip", None, 30),
        ("skip", 0, 0),
        ("skip", 5, 5),
        ("fire_once", None, 0),
        ("fire_all", None, 0),
        ("fire_once", 5, 5),
    ],
)
def test_the_grace_is_what_the_job_says_else_a_poll_interval_for_skip(misfire, given_grace, grace):
    policies = Policies(misfire=misfire, misfire_grace=given_grace)
    assert default_grace(policies, 30 * SECOND) == grace * SECOND


# ── retries ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("retry", "tries", "seconds"),
    [
        (Retry(jitter=False), 1, 1),
        (Retry(jitter=False), 2, 2),
        (Retry(jitter=False), 9, 256),
        (Retry(jitter=False), 10, 300),
        (Retry(jitter=False), 10_000, 300),
        (Retry(jitter=False, backoff=1), 10_000, 1),
        (Retry(jitter=False, delay=0), 1, 0),
        (Retry(jitter=False, delay=0), 10_000, 0),
        (Retry(jitter=False, delay=600), 1, 600),
        (Retry(jitter=False, delay=600, max_delay=300), 1, 300),
        (Retry(jitter=False, delay=5, max_delay=0), 3, 0),
        (Retry(jitter=False, backoff=1e308), 3, 300),
        (Retry(jitter=False, max_delay=timedelta.max), 10_000, 36_525 * 86_400),
    ],
)
def test_pauses_grow_up_to_a_ceiling(retry, tries, seconds):
    assert retry.delay_after(tries, 0.5) / SECOND == pytest.approx(seconds)


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 0), (0.25, 2), (0.999, 7.992)])
def test_with_jitter_chance_decides_below_that(chance, seconds):
    assert Retry().delay_after(4, chance) == seconds * SECOND


@pytest.mark.parametrize(
    ("retry", "error", "tries", "wants"),
    [
        (Retry(max_retries=0), ValueError(), 1, False),
        (Retry(max_retries=1), ValueError(), 1, True),
        (Retry(max_retries=1), ValueError(), 2, False),
        (Retry(on=(OSError,)), ValueError(), 1, False),
        (Retry(on=(OSError,)), TimeoutError(), 1, True),
        (Retry(on=(OSError, ValueError)), ValueError(), 1, True),
        (Retry(on=()), ValueError(), 1, False),
        (Retry(), SystemExit(), 1, False),
        (Retry(on=(BaseException,)), SystemExit(), 1, True),
    ],
)
def test_what_is_tried_again(retry, error, tries, wants):
    assert retry.wants(error, tries) is wants


@pytest.mark.parametrize(
    "fields",
    [
        {"max_retries": -1},
        {"max_retries": 1.5},
        {"delay": -1},
        {"delay": "soon"},
        {"backoff": 0.5},
        {"backoff": float("nan")},
        {"backoff": float("inf")},
        {"max_delay": -1},
        {"on": (ValueError, "TypeError")},
        {"on": ValueError},
    ],
)
def test_a_retry_that_cannot_be_is_refused(fields):
    with pytest.raises(InvalidOptionError, match=next(iter(fields))):
        Retry(**fields)


# ── what the record carries ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("policies", "at_most_once", "is_parallel"),
    [
        (Policies(), False, False),
        (Policies(recovery="skip"), True, False),
        (Policies(overlap="allow"), True, True),
        (Policies(overlap="allow", recovery="rerun"), True, True),
        (Policies(overlap="queue"), False, False),
    ],
)
def test_what_is_at_most_once(policies, at_most_once, is_parallel):
    assert (policies.at_most_once, policies.is_parallel) == (at_most_once, is_parallel)


def test_policies_go_to_json_and_back():
    policies = Policies(
        misfire="skip",
        misfire_grace=1.5,
        max_catchup=7,
        overlap="queue",
        recovery="skip",
        jitter=2,
        max_runs=3,
        tags=("a",),
    )
    assert Policies.model_validate_json(policies.model_dump_json()) == policies
    assert (policies.recovery, policies.misfire_grace) == (Recovery.SKIP, timedelta(seconds=1.5))


def test_what_a_later_version_wrote_is_passed_over():
    """So that instances of two versions can share a storage."""
    assert Policies.model_validate({"overlap": "queue", "colour": "red"}) == Policies(overlap="queue")
