"""
The run loop: it awaits the earlier of the next deadline or the wake event, decides purely, claims in one batch, and
starts what was granted.
"""

import asyncio
import inspect
import itertools
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from .._tasks import is_cancellation
from ..claims import ClaimVerdict, Early, Gone, Granted, Held
from ..errors import StorageError
from ..events import FireTimesMissed
from ..models import Due, owner_of
from ..policies import Overlap
from .bursts import elsewhere, in_turn
from .planner import Advance, Claim, plan
from .preemption import Preemption
from .registry import LocalJob
from .run import Run
from .runner import Runner
from .state import State
from .unanswered import Asked, Unanswered, of_first_owner

_logger = logging.getLogger("chrono_async")

_MOST_LOOKED_AT = 1000
_LOOK_AGAIN = 1.0
_NEVER = 86_400.0
_LONGEST_SLEEP = 1.0  # so that a set clock or a suspended laptop is noticed
_SHORTEST_SLEEP = 1e-5  # a timer may fire a little early; sleeping for nothing would spin
_REARM = timedelta(milliseconds=1)  # a slewed clock says "early" by microseconds: ask again, but do not spin


@dataclass(frozen=True, slots=True, eq=False)
class _Sight:
    """When something was first seen to be due: by the storage's clock, and by the one that is never set."""

    now: datetime
    boot: float

    def found_by(self, now: datetime, boot: float) -> datetime:
        """Return when that was, by a storage's clock that may have been set back since: it shows `now`."""
        return min(self.now, now - timedelta(seconds=boot - self.boot))


class _Candidate(NamedTuple):
    """What is due, and when that was first seen."""

    due: Due
    seen: _Sight


