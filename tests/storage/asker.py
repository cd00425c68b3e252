"""
What a storage is asked by chance, from what memory has answered before; and all that it can be asked to show.
"""

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

from chrono_async.claims import (
    ClaimRequest,
    Granted,
    Lease,
    Outcome,
    PointerMove,
    Release,
    SettleAnswer,
    Settled,
    SettleVerdict,
)
from chrono_async.errors import ChronoError
from chrono_async.models import Definition, Due, InstanceInfo, JobRecord, RunRecord, RunStatus, Trigger
from chrono_async.policies import Policies, Recovery
from chrono_async.storage import InMemoryStorage, LeasingStorage
from chrono_async.testing.contract import SteppedClock

SECOND = timedelta(seconds=1)
NAMES = ["a", "it's", "é 🕰", "d", "B"]
HISTORY = 5
Ask = Callable[[LeasingStorage], Awaitable[Any]]
Thing = TypeVar("Thing")


class Asker:
    """Thinks up what to ask of a storage, by chance, from what it has been answered."""

    def __init__(self, dice: random.Random, clock: SteppedClock) -> None:
        self.dice, self.clock = dice, clock
        self.seen: dict[str, JobRecord] = {}
        self.leases: list[tuple[Lease, RunRecord, PointerMove | None]] = []
        self.ways_back: dict[Lease, PointerMove] = {}

    def next(self) -> Ask:
        kinds = [
            self.register, self.claim, self.claim, self.claim, self.settle, self.settle, self.renew, self.release,
            self.advance, self.pause, self.resume, self.reschedule, self.trigger, self.delete, self.save, self.lock,
            self.unlock, self.beat, self.list_runs,
        ]  # fmt: skip
        return self.dice.choice(kinds)()

    def when(self) -> Any:
        return self.clock.now() + self.dice.randint(-5, 20) * SECOND

    def name(self) -> str:
        return self.dice.choice(NAMES)

    def record(self) -> JobRecord:
        return self.seen.get(self.name()) or JobRecord(id=self.name())

    def register(self) -> Ask:
        policies = Policies(
            max_runs=self.dice.choice([None, None, 3]), recovery=self.dice.choice([Recovery.RERUN, Recovery.SKIP])
        )
        definition = Definition(self.dice.choice("xy"), "bound")
        record = JobRecord(id=self.name(), name="ü", next_run=self.when(), schedule=definition, options=policies)
        return lambda storage: storage.register(record)

    def claim(self) -> Ask:
        asked, owner = [], f"me/{self.dice.randint(0, 10**9)}"
        for record in self.some(list(self.seen.values()), len(self.seen)):
            manual = record.manual or record.triggered
            is_manual = manual is not None and self.dice.random() < 0.7
            at = manual.at if is_manual and manual is not None else record.bound_fire_time or record.next_run
            if at is None:
                continue
            moves, frees = self.dice.random() < 0.3, self.dice.random() < 0.3
            to = max(at, record.next_run or at) + self.dice.randint(1, 9) * SECOND
            asked.append(
                ClaimRequest(
                    record.id, record.next_run, at, record.revision, is_manual,
                    (moves or frees) and not is_manual, to, frees,
                )
            )  # fmt: skip
        ttl = self.dice.randint(1, 10) * SECOND
        return lambda storage: self._claimed(storage, asked, owner, ttl)

    async def _claimed(self, storage: LeasingStorage, asked: list[ClaimRequest], owner: str, ttl: timedelta) -> Any:
        answer = await storage.claim(asked, owner, ttl)
        for request, verdict in zip(asked, answer.verdicts, strict=True):
            if isinstance(verdict, Granted) and isinstance(storage, InMemoryStorage):
                row = RunRecord(
                    request.job_id, request.fire_time, RunStatus.COMPLETED, "me", verdict.attempt, verdict.lease.token,
                    request.manual, self.clock.now(), self.clock.now(), retry_count=2,
                )  # fmt: skip
                move = None if request.manual else PointerMove(verdict.next_run, request.revision, self.when())
                self.leases.append((verdict.lease, row, move))
                if move is not None and request.moves:
                    self.ways_back[verdict.lease] = move._replace(next_run=request.fire_time, is_counted=True)
        return answer

    def some_leases(self) -> list[tuple[Lease, RunRecord, PointerMove | None]]:
        """The latest are the likeliest to be leases still; one may be asked about twice."""
        latest = self.leases[-6:]
        return self.some(latest, 4) + (self.some(latest, 1) if self.dice.randint(0, 4) == 4 else [])

    def some(self, of: list[Thing], most: int) -> list[Thing]:
        return self.dice.sample(of, min(len(of), self.dice.randint(0, most)))

    def settle(self) -> Ask:
        status = self.dice.choice(list(RunStatus)[:3])
        error = "boom é" if status is RunStatus.FAILED else ""
        outcomes = [
            Outcome(lease, row._replace(status=status, error=error), move) for lease, row, move in self.some_leases()
        ]
        return lambda storage: storage.settle(outcomes)

    def renew(self) -> Ask:
        leases = [lease for lease, *_ in self.some_leases()]
        ttl = self.dice.randint(1, 10) * SECOND
        return lambda storage: storage.renew(leases, ttl)

    def release(self) -> Ask:
        later = self.dice.choice([None, self.when()])
        cut_short = [(lease, row._replace(status=RunStatus.CANCELLED)) for lease, row, _ in self.some_leases()]
        back: dict[Lease, PointerMove] = self.dice.choice([{}, self.ways_back])
        given = [Release(lease, later, 1, row, back.get(lease)) for lease, row in cut_short]
        return lambda storage: storage.release(given)

    def advance(self) -> Ask:
        record, to = self.record(), self.when()
        row = RunRecord(record.id, record.next_run or self.clock.now(), RunStatus.MISSED)
        return lambda storage: storage.advance(record.id, row, revision=record.revision, next_run=to)

    def pause(self) -> Ask:
        name = self.name()
        return lambda storage: storage.set_paused(name)

    def resume(self) -> Ask:
        record, to = self.record(), self.when()
        return lambda storage: storage.resume(record.id, revision=record.revision, next_run=to)

    def reschedule(self) -> Ask:
        record, to = self.record(), self.when()
        new = Definition("z", "new")
        return lambda storage: storage.reschedule(record.id, new, revision=record.revision, next_run=to)

    def trigger(self) -> Ask:
        name, wish = self.name(), Trigger(self.clock.now(), "{}")
        return lambda storage: storage.trigger(name, wish)

    def delete(self) -> Ask:
        name = self.name() if self.dice.random() < 0.3 else "nobody"
        return lambda storage: storage.delete_job(name)

    def save(self) -> Ask:
        record = JobRecord(id=self.name(), next_run=self.when(), last_error="x", run_count=3)
        known = self.seen.get(record.id)
        if known is not None and not known.flights and self.dice.random() < 0.7:
            record = known
        return lambda storage: storage.save_job(record)

    def lock(self) -> Ask:
        name, owner, ttl = self.name(), self.dice.choice("xy"), self.dice.randint(1, 9) * SECOND
        return lambda storage: storage.acquire_lock(name, owner, ttl)

    def unlock(self) -> Ask:
        name, owner = self.name(), self.dice.choice("xy")
        return lambda storage: storage.release_lock(name, owner)

    def list_runs(self) -> Ask:
        name, limit = self.name(), self.dice.randint(0, 9)
        return lambda storage: storage.list_runs(name, limit=limit)

    def beat(self) -> Ask:
        instance = InstanceInfo(self.dice.choice("xy"), self.clock.now(), self.clock.now(), frozenset(NAMES))
        return lambda storage: storage.heartbeat(instance)


