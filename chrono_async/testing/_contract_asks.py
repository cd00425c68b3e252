"""
What a storage is asked by chance, from what memory has answered before; and all that it can be asked to show.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

from chrono_async import (
    Clock,
    InstanceInfo,
    JobRecord,
    LeasingStorage,
    Recovery,
    RunRecord,
    RunStatus,
    Storage,
)
from chrono_async.storage import (
    ClaimRequest,
    Definition,
    Due,
    Granted,
    Lease,
    Outcome,
    PointerMove,
    Policies,
    Release,
    Trigger,
)

_NAMES = ("a", "it's", "é 🕰", "d", "B")
_MOST_ROWS = 1000
_BEFORE = datetime(1970, 1, 1, tzinfo=UTC)
_Held = tuple[Lease, RunRecord, PointerMove | None]
_Thing = TypeVar("_Thing")


class Ask(NamedTuple):
    """A call of a storage's verb, as a value: so that it can be shown, and asked of two."""

    verb: str
    args: tuple[Any, ...]
    options: dict[str, Any]

    @property
    def job_id(self) -> str:
        """The job that it is about; empty if it is about several."""
        return self.args[0] if isinstance(self.args[0], str) else ""

    async def of(self, storage: Storage) -> Any:
        """Call it."""
        return await getattr(storage, self.verb)(*self.args, **self.options)

    def __str__(self) -> str:
        told = [*map(repr, self.args), *(f"{name}={value!r}" for name, value in self.options.items())]
        return f"{self.verb}({', '.join(told)})"


class Scale(NamedTuple):
    """How far apart the moments are that are asked about, and how far from the moments at which it is asked."""

    unit: timedelta
    aside: timedelta


def _ask(verb: str, *args: Any, **options: Any) -> Ask:
    return Ask(verb, args, options)


