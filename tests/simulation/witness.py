"""
The storage as the simulated world sees it: the real one, with an eye that notes what takes effect.
"""

from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from chrono_async import Clock, JobRecord
from chrono_async.claims import (
    ClaimAnswer,
    ClaimRequest,
    Granted,
    Lease,
    Outcome,
    Registered,
    Release,
    RenewAnswer,
    SettleAnswer,
)
from chrono_async.models import RunRecord

from .history import (
    Advanced,
    Changed,
    Claimed,
    History,
    NotRenewed,
    Refused,
    Released,
    Renewed,
    Seen,
    Settled,
)

NOTED = frozenset(
    {"register", "claim", "renew", "settle", "release", "advance", "set_paused", "resume", "reschedule", "trigger"}
    | {"delete_job"}
)
"""The verbs of which more is noted than what they leave behind."""


class Witness:
    """Notes what a process's calls did, and afterwards every record that is not as it was."""

    def __init__(
        self,
        history: History,
        clock: Clock,
        records: Callable[[], dict[str, JobRecord]],
        *,
        notes: frozenset[str],
        looks: bool = True,
    ) -> None:
        self.history, self.clock, self._records = history, clock, records
        self._notes, self._looks = notes, looks
        self._known: dict[str, JobRecord] = {}
        self._granted: set[tuple[str, int]] = set()
        self._asked: set[tuple[str, str, datetime]] = set()
        self._sent: Counter[tuple[str, str, datetime]] = Counter()
        self._leases: dict[tuple[str, int], float] = {}
        self._first_asked: dict[tuple[str, str, datetime], float] = {}
        self.as_of: float | None = None
        """When what is noted was so, if that was before."""

    def note_sent(self, requests: Sequence[ClaimRequest], owner: str) -> None:
        """Remember that claims are on their way: who sends them again has heard nothing of the first ones."""
        self._sent.update((owner, request.job_id, request.fire_time) for request in requests)
        self.note_asked(requests, owner, self.clock.boot())

    def note_asked(self, requests: Sequence[ClaimRequest], owner: str, at: float) -> None:
        """Remember when claims were asked for, if they had not been before."""
        for request in requests:
            self._first_asked.setdefault((owner, request.job_id, request.fire_time), at)

    async def perform(self, who: str, storage: Any, verb: str, *args: Any, **kwargs: Any) -> Any:
        """Call the storage, and note what came of it."""
        call: Coroutine[Any, Any, Any] = getattr(storage, verb)(*args, **kwargs)
        held = {lease: self._holds(lease) for lease in _leases_in(verb, args)}
        if verb == "claim":
            self.note_asked(*args[:2], self.clock.boot())
        answer = await call
        if verb in self._notes:
            getattr(self, f"_note_{verb}")(who, answer, held, *args, **kwargs)
        if self._looks:
            self.look(verb)
        return answer

    def _note(self, kind: Any, *values: Any) -> None:
        at = self.clock.boot() if self.as_of is None else self.as_of
        self.history.events.append(kind(at, *values))

    def _holds(self, lease: Lease) -> bool:
        record = self._records().get(lease.job_id)
        if record is None:
            return False
        return (record.owner, record.token) == (lease.owner, lease.token) or any(
            flight.token == lease.token for flight in record.flights
        )

    # ── what the storage was asked, and said ─────────────────────────────────────────────────────────────────────────

    def _note_register(self, who: str, answer: Registered, _: Any, record: JobRecord) -> None:
        self._note(Changed, who, record.id, "register", str(answer.verdict))

    def _note_delete_job(self, who: str, _: Any, __: Any, job: str) -> None:
        self._note(Changed, who, job, "delete_job", "done")

    def _note_set_paused(self, who: str, _: Any, __: Any, job: str) -> None:
        self._note(Changed, who, job, "set_paused", "done")

    def _note_trigger(self, who: str, _: Any, __: Any, job: str, *___: Any) -> None:
        self._note(Changed, who, job, "trigger", "done")

    def _note_resume(self, who: str, answer: Any, _: Any, job: str, **__: Any) -> None:
        verdict = "kept" if self._is_where_it_was(job) else "done"
        self._note(Changed, who, job, "resume", "refused" if answer is None else verdict)

    def _note_reschedule(self, who: str, answer: Any, _: Any, job: str, *__: Any, **___: Any) -> None:
        self._note(Changed, who, job, "reschedule", "refused" if answer is None else "done")

    def _note_claim(
        self, who: str, answer: ClaimAnswer, _: Any, requests: Sequence[ClaimRequest], owner: str, ttl: timedelta
    ) -> None:
        for request, verdict in zip(requests, answer.verdicts, strict=True):
            name = (owner, request.job_id, request.fire_time)
            reasked = name in self._asked or self._sent[name] > 1
            if isinstance(verdict, Granted):
                self._note_grant(who, request, verdict, (answer.now, ttl), (reasked, self._first_asked[name]))
            else:
                self._note(Refused, who, request.job_id, type(verdict).__name__.lower(), reasked)
            self._asked.add(name)

    def _note_grant(
        self,
        who: str,
        request: ClaimRequest,
        granted: Granted,
        terms: tuple[datetime, timedelta],
        asked_before: tuple[bool, float],
    ) -> None:
        now, ttl = terms
        job, token, until = request.job_id, granted.lease.token, self.clock.boot() + ttl.total_seconds()
        again = (job, token) in self._granted
        self._granted.add((job, token))
        self._leases[job, token] = until
        asked = (request.manual, request.next_run, request.revision, request.moves, request.frees)
        told = (token, granted.attempt, *asked, now, until, again, *asked_before)
        self._note(Claimed, who, job, request.fire_time, *told)

    def _note_renew(self, who: str, answer: RenewAnswer, _: Any, leases: Sequence[Lease], ttl: timedelta) -> None:
        now = self.clock.boot()
        for lease in leases:
            if lease in answer.lost:
                self._note(NotRenewed, who, lease.job_id, lease.token)
            else:
                name = lease.job_id, lease.token
                was_over = self._leases.get(name, now) < now
                self._leases[name] = now + ttl.total_seconds()
                self._note(Renewed, who, *name, self._leases[name], was_over)

    def _note_settle(self, who: str, answer: SettleAnswer, _: Any, outcomes: Sequence[Outcome]) -> None:
        for outcome, settled in zip(outcomes, answer.settled, strict=True):
            run = outcome.run
            told = (str(settled.verdict), str(run.status), run.missed, outcome.skipped and outcome.skipped.missed)
            token = outcome.lease.token
            self._note(Settled, who, run.job_id, token, run.fire_time, run.manual, *told, run.attempt, run.error)

    def _note_release(self, who: str, _: Any, held: dict[Lease, bool], releases: Sequence[Release]) -> None:
        for given in releases:
            self._note(Released, who, given.lease.job_id, given.lease.token, held[given.lease])

    def _note_advance(
        self, who: str, _: Any, __: Any, job: str, move: RunRecord, *, revision: int, next_run: datetime | None
    ) -> None:
        del revision
        done = job in self._known and job in self._records() and not self._is_where_it_was(job)
        self._note(Advanced, who, job, move.fire_time, next_run, move.missed, done)

    def _is_where_it_was(self, job: str) -> bool:
        """Whether a job's pointer is known to be what it was before the call."""
        record, before = self._records().get(job), self._known.get(job)
        return record is not None and before is not None and record.next_run == before.next_run

    # ── what it left behind ──────────────────────────────────────────────────────────────────────────────────────────

    def look(self, by: str) -> None:
        """Note each record that has changed since the last look."""
        records = self._records()
        for job, record in records.items():
            if self._known.get(job) != record:
                self._known[job] = copy = record.copy()
                self._note(Seen, job, by, copy)
        for job in [job for job in self._known if job not in records]:
            del self._known[job]
            self._note(Seen, job, by, None)


def _leases_in(verb: str, args: tuple[Any, ...]) -> Iterable[Lease]:
    return [release.lease for release in args[0]] if verb == "release" else []