async def answer_of(storage: LeasingStorage, ask: Ask) -> Any:
    """Return the answer, or the kind of error."""
    try:
        answer = await ask(storage)
    except ChronoError as error:
        return type(error), str(error)
    return plain(answer) if isinstance(answer, SettleAnswer) else answer


def plain(answer: SettleAnswer) -> SettleAnswer:
    """Leave out what is due after a repeated settle: a ledger looks again, and sees what others of the batch did."""
    repeated = Settled(SettleVerdict.REPEATED)
    settled = [repeated if one.verdict is SettleVerdict.REPEATED else one for one in answer.settled]
    return answer._replace(settled=settled)


async def all_of(storage: LeasingStorage, clock: SteppedClock, limit: int) -> dict[str, Any]:
    """
    Return all that a storage can be asked to show.

    Two orders are not compared. That of what is overdue: a job whose lease has run out stands at the lease's end for
    some, at its pointer for others. And that of the rows of different jobs that come from one call.
    """
    due: list[Due] = []
    more = True
    while more:
        page = await storage.due(
            clock.now(), clock.now() + 12 * SECOND, exclude=["d"], limit=limit, after=due[-1] if due else None
        )
        due, more = due + page.due, page.more
    records = sorted(await storage.list_jobs(), key=lambda record: record.id)
    return {
        "due": [one for one in due if one.when > clock.now()],
        "overdue": sorted(one._replace(when=clock.now()) for one in due if one.when <= clock.now()),
        "records": records,
        "come": sorted(record.id for record in await storage.get_due_jobs(clock.now())),
        "runs": {name: await storage.list_runs(name) for name in NAMES},
        "all runs": sorted(bounded(await storage.list_runs()), key=repr),
        "instances": sorted(await storage.list_instances(), key=lambda instance: instance.instance_id),
    }


def bounded(rows: list[RunRecord]) -> list[RunRecord]:
    """Leave out what is more than is kept of a job: a server forgets it in passing, not at once."""
    counts: Counter[str] = Counter()
    kept = []
    for row in rows:
        counts[row.job_id] += 1
        if counts[row.job_id] <= HISTORY:
            kept.append(row)
    return kept