class Asker:
    """Thinks up what to ask of a storage, by chance, from what it has been answered; `mark` begins all its names."""

    def __init__(self, dice: random.Random, clock: Clock, scale: Scale, mark: str) -> None:
        self.dice, self._clock, self._scale, self._mark = dice, clock, scale, mark
        self.names = [mark + name for name in _NAMES]
        self.seen: dict[str, JobRecord] = {}
        self._held: list[_Held] = []
        self._over: list[_Held] = []
        self._ways_back: dict[Lease, PointerMove] = {}

    def next_of_eight(self) -> Ask:
        """Return something to ask of a storage that has only the eight methods."""
        return self._one_of(self._save, self._save, self._get, self._delete, self._lock, self._lock, self._unlock)

    def next(self) -> Ask:
        """Return something to ask of a storage with the leasing verbs."""
        return self._one_of(
            self._register, self._register, self._register, self._claim, self._claim, self._claim, self._claim,
            self._settle, self._settle, self._settle, self._renew, self._release, self._release, self._release,
            self._advance, self._pause, self._resume, self._reschedule, self._reschedule, self._trigger, self._delete,
            self._save, self._lock, self._unlock, self._beat, self._list_runs,
        )  # fmt: skip

    def _one_of(self, *kinds: Callable[[], Ask]) -> Ask:
        return self.dice.choice(kinds)()

    def learn(self, ask: Ask, answer: Any) -> None:
        """Hear what memory has answered: the leases that it grants are used later, likelier while they last."""
        if ask.verb == "claim":
            for request, verdict in zip(ask.args[0], answer.verdicts, strict=True):
                if isinstance(verdict, Granted):
                    self._held.append(self._run(request, verdict))
        elif ask.verb in {"settle", "release"}:
            self._end({given.lease for given in ask.args[0]})
        elif ask.verb == "renew":
            self._end(set(answer.lost))

    def _run(self, request: ClaimRequest, granted: Granted) -> _Held:
        now = self._clock.now()
        row = RunRecord(
            request.job_id, request.fire_time, RunStatus.COMPLETED, "me", granted.attempt, granted.lease.token,
            request.manual, now, now, retry_count=2,
        )  # fmt: skip
        move = None if request.manual else PointerMove(granted.next_run, request.revision, self._when())
        if move is not None and request.moves:
            self._ways_back[granted.lease] = move._replace(next_run=request.fire_time, is_counted=True)
        return granted.lease, row, move

    def _end(self, leases: AbstractSet[Lease]) -> None:
        self._over += [held for held in self._held if held[0] in leases]
        self._held = [held for held in self._held if held[0] not in leases]

    # ── what chance decides ──────────────────────────────────────────────────────────────────────────────────────────

    def _chance(self, of_ten: int) -> bool:
        """Be true so many times of ten. Of Hypothesis's floats most are small: two of three are less than 0.3."""
        return self.dice.randint(1, 10) > 10 - of_ten

    def _when(self) -> datetime:
        """Return a moment, as likely past as ahead."""
        return self._in(self.dice.randint(-8, 8))

    def _ahead(self) -> datetime:
        """Return a moment that a pointer can be set to, mostly: one that is still ahead."""
        return self._in(self.dice.randint(-1, 12))

    def _in(self, units: int) -> datetime:
        return self._clock.now() + units * self._scale.unit + self._scale.aside

    def _span(self, most: int) -> timedelta:
        return self.dice.randint(1, most) * self._scale.unit

    def _name(self) -> str:
        """Return a name: likely the first, or one of what is being run."""
        running = [lease.job_id for lease, *_ in self._held[-4:]]
        return self.dice.choice(self.names + self.names[:1] * 4 + running * 2)

    def _new_name(self) -> str:
        """Return a name: as likely as not that of a job that is not there."""
        missing = [name for name in self.names if name not in self.seen]
        return self.dice.choice(missing) if missing and self._chance(5) else self._name()

    def _record(self) -> JobRecord:
        name = self._name()
        return self.seen.get(name) or JobRecord(id=name)

    def _some(self, of: Sequence[_Thing], most: int) -> list[_Thing]:
        """Return so many at most. Where `sample` is called, Hypothesis mixes one series anew, and tries few others."""
        left = list(of)
        count = min(len(left), self.dice.randint(0, most))
        return [left.pop(self.dice.randint(0, len(left) - 1)) for _ in range(count)]

    def _some_leases(self) -> list[_Held]:
        """Mostly those that are leases still, as far as is known; one may be asked about twice."""
        some = self._some(self._held[-4:], 3)
        return some + self._some(self._over[-4:] + some, 2 if not some or self._chance(3) else 0)

    # ── the eight ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _save(self) -> Ask:
        record = JobRecord(id=self._name(), next_run=self._when(), last_error="x", run_count=3)
        record.paused = self._chance(2)
        known = self.seen.get(record.id)
        # Nobody writes back a run that may be over by now: who would end it again, nothing says.
        if known is not None and known.owner is None and not known.flights and self._chance(7):
            record = known
        return _ask("save_job", record)

    def _get(self) -> Ask:
        return _ask("get_job", self._name())

    def _delete(self) -> Ask:
        return _ask("delete_job", self._name() if self._chance(8) else f"{self._mark}nobody")

    def _lock(self) -> Ask:
        return _ask("acquire_lock", self._name(), self.dice.choice("xy"), self._span(9))

    def _unlock(self) -> Ask:
        return _ask("release_lock", self._name(), self.dice.choice("xy"))

    # ── the leasing verbs ────────────────────────────────────────────────────────────────────────────────────────────

    def _register(self) -> Ask:
        policies = Policies(
            max_runs=self.dice.choice([None, None, 3]), recovery=self.dice.choice([Recovery.RERUN, Recovery.SKIP])
        )
        definition = Definition(self.dice.choice("xy"), "bound")
        return _ask(
            "register",
            JobRecord(id=self._new_name(), name="ü", next_run=self._when(), schedule=definition, options=policies),
        )

    def _claim(self) -> Ask:
        records = self._some(list(self.seen.values()), len(self.seen))
        asked = [request for request in map(self._request, records) if request is not None]
        return _ask("claim", asked, f"me/{self.dice.randint(0, 10**9)}", self._span(10))

    def _request(self, record: JobRecord) -> ClaimRequest | None:
        waiting = record.manual or record.triggered
        manual = waiting if waiting is not None and self._chance(7) else None
        at = record.bound_fire_time or record.next_run if manual is None else manual.at
        if at is None:
            return None
        moves, frees = self._chance(5), self._chance(2)
        to = max(at, record.next_run or at) + self._span(9)
        is_moving = (moves or frees) and manual is None
        return ClaimRequest(record.id, record.next_run, at, record.revision, manual is not None, is_moving, to, frees)

    def _settle(self) -> Ask:
        status = self.dice.choice([RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED])
        error = "boom é" if status is RunStatus.FAILED else ""
        held = self._some_leases()
        return _ask(
            "settle", [Outcome(lease, row._replace(status=status, error=error), move) for lease, row, move in held]
        )

    def _renew(self) -> Ask:
        return _ask("renew", [lease for lease, *_ in self._some_leases()], self._span(10))

    def _release(self) -> Ask:
        later = self.dice.choice([None, self._when()])
        back = self._ways_back if self._chance(8) else {}
        cut_short = [(lease, row._replace(status=RunStatus.CANCELLED)) for lease, row, _ in self._some_leases()]
        return _ask("release", [Release(lease, later, 1, row, back.get(lease)) for lease, row in cut_short])

    def _advance(self) -> Ask:
        record, to = self._record(), self._ahead()
        row = RunRecord(record.id, record.next_run or self._clock.now(), RunStatus.MISSED)
        return _ask("advance", record.id, row, revision=record.revision, next_run=to)

    def _pause(self) -> Ask:
        return _ask("set_paused", self._name())

    def _resume(self) -> Ask:
        record = self._record()
        return _ask("resume", record.id, revision=record.revision, next_run=self._ahead())

    def _reschedule(self) -> Ask:
        record, new = self._record(), Definition("z", "new")
        return _ask("reschedule", record.id, new, revision=record.revision, next_run=self._ahead())

    def _trigger(self) -> Ask:
        return _ask("trigger", self._name(), Trigger(self._clock.now(), "{}"))

    def _list_runs(self) -> Ask:
        return _ask("list_runs", self._name(), limit=self.dice.randint(0, 9))

    def _beat(self) -> Ask:
        now, instance = self._clock.now(), self._mark + self.dice.choice("xy")
        return _ask("heartbeat", InstanceInfo(instance, now, now, frozenset(self.names)))


