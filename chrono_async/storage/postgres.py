"""
Jobs in PostgreSQL, for any number of processes on any number of machines.

A verb is one statement for jobs that this process was the last to write, as an owner mostly was: what became of them is
written, each job on the condition that nobody else has. Others are read by a statement before. The server's clock is
the only one: all times are its own.
"""

from collections.abc import AsyncIterator, Collection
from datetime import UTC, datetime, timedelta

from ..claims import DuePage, Outcome, Settled
from ..counts import to_count
from ..durations import Duration, to_positive
from ..errors import InvalidOptionError
from ..models import Due, InstanceInfo, JobRecord, RunRecord
from ._channel import Channel
from ._doors import in_utc
from ._hints import no_hints
from ._ledger.bounds import A_MONTH, Bounds
from ._ledger.rows import run_of
from ._postgres.ledger import PostgresLedger
from ._postgres.pool import Connections, Pool
from ._postgres.rows import Reader, bad_character, due_of_row, record_of
from ._postgres.statements import Statements
from ._postgres.upkeep import Upkeep
from ._table.table import HEARD_OF

_PAGE = 1000
_BEGINNING = datetime.min.replace(tzinfo=UTC)


class PostgresStorage(PostgresLedger):
    """
    A storage in the database that a DSN or a pool of asyncpg leads to.

    Its tables, whose names begin with `namespace`, are made when it is first used, or by `migrate`. `history` rows are
    kept of each job, `total_history` of all, for no longer than `history_age`. It takes up to `max_connections`
    connections, and one more to hear of changes if `notify`; no statement may take longer than `timeout`. Behind a
    transaction pooler give `notify=False, statement_cache_size=0`.
    """

    def __init__(
        self,
        dsn_or_pool: str | Pool,
        *,
        namespace: str = "chrono",
        history: int = 20,
        total_history: int = 50_000,
        history_age: Duration | None = A_MONTH,
        notify: bool = True,
        timeout: Duration = timedelta(seconds=10),
        min_connections: int = 0,
        max_connections: int = 5,
        statement_cache_size: int | None = None,
    ) -> None:
        to_count(max_connections, "max_connections", least=1)
        if to_count(min_connections, "min_connections") > max_connections:
            raise InvalidOptionError("min_connections", min_connections, f"must not be more than {max_connections=}")
        if statement_cache_size is not None:
            to_count(statement_cache_size, "statement_cache_size")
        bounds = Bounds.checked(history, total_history, history_age)
        statements = Statements(namespace)
        self._connections = Connections(
            dsn_or_pool,
            statements,
            timeout=to_positive(timeout, "timeout"),
            min_size=min_connections,
            max_size=max_connections,
            statement_cache_size=statement_cache_size,
        )
        self._upkeep = Upkeep(self._connections, bounds)
        super().__init__(self._connections.fetch, Reader(namespace), history, self._upkeep.note)
        self._notifies, self._signal = notify, f"{namespace}_changes"
        self._channel = Channel(self._send, lambda: self._connections.hear(self._signal))

    @property
    def guarantees(self) -> str:
        """What this storage can promise, in words."""
        return (
            "in PostgreSQL, for any number of machines: each occurrence is claimed by one instance and settled once; "
            "what was answered is committed, as durably as the server is set to; leases end by the server's clock, "
            "and if that is set back, no later than their length after an instance has noticed"
        )

    async def migrate(self) -> None:
        """Make the tables, or bring them up to date: for a user who may do that, before others use them."""
        await self._connections.migrate()

    async def erase(self) -> None:
        """Drop the tables, and with them all jobs: for a namespace that was only tried out."""
        await self._connections.fetch("erase")
        await self._connections.close()  # whatever comes next makes them anew

    # ── within a user's transaction ──────────────────────────────────────────────────────────────────────────────────

    async def settle_in(self, connection: object, outcome: Outcome) -> Settled:
        """
        Settle in the transaction that a connection of asyncpg is in: it takes effect with that, or not at all.

        The connection must lead to the database that this storage is in. Until the transaction has ended the job's row
        is locked: who renews, claims or pauses the job waits.
        """
        fetch = self._connections.within(connection)
        guest = PostgresLedger(fetch, self._reader, self._history, self._upkeep.note)
        await fetch("lock", outcome.lease.job_id)
        answer = await guest.settle([outcome])
        return answer.settled[0]

    # ── lists ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def list_jobs(self) -> list[JobRecord]:
        """Return all records that can be read."""
        return await self._listed(None)

    async def get_due_jobs(self, now: datetime) -> list[JobRecord]:
        """Return the records that are not paused and whose `next_run` is set and not later than `now`."""
        return await self._listed(in_utc(now, "now"))

    async def _listed(self, due_by: datetime | None) -> list[JobRecord]:
        """Read page by page: a long list must not hold up the loop, nor outlast the time for a statement."""
        records: list[JobRecord] = []
        last = ""
        while rows := await self._connections.fetch("list_jobs", last, due_by, _PAGE):
            records += self._reader.read_all(rows, record_of)
            if len(rows) < _PAGE:
                break
            last = rows[-1][0]
        return records

    async def due(
        self,
        now: datetime,
        until: datetime,
        *,
        exclude: Collection[str] = (),
        limit: int = 1000,
        after: Due | None = None,
    ) -> DuePage:
        """Return a page of what can be claimed before `until`, and bury the dead that were come across."""
        last = (_BEGINNING, "") if after is None else (after.when, after.job_id)
        skipped = [job_id for job_id in exclude if bad_character(job_id) is None]
        limit = max(1, limit)
        page, more, is_buried, unreadable = DuePage(_BEGINNING, []), True, False, list[str]()
        while more and not page.due:  # a page of nothing but jobs that cannot be read says nothing
            rows = await self._connections.fetch("due", until - now, *last, skipped, limit + 1)
            own_now, dead = rows[0][:2]
            if dead and not is_buried:  # it may change who is due, and when: the page is to be read after it
                await self._bury(dead)
                is_buried = True
                continue
            found = [row[2:] for row in rows if row[2] is not None]
            more = len(found) > limit
            page = DuePage(own_now, self._reader.read_all(found[:limit], due_of_row, unreadable), more, unreadable)
            last = (found[limit - 1][1], found[limit - 1][0]) if more else last
        return page

    async def list_runs(self, job_id: str | None = None, *, limit: int = 100, offset: int = 0) -> list[RunRecord]:
        """Return the latest rows of the history after the first `offset` of them, the newest first."""
        offset = max(0, offset)
        if job_id is not None:
            return await self._runs_of([job_id], max(0, min(limit, self._history - offset)), offset)
        rows = await self._connections.fetch("list_runs", max(0, limit), offset)
        return self._reader.read_all(rows, run_of)

    # ── instances ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def heartbeat(self, instance: InstanceInfo) -> None:
        """Say that this instance is alive, and put things in order in passing."""
        self._hold(instance_id=instance.instance_id)
        jobs = sorted(job_id for job_id in instance.jobs if bad_character(job_id) is None)
        ((seen,),) = await self._connections.fetch(
            "heartbeat", instance.instance_id, in_utc(instance.started, "started"), jobs, HEARD_OF
        )
        await self._upkeep.run(seen)

    async def list_instances(self) -> list[InstanceInfo]:
        """Return the instances that were heard of lately."""
        rows = await self._connections.fetch("list_instances", HEARD_OF)
        return [InstanceInfo(name, started, seen, frozenset(jobs)) for name, started, seen, jobs in rows]

    # ── hints ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _changed(self) -> None:
        if self._notifies:
            self._channel.tell()

    def changes(self) -> AsyncIterator[None]:
        """Yield at once when another has changed something; without `notify` there is nothing to hear."""
        return self._channel.listen() if self._notifies else no_hints()

    async def _send(self, word: str) -> None:
        await self._connections.fetch("notify", self._signal, word)

    async def close(self) -> None:
        """Close the connections that are this storage's own."""
        self._connections.home.check()
        await self._channel.close()
        await self._connections.close()
