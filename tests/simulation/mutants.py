"""
Small breaks of one rule each, in the engine or in the storage, that a simulation must notice.

A simulation in which one of these goes unseen proves nothing about the rule that it breaks.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any, NamedTuple
from unittest import mock

from chrono_async import InMemoryStorage, Misfire, Overlap, policies
from chrono_async.claims import Granted, Release, Settled
from chrono_async.engine import desk, loop, outcomes, planner, preemption, runner, state
from chrono_async.engine.leases import LeaseKeeper
from chrono_async.engine.loop import RunLoop
from chrono_async.engine.runner import Runner
from chrono_async.engine.settler import Settler
from chrono_async.engine.unanswered import Asked
from chrono_async.errors import StorageError
from chrono_async.policies import Backlog, Move
from chrono_async.storage._ledger.optimistic import OptimisticLedger
from chrono_async.storage._ledger.rows import JobRow
from chrono_async.storage._ledger.sheet import Change
from chrono_async.storage._table import claiming, endings
from chrono_async.storage._table.instants import microseconds_of
from chrono_async.storage._table.table import Table
from chrono_async.storage.portable import PortableStorage

from .ledger import LedgerClient, RowServer
from .server import ServerStorage


class Mutant(NamedTuple):
    """What is broken, and which rules notice (any of them will do)."""

    break_it: Callable[[], contextlib.AbstractContextManager[Any]]
    noticed_by: frozenset[str]
    eight_methods: bool = False
    on_rows: bool = False


def _instead(owner: Any, name: str, function: Any) -> Callable[[], contextlib.AbstractContextManager[Any]]:
    return lambda: mock.patch.object(owner, name, function)


# ── in the storage ───────────────────────────────────────────────────────────────────────────────────────────────────

_settle, _grant, _regrant = Table._settle, Table._grant, claiming.regrant


def _settle_whoever_asks(self: Any, outcome: Any, at: Any) -> Settled:
    record = self.records.get(outcome.lease.job_id)
    if record is None or record.owner is None:
        return _settle(self, outcome, at)
    endings.settle(record, outcome)
    self.locks.pop(record.id, None)
    return self._settled(record, outcome, at)


def _grant_and_keep_a_copy(self: Any, record: Any, *args: Any) -> Granted:
    granted = _grant(self, record, *args)
    self.__dict__.setdefault("copies", {})[record.id, granted.lease.token] = record.copy()
    return granted


def _settle_the_copy(self: Any, outcome: Any, at: Any) -> Settled:
    record, copy = self.records.get(outcome.lease.job_id), self.copies.get(outcome.lease[:2])
    if copy is not None and (record is None or claiming.holds(record, outcome.lease)):
        self.records[copy.id] = copy.copy()
    return _settle(self, outcome, at)


@contextlib.contextmanager
def _writing_whole_records() -> Iterator[None]:
    with (
        mock.patch.object(Table, "_grant", _grant_and_keep_a_copy),
        mock.patch.object(Table, "_settle", _settle_the_copy),
    ):
        yield


def _settle_repeated_again(self: Any, record: Any, outcome: Any, at: Any) -> Settled:
    if claiming.flight_of(record, outcome.lease) is None and outcome.lease.token == record.settled_token:
        endings.count(record, outcome)
        return self._settled(record, outcome, at)
    return _settle_other(self, record, outcome, at)


_settle_other = Table._settle_other


def _claim_whoever_holds_it(self: Any, request: Any, terms: Any, lock: Any, at: Any) -> Any:
    if request.job_id in self.records:
        self.locks.pop(request.job_id, None)
    return _claim(self, request, terms, lock, at)


_claim = Table._claim


async def _claim_without_looking_again(self: Any, record: Any, request: Any, owner: str, ttl: timedelta) -> Any:
    now = self._clock.now()
    least = max(microseconds_of(now), self._floor + 1)
    granted = claiming.grant(record, request, claiming.Terms(owner, now, now + ttl, least))
    await self._inner.save(record)
    return granted


_write_down = OptimisticLedger._write_down


async def _believe_that_all_was_written(self: Any, *args: Any) -> Any:
    now, _ = await _write_down(self, *args)
    return now, []


async def _read_without_history(self: Any, job_ids: Any, **options: Any) -> Any:
    return await _read_rows(self, job_ids, **(options | {"history": False}))


_read_rows = LedgerClient._read


def _put_over_what_others_wrote(self: RowServer, change: Change[JobRow]) -> bool:
    version, _ = self.rows.get(change.job_id, (0, ()))
    return _put(self, change._replace(version=version))


_put = RowServer._put


async def _write_at_any_time(self: Any, changes: Any, floors: Any, **_: Any) -> Any:
    return await _write_rows(self, changes, floors)


_write_rows = LedgerClient._write


# ── in the engine ────────────────────────────────────────────────────────────────────────────────────────────────────

_take_in = LeaseKeeper._take_in


def _trust_from_now(self: Any, _: float) -> float:
    return float(self._state.time.boot() + self._state.settings.trust / timedelta(seconds=1))


def _take_in_trusting_from_now(self: Any, runs: Any, lost: Any, _: float) -> None:
    _take_in(self, runs, lost, self._state.time.boot() + self._trust)


@contextlib.contextmanager
def _trusting_from_the_answer() -> Iterator[None]:
    with (
        mock.patch.object(RunLoop, "_trust_until", _trust_from_now),
        mock.patch.object(LeaseKeeper, "_take_in", _take_in_trusting_from_now),
    ):
        yield


async def _claim_under_one_name(self: Any, claims: Any) -> None:
    owner, sent = f"{self._state.settings.instance_id}/", self._state.time.boot()
    if not await self._ask_for(claims, owner, sent):
        self._put_off([Asked(claim, owner, sent) for claim in claims])


def _next_from_now(schedule: Any, fire_time: Any, claimed_at: Any, finished: Any, overlap: Any) -> Move:
    del fire_time, claimed_at, overlap
    return Move(schedule.next(finished))


def _forget_that_they_were_asked(self: Any, asked: Any) -> None:
    for claim in asked:
        self._state.arm_later(claim.claim.due, timedelta(seconds=self._state.door.pause()))


async def _write_once(self: Any) -> None:
    batch = self._take_batch()
    try:
        await self._write(batch)
    except StorageError:
        for run in batch:
            self._forget(run)


def _release_what_runs(self: Any, job: Any, due: Any) -> bool:
    runs = self._state.runs.of(job.id)
    if runs and not job.is_parallel:
        for run in runs:
            given = self._state.door.storage.release([Release(run.lease)])
            self.__dict__.setdefault("given", []).append(loop.asyncio.ensure_future(_quietly(given)))
    return _is_overlapping(self, job, due)


_is_overlapping = RunLoop._is_overlapping


async def _quietly(call: Any) -> None:
    with contextlib.suppress(StorageError):
        await call


async def _renew_nothing(self: Any) -> None:
    self._failed = False


def _fence_nothing(self: Any) -> None:
    del self


async def _renew_then_fence(self: Any) -> None:
    await self._renew()
    self._fence()


# ── in what the engine makes of a run ────────────────────────────────────────────────────────────────────────────────

_start, _end = Runner.start, Runner._end


def _without_running(is_meant: Callable[[Any], bool], error: BaseException | None) -> Any:
    def start(self: Any, run: Any) -> None:
        if not is_meant(run):
            _start(self, run)
            return
        run.started = self._state.time.now()
        self._state.runs.add(run)
        run.error = error
        _end(self, run)

    return start


def _is_taken_over(run: Any) -> bool:
    return bool(run.attempt > 1)


def _end_as_if_done(self: Any, run: Any) -> None:
    if isinstance(run.error, asyncio.CancelledError) and run.why_cancelled is not None:
        run.error = None
    _end(self, run)


def _give_back_what_is_done(self: Any, run: Any) -> None:
    if run.error is None and not run.at_most_once:
        run.finished = self._state.time.now()
        self._settler.release(run)
    else:
        _end(self, run)


def _want_no_retry(run: Any, error: BaseException) -> bool:
    del run, error
    return False


# ── in what the engine makes of a backlog, and of an overlap ─────────────────────────────────────────────────────────

_resolve, _move_after = policies.resolve_backlog, policies.move_after_run


def _resolving(misfire: Misfire, otherwise: Callable[..., Backlog]) -> Any:
    def resolve(schedule: Any, due: Any, now: Any, options: Any, *, grace: timedelta, found: Any) -> Backlog:
        as_it_ought_to_be = _resolve(schedule, due, now, options, grace=grace, found=found)
        return otherwise(schedule, due, now, as_it_ought_to_be) if options.misfire is misfire else as_it_ought_to_be

    return _instead(planner, "resolve_backlog", resolve)


def _drop_the_backlog(schedule: Any, due: Any, now: Any, ought: Backlog) -> Backlog:
    return ought if ought.missed is None else policies._skip(schedule, due, now, timedelta(0))


def _run_the_latest(schedule: Any, due: Any, now: Any, _: Backlog) -> Backlog:
    return policies._fire_once(schedule, due, now)


def _run_the_earliest(_: Any, due: Any, __: Any, ought: Backlog) -> Backlog:
    return ought if ought.missed is None else Backlog(due, due)


_deadline = planner.deadline


def _deadline_of_the_weak(job: Any, due: Any) -> Any:
    """Who fails has to wait; whom `peace_is_punctual` looks to has not."""
    return _deadline(job, due) + timedelta(seconds=0 if job.options.retry is None else 4)


_next = desk._next


def _next_but_one(schedule: Any, now: Any) -> Any:
    upcoming = _next(schedule, now)
    return None if upcoming is None else _next(schedule, upcoming) or upcoming


def _move_as_if_skipping(schedule: Any, fire_time: Any, claimed_at: Any, finished: Any, overlap: Overlap) -> Move:
    is_queued = overlap is Overlap.QUEUE
    return _move_after(schedule, fire_time, claimed_at, finished, Overlap.SKIP if is_queued else overlap)


def _move_to_the_first(schedule: Any, fire_time: Any, claimed_at: Any, finished: Any, overlap: Overlap) -> Move:
    move = _move_after(schedule, fire_time, claimed_at, finished, overlap)
    return move if move.skipped is None or not move.queued else Move(move.skipped.first, queued=True)


_upcoming = preemption._upcoming


def _upcoming_though_paused(job: Any, record: Any, runs: Any) -> Any:
    resumed = record.copy()
    resumed.paused = False
    return _upcoming(job, resumed, runs)


MUTANTS: dict[str, Mutant] = {
    "a settle is not held against its token": Mutant(
        _instead(Table, "_settle", _settle_whoever_asks),
        frozenset({"stale_words_are_refused", "occurrences_are_settled_once"}),
    ),
    "a settle writes the whole record": Mutant(
        _writing_whole_records, frozenset({"pausing_wins", "deleted_stays_deleted", "rescheduling_wins"})
    ),
    "a repeated settle is counted again": Mutant(
        _instead(Table, "_settle_other", _settle_repeated_again), frozenset({"occurrences_are_settled_once"})
    ),
    "a claim ignores a living lease": Mutant(
        _instead(Table, "_claim", _claim_whoever_holds_it),
        frozenset({"leases_exclude_each_other", "bodies_keep_apart"}),
    ),
    "no lease is cut since the clock went back": Mutant(
        _instead(ServerStorage, "heartbeat", InMemoryStorage.heartbeat), frozenset({"all_is_well_in_the_end"})
    ),
    "nobody looks again after the lock": Mutant(
        _instead(PortableStorage, "_claim_locked", _claim_without_looking_again),
        frozenset({"at_most_once_is_begun_once", "a_token_is_for_one_run", "bodies_keep_apart"}),
        eight_methods=True,
    ),
    "who was not the first to write is believed to have written": Mutant(
        _instead(OptimisticLedger, "_write_down", _believe_that_all_was_written),
        frozenset({"leases_exclude_each_other", "repeats_have_a_reason", "bodies_keep_apart"}),
        on_rows=True,
    ),
    "a row is written over what others wrote": Mutant(
        _instead(RowServer, "_put", _put_over_what_others_wrote),
        frozenset({"leases_exclude_each_other", "repeats_have_a_reason", "bodies_keep_apart"}),
        on_rows=True,
    ),
    "what is recalled is written at any time": Mutant(
        _instead(LedgerClient, "_write", _write_at_any_time), frozenset({"nothing_is_claimed_early"}), on_rows=True
    ),
    "nobody looks in the history for what was written": Mutant(
        _instead(LedgerClient, "_read", _read_without_history), frozenset({"what_was_written_is_known"}), on_rows=True
    ),
    "trust counts from the answer": Mutant(_trusting_from_the_answer, frozenset({"a_body_ends_before_its_lease"})),
    "an instance's claims have one owner": Mutant(
        _instead(RunLoop, "_claim", _claim_under_one_name),
        frozenset({"a_token_is_for_one_run", "leases_exclude_each_other", "repeats_have_a_reason"}),
    ),
    "the next run counts from now": Mutant(
        _instead(outcomes, "move_after_run", _next_from_now), frozenset({"no_fire_time_gets_lost"})
    ),
    "an unanswered claim is forgotten": Mutant(
        _instead(RunLoop, "_put_off", _forget_that_they_were_asked), frozenset({"no_lease_runs_out_by_itself"})
    ),
    "an unanswered settle is forgotten": Mutant(
        _instead(Settler, "_write_batch", _write_once), frozenset({"no_lease_runs_out_by_itself"})
    ),
    "an overlap gives the lease back": Mutant(
        _instead(RunLoop, "_is_overlapping", _release_what_runs),
        frozenset({"bodies_keep_apart", "a_body_ends_before_its_lease"}),
    ),
    "no lease is renewed": Mutant(
        _instead(LeaseKeeper, "_renew", _renew_nothing), frozenset({"no_lease_runs_out_by_itself"})
    ),
    "who renews is who ends bodies": Mutant(
        _instead(LeaseKeeper, "_renew_and_fence", _renew_then_fence), frozenset({"a_body_ends_before_its_lease"})
    ),
    "nobody ends a body that has lost its trust": Mutant(
        _instead(LeaseKeeper, "_fence", _fence_nothing), frozenset({"a_body_ends_before_its_lease"})
    ),
    "what is taken over has failed, unrun": Mutant(
        _instead(Runner, "start", _without_running(_is_taken_over, RuntimeError("not twice"))),
        frozenset({"outcomes_tell_what_bodies_did"}),
    ),
    "what is taken over is completed, unrun": Mutant(
        _instead(Runner, "start", _without_running(_is_taken_over, None)), frozenset({"outcomes_tell_what_bodies_did"})
    ),
    "what is asked for by hand is completed, unrun": Mutant(
        _instead(Runner, "start", _without_running(lambda run: run.manual, None)),
        frozenset({"outcomes_tell_what_bodies_did"}),
    ),
    "what is cut is completed": Mutant(
        _instead(Runner, "_end", _end_as_if_done), frozenset({"outcomes_tell_what_bodies_did"})
    ),
    "what is done is given back": Mutant(
        _instead(Runner, "_end", _give_back_what_is_done), frozenset({"outcomes_tell_what_bodies_did"})
    ),
    "nothing is tried again": Mutant(
        _instead(runner, "_wants_retry", _want_no_retry), frozenset({"failures_are_tried_again"})
    ),
    "all is tried again": Mutant(
        _instead(runner, "_wants_retry", lambda run, _: run.tries < 5), frozenset({"failures_are_tried_again"})
    ),
    "poison is never given up": Mutant(_instead(runner, "MAX_ATTEMPTS", 10**9), frozenset({"poison_is_given_up"})),
    "poison is given up early": Mutant(_instead(runner, "MAX_ATTEMPTS", 1), frozenset({"poison_is_given_up"})),
    "what fails is late": Mutant(
        _instead(state, "deadline", _deadline_of_the_weak), frozenset({"what_is_due_is_claimed"})
    ),
    "a job begins one fire time late": Mutant(
        _instead(desk, "_next", _next_but_one), frozenset({"what_is_set_begins_with_the_next"})
    ),
    "FIRE_ONCE drops a backlog": Mutant(
        _resolving(Misfire.FIRE_ONCE, _drop_the_backlog), frozenset({"misfires_follow_their_policy"})
    ),
    "FIRE_ONCE runs the earliest": Mutant(
        _resolving(Misfire.FIRE_ONCE, _run_the_earliest), frozenset({"misfires_follow_their_policy"})
    ),
    "FIRE_ALL is FIRE_ONCE": Mutant(
        _resolving(Misfire.FIRE_ALL, _run_the_latest), frozenset({"misfires_follow_their_policy"})
    ),
    "SKIP is FIRE_ONCE": Mutant(_resolving(Misfire.SKIP, _run_the_latest), frozenset({"misfires_follow_their_policy"})),
    "SKIP runs the earliest": Mutant(
        _resolving(Misfire.SKIP, lambda _, due, __, ___: Backlog(due, due)),
        frozenset({"misfires_follow_their_policy"}),
    ),
    "QUEUE is SKIP": Mutant(
        _instead(outcomes, "move_after_run", _move_as_if_skipping), frozenset({"overlaps_follow_their_policy"})
    ),
    "QUEUE runs the earliest": Mutant(
        _instead(outcomes, "move_after_run", _move_to_the_first), frozenset({"overlaps_follow_their_policy"})
    ),
    "CANCEL_RUNNING cancels for a fire time of a paused job": Mutant(
        _instead(preemption, "_upcoming", _upcoming_though_paused),
        frozenset({"outcomes_tell_what_bodies_did"}),
        on_rows=True,
    ),
}
"""By what is wrong with it."""


def seeds_until_noticed(mutant: Mutant, seeds: Iterable[int], judge: Callable[[int, Mutant], list[str]]) -> int | None:
    """Return the first seed whose world shows what is wrong with the mutant, or None."""
    with mutant.break_it():
        for seed in seeds:
            if mutant.noticed_by & set(judge(seed, mutant)):
                return seed
    return None
