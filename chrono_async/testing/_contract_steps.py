"""
The steps that the tests of the storage contract are made of.
"""

# ruff: noqa: S101 - these are tests, though they ship with the library

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Literal, Protocol, runtime_checkable

import pytest

from chrono_async import Clock, JobRecord, LeasingStorage, RunRecord, RunStatus, Storage
from chrono_async.storage import (
    ClaimRequest,
    ClaimVerdict,
    Definition,
    Due,
    Granted,
    Lease,
    Outcome,
    PointerMove,
    Policies,
    Settled,
    as_leasing,
)

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
_MOVABLE_TTL = timedelta(seconds=60)
_REAL_TTL = timedelta(seconds=0.4)
_PATIENCE = 15.0

ODD_IDS = [
    "it's", 'say "id"', "a/b\\c", "../up", "null", "007", " blanks ", "tab\tline\nend", "<&]]>", "emoji 🕰️",
    "bell \x07", "half \ud800", "\ufeff", "next\x85line", "é" * 512,
]  # fmt: skip


StorageFactory = Callable[[], Storage]
"""Makes a storage; one that is handed to other processes can be pickled, such as `partial(MyStorage, path)`."""


@runtime_checkable
class SettableClock(Clock, Protocol):
    """A clock that can be set: one that a storage is handed, or that stands for the clock of its server."""

    def step(self, by: timedelta) -> None:
        """Set the wall clock forward or back, and return when the storage goes by it."""


class SteppedClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime = datetime(2030, 1, 1, tzinfo=UTC)) -> None:
        self._now, self._boot = now, 1000.0

    def now(self) -> datetime:
        """Return the wall time."""
        return self._now

    def boot(self) -> float:
        """Return the time that leases end by."""
        return self._boot

    def advance(self, by: timedelta) -> None:
        """Let time pass."""
        self._now += by
        self._boot += by.total_seconds()

    def step(self, by: timedelta) -> None:
        """Set the wall clock, which moves no lease."""
        self._now += by