class Eye(NamedTuple):
    """
    Sees all of a series that a storage can be asked to show.

    Two orders are not looked at. That of what is overdue: a job whose lease has run out stands at the lease's end for
    some, at its pointer for others. And that of the rows of different jobs that come from one call.
    """

    clock: Clock
    scale: Scale
    mark: str
    names: list[str]
    history: int

    async def records(self, storage: Storage) -> list[JobRecord]:
        """Return all records."""
        return self._own(await storage.list_jobs(), "id")

    async def come(self, storage: Storage) -> list[JobRecord]:
        """Return the records of those jobs that have come due."""
        return self._own(await storage.get_due_jobs(self.clock.now()), "id")

    async def all(self, storage: LeasingStorage, limit: int) -> dict[str, Any]:
        """Return what all verbs show; what is due is read in pages of `limit`."""
        due, now = await self._due(storage, limit), self.clock.now()
        return {
            "records": await self.records(storage),
            "come": await self.come(storage),
            "due": self._ordered([one for one in due if one.when > now]),
            "overdue": self._own([one._replace(when=_BEFORE) for one in due if one.when <= now], "job_id"),
            "runs": {name: await storage.list_runs(name, limit=self.history) for name in self.names},
            "all runs": self._bounded(self._own(await storage.list_runs(limit=_MOST_ROWS), "job_id")),
            "instances": self._own(await storage.list_instances(), "instance_id"),
        }

    def _own(self, things: list[_Thing], name: str) -> list[_Thing]:
        """Return what is of this series, by its name."""
        named = attrgetter(name)
        return sorted((one for one in things if named(one).startswith(self.mark)), key=named)

    async def _due(self, storage: LeasingStorage, limit: int) -> list[Due]:
        due: list[Due] = []
        more = True
        while more:
            now = self.clock.now()
            until = now + 12 * self.scale.unit + self.scale.aside / 2
            skipped = [self.names[3]]
            page = await storage.due(now, until, exclude=skipped, limit=limit, after=due[-1] if due else None)
            due, more = due + page.due, page.more
        return due

    def _ordered(self, due: list[Due]) -> list[Due]:
        """Leave the order as it is, unless it can be another one by the moments that the asking takes."""
        return self._own(due, "job_id") if self.scale.aside else due

    def _bounded(self, rows: list[RunRecord]) -> list[RunRecord]:
        """Leave out what is more than is kept of a job: a server forgets it in passing, not at once."""
        counts: Counter[str] = Counter()
        kept = []
        for row in rows:
            counts[row.job_id] += 1
            if counts[row.job_id] <= self.history:
                kept.append(row)
        return kept