class RunLoop:
    """One task; nothing else claims."""

    def __init__(self, state: State, runner: Runner) -> None:
        self._state, self._runner = state, runner
        self._preemption = Preemption(state)
        self._ready: dict[str, _Candidate] = {}  # due and seen, waiting for a free place, in order
        self._is_beaten = False  # others were first with most of what was asked for last
        self._is_behind = False  # others have moved on with jobs that are known here as they were
        self._most_at_once = state.door.claim_batch
        self._unanswered = Unanswered(state.settings.lock_ttl)
        self._at_once = 1  # so many of them are asked for again together: more with each answer
        self._overtaken: list[Due] = []  # own runs of these jobs may have to make room
        self._longest_sleep = _LONGEST_SLEEP

    async def run(self) -> None:
        """Turn until the scheduler drains."""
        with self._state.time.wakes_when_set(self._state.wake.set) as is_told:
            self._longest_sleep = _NEVER if is_told else _LONGEST_SLEEP
            while not self._state.draining.is_set():
                await self._turn()

    async def _turn(self) -> None:
        await self._sleep_until_due_or_woken()
        self._look()
        if self._ready and await self._leads():
            await self._act(self._take())
        if self._overtaken:
            overtaken, self._overtaken = self._overtaken, []
            await self._preemption.cancel(overtaken)
        if self._is_beaten and self._ready:
            await self._see_what_is_left()
        self._is_beaten = False
        if self._is_behind and not self._ready:
            self._is_behind = False
            self._state.hurry.set()

    async def _sleep_until_due_or_woken(self) -> None:
        state = self._state
        seconds = self._seconds_to_sleep()
        if seconds <= 0:
            await asyncio.sleep(0)  # what is ready goes on, however much is due
        elif not state.wake.is_set():
            timer = asyncio.get_running_loop().call_later(seconds, state.wake.set)
            try:
                await state.wake.wait()
            finally:
                timer.cancel()
        state.wake.clear()

    def _seconds_to_sleep(self) -> float:
        if self._ready and self._has_place():
            return 0
        longest = self._longest_sleep
        if self._ready:  # a place may fall free with a lease that nobody has heard of
            longest = min(longest, max(self._unanswered.seconds_left(self._state.time.boot()), _SHORTEST_SLEEP))
        deadline = self._state.timeline.next_deadline()
        if deadline is None:
            return longest
        ahead = (deadline - self._state.time.now()) / timedelta(seconds=1)
        return min(max(ahead, _SHORTEST_SLEEP), longest) if ahead > 0 else 0

    def _has_place(self) -> bool:
        """Whether any of the ready jobs may be claimed."""
        places = self._places()
        return places is None or places > 0 or any(job_id in self._ready for job_id in self._unanswered)

    def _places(self) -> int | None:
        """How many more jobs may be claimed; None for any number. What may have been granted has its place already."""
        free, registry = self._state.free_places, self._state.registry
        return None if free is None else free - sum(job_id in registry for job_id in self._unanswered)

    def _look(self) -> None:
        """Move what is due from the timeline to those that wait for a place, noting when it was first seen."""
        state = self._state
        if state.time.has_stepped():
            state.hurry.set()  # the storage's clock may be this one
        now, boot = state.time.now(), state.time.boot()
        self._unanswered.drop_ended(boot)
        seen = _Sight(now, boot)
        for due in in_turn(state.timeline.pop_due(now), state.instances, state.settings.instance_id):
            before = self._ready.get(due.job_id)
            is_same = before is not None and before.due.next_run == due.next_run
            self._ready[due.job_id] = before._replace(due=due) if before and is_same else _Candidate(due, seen)

    async def _leads(self) -> bool:
        leader = self._state.settings.leader
        if leader is None:
            return True
        try:
            async with asyncio.timeout(self._state.settings.storage_timeout / timedelta(seconds=1)):
                answer = leader.is_leader()
                leads = bool(await answer) if inspect.isawaitable(answer) else bool(answer)
        except (Exception, asyncio.CancelledError) as error:
            if is_cancellation(error):
                raise
            _logger.exception("leader.is_leader() failed; nothing is claimed")
            leads = False
        if not leads:
            self._put_back([ready.due for ready in self._ready.values()], timedelta(seconds=_LOOK_AGAIN))
            self._ready.clear()
        return leads

    def _take(self) -> list[_Candidate]:
        """Take as many as may start now."""
        places = self._places()
        most = self._most_at_once if places is None else max(min(places, self._most_at_once), 0)
        if len(self._ready) <= most:
            taken, self._ready = list(self._ready.values()), {}
            return taken
        again = (job_id for job_id in self._unanswered if job_id in self._ready)
        others = (job_id for job_id in self._ready if job_id not in self._unanswered)
        job_ids = [*itertools.islice(again, self._most_at_once), *itertools.islice(others, most)]
        return [self._ready.pop(job_id) for job_id in job_ids]

    async def _act(self, candidates: list[_Candidate]) -> None:
        claims: list[Claim] = []
        again: list[Asked] = []
        moves: list[tuple[Due, Advance]] = []
        now, boot = self._state.time.now(), self._state.time.boot()
        found = {seen: seen.found_by(now, boot) for seen in {candidate.seen for candidate in candidates}}
        for candidate in candidates:
            due = candidate.due
            asked = self._unanswered.pop(due.job_id, boot)
            self._state.ask_again.pop(due.job_id, None)
            job = self._state.registry.get(due.job_id)
            if job is None or self._is_overlapping(job, due):
                continue
            if asked is not None:
                again.append(asked)  # even if the job was added again since: the claim may have been granted
                continue
            step = self._decide(job, due, now, found[candidate.seen])
            if isinstance(step, Claim):
                claims.append(step)
            elif step is not None:
                moves.append((due, step))
        if claims:
            await self._claim(claims)
        if again:
            await self._claim_again(again)
        if moves:
            await self._advance_all(moves)

    def _is_overlapping(self, job: LocalJob, due: Due) -> bool:
        """Whether an own run is going: what comes next for the job is then settled with it."""
        if job.is_parallel or not self._state.runs.of(job.id):
            return False
        if job.policies.overlap is Overlap.CANCEL_RUNNING and self._preemption.has_come(job, due):
            self._overtaken.append(due)
        return True

    def _decide(self, job: LocalJob, due: Due, now: datetime, found: datetime) -> Claim | Advance | None:
        """Ask the rules. A schedule of a user's own may fail; that costs its job a turn, and nobody else anything."""
        try:
            return plan(job, due, now, found, self._state.settings.instance_id)
        except Exception:
            _logger.exception("the schedule of job %r failed; it is asked again at the next poll", job.id)
            return None

    async def _advance_all(self, moves: list[tuple[Due, Advance]]) -> None:
        """Move pointers, one by one, until one is not answered or the drain has come: those left wait their turn."""
        for at, (due, step) in enumerate(moves):
            if self._state.draining.is_set():
                return
            try:
                await self._advance(due, step)
            except StorageError as error:
                if not self._state.leaves_out(due.job_id, error):
                    self._put_back([due for due, _ in moves[at:]], timedelta(seconds=self._state.door.pause()))
                    return

    async def _advance(self, due: Due, step: Advance) -> None:
        state, row = self._state, step.row
        call = state.door.storage.advance(due.job_id, row, revision=due.revision, next_run=step.next_run)
        after = await state.door.ask(call)
        if after == due:  # refused, for a reason that does not show; it may last
            state.arm_later(due, timedelta(seconds=_LOOK_AGAIN))
            return
        state.arm(after)
        if row.missed is not None:
            state.bus.tell(FireTimesMissed(state.time.now(), due.job_id, row.missed))

    async def _claim(self, claims: list[Claim]) -> None:
        """Claim all in one round trip, as an owner like no other: not the same instance's, nor a copy of it."""
        owner = owner_of(self._state.settings.instance_id, os.urandom(8).hex())
        sent = self._state.time.boot()
        if not await self._ask_for(claims, owner, sent):
            self._put_off([Asked(claim, owner, sent) for claim in claims])

    async def _claim_again(self, again: list[Asked]) -> None:
        """
        Ask again, until one is not answered: it comes last next time, alone, and holds up none of the others.

        The owner is the same, so that a claim which took effect before is found to be its own. Its lease lasts from the
        last asking on.
        """
        while again and not self._state.draining.is_set():
            asked = of_first_owner(again[: self._at_once])
            again = again[len(asked) :]
            claims, owner = [claim.claim for claim in asked], asked[0].owner
            if not await self._ask_for(claims, owner, self._state.time.boot()):
                self._at_once = 1
                self._put_off([*again, *asked])
                return
            self._at_once = min(2 * self._at_once, self._most_at_once)

    def _put_off(self, asked: Iterable[Asked]) -> None:
        """Remember claims whose outcome is unknown; they are asked again after a pause."""
        boot, pause = self._state.time.boot(), self._state.door.pause()
        for claim in asked:
            self._unanswered.put(claim)
            seconds = self._unanswered.pause(claim, boot, pause)
            self._state.arm_to_ask_again(claim.claim.due, timedelta(seconds=seconds))

    def _trust_until(self, sent: float) -> float:
        return sent + self._state.settings.trust / timedelta(seconds=1)

    async def _ask_for(self, claims: list[Claim], owner: str, sent: float) -> bool:
        """Claim, and act on the answer; whether there was one."""
        state, requests = self._state, [claim.request for claim in claims]
        try:
            answer = await state.door.ask_dated(state.door.storage.claim(requests, owner, state.settings.lock_ttl))
            state.door.check_answers(requests, answer.verdicts, ClaimVerdict)
        except StorageError as error:
            return len(claims) == 1 and state.leaves_out(claims[0].due.job_id, error)  # the poll brings it again
        self._is_beaten = 2 * sum(type(verdict) is Granted for verdict in answer.verdicts) < len(answer.verdicts)
        trust_until = self._trust_until(sent)
        for claim, verdict in zip(claims, answer.verdicts, strict=True):
            self._take_in(claim, verdict, answer.now, trust_until)
        return True

    async def _see_what_is_left(self) -> None:
        """Others were first with most of a helping: go on with what is still to be had, anywhere in it."""
        state, now = self._state, self._state.time.now()
        look = state.door.storage.due(now, now + _REARM, exclude=state.unknown, limit=_MOST_LOOKED_AT)
        try:
            page = await state.door.ask_dated(look, reads=True)
        except StorageError:
            return
        if not page.more:
            left = {due.job_id for due in page.due}
            self._ready = {
                job_id: ready for job_id, ready in self._ready.items() if job_id in left or self._is_own(ready)
            }
            self._is_behind = True
        self._ready = dict(elsewhere(self._ready.items()))

    def _is_own(self, candidate: _Candidate) -> bool:
        """Whether no look at the storage would bring it again: it is held by this instance, perhaps unknowingly."""
        due, state = candidate.due, self._state
        return due.job_id in self._unanswered or due.trigger is not None or bool(state.runs.of(due.job_id))

    def _take_in(self, claim: Claim, verdict: ClaimVerdict, now: datetime, trust_until: float) -> None:
        state = self._state
        match verdict:
            case Granted():
                state.torn.discard(claim.due.job_id)
                state.arm(verdict.due)
                self._runner.start(_make_run(claim, verdict, now, trust_until))
                if claim.job.policies.overlap is Overlap.CANCEL_RUNNING:
                    self._preemption.expect(claim.job, claim.due)
            case Held(until):
                state.arm(claim.due._replace(when=max(until, now + _REARM)))
            case Early(by):
                state.arm(claim.due._replace(when=now + max(by, _REARM)))
            case Gone():
                _logger.warning("job %r is in the storage no more: it was removed, or lost", claim.due.job_id)
                self._is_behind = True
            case _:  # moved by somebody else: a poll brings what is to be known of it, when all is asked for
                self._is_behind = True

    def _put_back(self, dues: Iterable[Due], pause: timedelta) -> None:
        for due in dues:
            self._state.arm_later(due, pause)


def _make_run(claim: Claim, granted: Granted, now: datetime, trust_until: float) -> Run:
    request = claim.request
    return Run(
        job=claim.job,
        lease=granted.lease,
        fire_time=request.fire_time,
        attempt=granted.attempt,
        manual=request.manual,
        missed=claim.missed,
        expected=granted.next_run,
        revision=request.revision,
        moves_pointer=not (request.manual or request.frees),
        claimed_at=now,
        trust_until=trust_until,
        at_most_once=claim.job.at_most_once,
        tries=granted.tries,
        previous_success=granted.last_success,
        arguments=granted.arguments,
    )