class Steps:
    """What a test needs: fixtures, and claims and settles in one line."""

    leases_by_boot_clock = True
    """False for storages that end leases by wall time, such as a server's own."""

    hints_reach: ClassVar[Literal["all", "listeners", "nobody"]] = "listeners"
    """Who hears of a change at once: all on the store, those who listen on the object that made it, or nobody."""

    @pytest.fixture
    def clock(self) -> Clock:
        """The clock that the storage is to be made with."""
        return SteppedClock()

    @pytest.fixture
    def storage(self, clock: Clock) -> Storage:
        """The storage under test, empty."""
        raise NotImplementedError("give the subclass of StorageContract a fixture named storage")

    @pytest.fixture
    def another(self) -> Storage | None:
        """A second storage object on the same store, as another instance would have; None where there can be none."""
        return None

    @pytest.fixture
    def elsewhere(self) -> StorageFactory | None:
        """What makes a storage on the same store in another process, on the machine's clock; None where none can be."""
        return None

    @pytest.fixture
    def leasing(self, storage: Storage, clock: Clock) -> LeasingStorage:
        """The same storage, with the leasing verbs."""
        return as_leasing(storage, clock=clock)

    @pytest.fixture
    def beside(self, leasing: LeasingStorage, another: Storage | None, clock: Clock) -> LeasingStorage:
        """The second storage, with the leasing verbs; the first again where there is no second."""
        return leasing if another is None else as_leasing(another, clock=clock)

    @pytest.fixture
    def ttl(self, clock: Clock) -> timedelta:
        """How long leases last in these tests."""
        return _MOVABLE_TTL if isinstance(clock, SteppedClock) else _REAL_TTL

    @pytest.fixture
    def now(self, clock: Clock) -> datetime:
        """The moment at which a test begins."""
        return clock.now()

    @pytest.fixture(autouse=True)
    def _fresh(self) -> None:
        self._revisions: dict[Lease, int] = {}

    async def all_due(self, leasing: LeasingStorage, until: datetime, limit: int = 1000) -> list[Due]:
        """Read all pages."""
        due: list[Due] = []
        while True:
            page = await leasing.due(until - MINUTE, until - MINUTE, limit=1)
            page = await leasing.due(page.now, until, limit=limit, after=due[-1] if due else None)
            due += page.due
            if not page.more:
                return due
            assert len(page.due) == limit

    async def request(self, leasing: LeasingStorage, job_id: str, fire_time: datetime | None = None) -> ClaimRequest:
        """Ask for the job's pointer, at a fire time or its own."""
        record = await leasing.get_job(job_id)
        assert record.next_run is not None
        return ClaimRequest(
            job_id, record.next_run, fire_time or record.bound_fire_time or record.next_run, record.revision
        )

    async def claim_due(
        self,
        leasing: LeasingStorage,
        job_id: str,
        *,
        owner: str = "me/1",
        ttl: timedelta = MINUTE,
        next_run: datetime | None = None,
        fire_time: datetime | None = None,
    ) -> ClaimVerdict:
        """Claim the job's occurrence."""
        request = await self.request(leasing, job_id, fire_time)
        assert next_run is None or request.next_run == next_run
        verdict = (await leasing.claim([request], owner, ttl)).verdicts[0]
        if isinstance(verdict, Granted):
            self._revisions[verdict.lease] = request.revision
        return verdict

    async def claimed(
        self,
        leasing: LeasingStorage,
        job_id: str,
        *,
        owner: str = "me/1",
        ttl: timedelta = MINUTE,
        fire_time: datetime | None = None,
    ) -> Granted:
        """Claim the job's occurrence, and get it."""
        verdict = await self.claim_due(leasing, job_id, owner=owner, ttl=ttl, fire_time=fire_time)
        assert isinstance(verdict, Granted), verdict
        return verdict

    async def claimed_manually(
        self, leasing: LeasingStorage, due: Due, ttl: timedelta = MINUTE, *, owner: str = "me/1"
    ) -> Granted:
        """Claim the manual request that is due, and get it."""
        assert due.trigger is not None
        request = ClaimRequest(due.job_id, due.next_run, due.trigger, due.revision, manual=True)
        (verdict,) = (await leasing.claim([request], owner, ttl)).verdicts
        assert isinstance(verdict, Granted), verdict
        return verdict

    async def fly(
        self, leasing: LeasingStorage, job_id: str, moves_to: datetime, ttl: timedelta, *, owner: str
    ) -> Granted:
        """Claim a run that lets go of its job's lease."""
        request = (await self.request(leasing, job_id))._replace(moves=True, moves_to=moves_to, frees=True)
        (verdict,) = (await leasing.claim([request], owner, ttl)).verdicts
        assert isinstance(verdict, Granted), verdict
        return verdict

    async def settle(
        self,
        leasing: LeasingStorage,
        granted: Granted,
        fire_time: datetime,
        next_run: datetime | None,
        *,
        status: RunStatus = RunStatus.COMPLETED,
        error: str = "",
        queued: bool = False,
        skipped: RunRecord | None = None,
    ) -> Settled:
        """Write the outcome of a run that moves the pointer from where the claim left it."""
        move = PointerMove(granted.next_run, self._revisions.get(granted.lease, 0), next_run, queued=queued)
        run = run_of(granted, fire_time, status, error)
        return (await leasing.settle([Outcome(granted.lease, run, move, skipped)])).settled[0]

    async def run_due(
        self,
        leasing: LeasingStorage,
        job_id: str,
        next_run: datetime | None,
        *,
        status: RunStatus = RunStatus.COMPLETED,
        error: str = "",
    ) -> Settled:
        """Claim and settle at once."""
        granted = await self.claimed(leasing, job_id)
        assert granted.next_run is not None
        return await self.settle(leasing, granted, granted.next_run, next_run, status=status, error=error)

    def pass_time(self, clock: Clock, by: timedelta) -> None:
        """Let time pass where it can be moved; where not, tests make do with less."""
        if isinstance(clock, SteppedClock):
            clock.advance(by)

    async def wait_until(self, clock: Clock, moment: datetime) -> None:
        """Come back when the moment has come."""
        while clock.now() < moment:
            if isinstance(clock, SteppedClock):
                clock.advance(moment - clock.now())
            else:
                await asyncio.sleep(0.01)

    async def until(self, clock: Clock, by: timedelta, condition: Callable[[], Awaitable[bool]]) -> None:
        """Let time pass, then see the condition hold; where time cannot be moved, ask until it does."""
        if isinstance(clock, SteppedClock):
            clock.advance(by)
            assert await condition()
            return
        async with asyncio.timeout(_PATIENCE):
            while not await condition():  # noqa: ASYNC110 - it is a question to the storage
                await asyncio.sleep(0.02)

    async def until_free(self, leasing: LeasingStorage, clock: Clock, job_id: str, ttl: timedelta) -> None:
        """Let the lease on the job run out, without touching it."""

        async def free() -> bool:
            return any(due.job_id == job_id for due in await self.all_due(leasing, clock.now()))

        await self.until(clock, ttl + SECOND, free)

    async def take_over(
        self, leasing: LeasingStorage, clock: Clock, job_id: str, ttl: timedelta, next_run: datetime | None = None
    ) -> Granted:
        """Let the lease run out and claim the job."""
        taken: list[Granted] = []

        async def claim() -> bool:
            verdict = await self.claim_due(leasing, job_id, owner="taker/1", ttl=MINUTE, next_run=next_run)
            taken.extend([verdict] if isinstance(verdict, Granted) else [])
            return bool(taken)

        await self.until(clock, ttl + SECOND, claim)
        return taken[0]


def job(
    job_id: str,
    next_run: datetime,
    *,
    name: str = "Job",
    declared: str = "every so often",
    options: Policies | None = None,
) -> JobRecord:
    """Return what an engine would register."""
    definition = Definition(declared, f"{declared}, bound")
    return JobRecord(id=job_id, name=name, next_run=next_run, schedule=definition, options=options or Policies())


def run_of(
    granted: Granted,
    fire_time: datetime,
    status: RunStatus = RunStatus.COMPLETED,
    error: str = "",
    *,
    manual: bool = False,
) -> RunRecord:
    """Return the row of a run under this claim."""
    lease = granted.lease
    return RunRecord(
        lease.job_id, fire_time, status, "me", granted.attempt, lease.token, manual, fire_time, fire_time, error
    )
