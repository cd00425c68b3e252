"""
Jobs in a Redis or a Valkey, for any number of hosts.

What becomes of the jobs that a call concerns is written by one script, each job on the condition that nobody else has
written it meanwhile; what this process was not the last to write is read by another script before. The server's clock
is the only one. Leases end by what is written in their jobs, never by a key's time to live, which a step of the clock
could end at once.
"""

import logging
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ..claims import DuePage
from ..durations import Duration, to_positive
from ..models import Due, InstanceInfo, JobRecord, RunRecord
from ._channel import Channel
from ._doors import in_utc
from ._hints import no_hints
from ._ledger.bounds import A_MONTH, Bounds
from ._ledger.ledger import Call
from ._ledger.optimistic import Reading, Written
from ._ledger.recalling import RecallingLedger
from ._ledger.rows import JobRow, row_of
from ._ledger.sheet import Change, Floors, Kept, Stored
from ._redis import link
from ._redis.rows import (
    FARTHEST,
    Page,
    bytes_of,
    due_from,
    ids_of,
    instance_of,
    json_of,
    lines_of,
    numbers_of,
    page_of,
    place_of,
    runs_of,
    stored_of,
    words_of,
    words_of_changes,
)
from ._redis.schema import STEPS
from ._table.instants import instant_of, microseconds_of
from ._table.shelf import Moment
from ._table.table import HEARD_OF, Table
from ._told import Told

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.cluster import RedisCluster

_log = logging.getLogger("chrono_async")

_MICROSECOND = timedelta(microseconds=1)
_HEARD_OF = HEARD_OF // _MICROSECOND
_PAGE = 1000


class RedisStorage(RecallingLedger[JobRow]):
    """
    A storage on the server at a URL (`redis://`, `rediss://`, `unix://`), or behind a client of redis-py that is yours.

    It connects when it is first used. A client of yours is never closed; set it up without retries, since what it sends
    again after a lost answer looks as if somebody else had done it. Everything lies under keys that begin with the
    namespace, in one slot of a cluster. `history` runs are kept of each job and `total_history` of all, for no longer
    than `history_age`. It takes up to `max_connections` connections, one of them to hear of changes if `notify`.
    Nothing that is asked of the server takes longer than `timeout`.
    """

    def __init__(
        self,
        url_or_client: "str | Redis | RedisCluster",
        *,
        namespace: str = "chrono",
        history: int = 20,
        total_history: int = 50_000,
        history_age: Duration | None = A_MONTH,
        notify: bool = True,
        max_connections: int = 10,
        timeout: Duration = 10.0,
    ) -> None:
        super().__init__()
        self._bounds = Bounds.checked(history, total_history, history_age)
        self._link = link.Link(
            url_or_client, namespace, max_connections=max_connections, timeout=to_positive(timeout, "timeout")
        )
        self._channel = Channel(self._link.say, self._link.hear) if notify else None
        self._told = Told()

    @property
    def guarantees(self) -> str:
        """What this storage can promise, in words."""
        return (
            "in Redis, for any number of hosts: each occurrence is claimed by one instance and settled once, "
            "as long as the server keeps what it has answered: with appendfsync everysec a crash of its machine, or a "
            "kill while its disk is slow, and with asynchronous replicas a failover, can lose the last second or so, "
            "and those runs are repeated; "
            "leases end by the server's clock"
        )

    # ── what the ledger needs ────────────────────────────────────────────────────────────────────────────────────────

    async def _read(self, job_ids: Sequence[str], *, floors: bool, history: bool) -> Reading[JobRow]:
        now, token, revision, rows, runs = await self._link.ask(link.READ, json_of(list(job_ids)), int(history))
        stored, unreadable = self._stored(lines_of(rows, job_ids))
        at = Moment(instant_of(int(now)), int(now) / 1_000_000)
        return Reading(at, stored, Floors(int(token), int(revision)), self._runs(runs), unreadable)

    def _stored(self, lines: Iterable[tuple[str, bytes]]) -> tuple[dict[str, Stored[JobRow]], list[str]]:
        """Return the jobs in the lines of a reply, and the ids of those that cannot be read."""
        stored, unreadable = stored_of(lines)
        for job_id, error in unreadable.items():
            self._told.error(
                f"job {job_id!r} in {self._link.prefix}jobs cannot be read and is left as it is: {error!r}"
            )
        return stored, list(unreadable)

    async def _write(
        self,
        changes: Sequence[Change[JobRow]],
        floors: Floors | None,
        *,
        as_of: datetime | None = None,
        until: datetime | None = None,
    ) -> Written:
        words = words_of_changes(changes)
        time = ("" if moment is None else microseconds_of(moment) for moment in (as_of, until))
        terms = (*(floors or Floors()), *self._bounds[:2], len(STEPS), *time)
        now, version, taken = await self._link.run(link.WRITE, *words, *terms)
        written = {change.job_id for change, flag in zip(changes, taken, strict=True) if flag == ord("1")}
        return Written(instant_of(int(now)), written, int(version))

    def _row_of(self, job_id: str, kept: Kept) -> JobRow:
        return row_of(job_id, kept)

    def _changed(self) -> None:
        if self._channel is not None:
            self._channel.tell()

    # ── lists ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def list_jobs(self) -> list[JobRecord]:
        """Return all records that can be read, in the order of their ids."""
        found: dict[str, Stored[JobRow]] = {}
        cursor: bytes | int = 0
        while cursor != b"0":
            cursor, ids, rows = await self._link.ask(link.LIST, cursor)
            found |= self._stored(lines_of(rows, ids_of(ids)))[0]
        records = (found[job_id].kept.record for job_id in sorted(found))
        return [record for record in records if record is not None]

    async def get_due_jobs(self, now: datetime) -> list[JobRecord]:
        """Return the records that are not paused and whose `next_run` is set and not later than `now`."""
        until, records = microseconds_of(in_utc(now, "now")) + 1, list[JobRecord]()
        last: tuple[int, str] | None = None
        while True:
            page = await self._page("next", until, _PAGE, last, ())
            stored, _ = self._stored(page.lines)
            records += [found.kept.record for found in stored.values() if found.kept.record is not None]
            if not page.more:
                return records
            last = page.scores[-1], page.ids[-1]

    async def due(
        self,
        now: datetime,
        until: datetime,
        *,
        exclude: Collection[str] = (),
        limit: int = 1000,
        after: Due | None = None,
    ) -> DuePage:
        """Return a page of what can be claimed before `until`."""
        ahead, left_out, is_buried = (until - now) // _MICROSECOND, list(exclude), False
        last = None if after is None else place_of(after)
        while True:
            page = await self._page("due", ahead, limit, last, left_out, is_buried=is_buried)
            if page.dead:
                await self._bury(page.dead)
                is_buried = True
                continue
            stored, unreadable = self._stored(page.lines)
            if not unreadable:
                self._memory.note(stored)  # who is shown what is due will claim it next
                break
            left_out += unreadable
        due = (due_from(stored[job_id], score) for job_id, score in zip(page.ids, page.scores, strict=True))
        return DuePage(
            instant_of(page.now), [one for one in due if one is not None], page.more, left_out[len(exclude) :]
        )

    async def _page(
        self,
        index: str,
        until: int,
        limit: int,
        last: tuple[int, str] | None,
        exclude: Collection[str],
        *,
        is_buried: bool = True,
    ) -> Page:
        score, job_id = ("", "") if last is None else last
        words = (index, until, limit, score, bytes_of(job_id), int(is_buried), json_of(list(exclude)))
        return page_of(await self._link.ask(link.DUE, *words))

    async def list_runs(self, job_id: str | None = None, *, limit: int = 100, offset: int = 0) -> list[RunRecord]:
        """Return the latest rows of the history after the first `offset` of them, the newest first."""
        if limit <= 0:
            return []
        (rows,) = await self._link.ask(
            link.RUNS, limit, max(0, offset), int(job_id is not None), bytes_of(job_id or "")
        )
        return self._runs(rows)

    def _runs(self, lines: bytes) -> list[RunRecord]:
        runs, unreadable = runs_of(lines)
        for error in unreadable:
            what = f"a row of the history in {self._link.prefix}runs"
            self._told.error(f"{what} cannot be read and is left as it is: {error!r}")
        return runs

    # ── who is there ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def heartbeat(self, instance: InstanceInfo) -> None:
        """Say that this instance is alive; and see to what lies about."""
        name, words = bytes_of(instance.instance_id), words_of(instance)
        _, total, age = self._bounds
        microseconds = FARTHEST if age is None else age // _MICROSECOND
        ids, began, ends = await self._link.ask(link.BEAT, name, words, _HEARD_OF, microseconds, total)
        if ids != b"[]":
            spans = zip(numbers_of(began), numbers_of(ends), strict=True)
            await self._shorten(dict(zip(ids_of(ids), spans, strict=True)))

    async def _shorten(self, spans: dict[str, tuple[int, int]]) -> None:
        """Let leases that began in the future, since the clock has gone back, last from now for as long as theirs."""

        def verb(table: Table, at: Moment, asked: Sequence[str]) -> list[None]:
            for job_id in asked:
                began, ends = spans[job_id]
                table.shorten(job_id, ends / 1_000_000, timedelta(microseconds=ends - began), at)
            return [None] * len(asked)

        _log.warning("redis: the server's clock has gone back: %d leases are shortened to their length", len(spans))
        await self._change(Call(list(spans), str, verb))

    async def list_instances(self) -> list[InstanceInfo]:
        """Return the instances that were heard of lately."""
        ids, seen, words = await self._link.ask(link.INSTANCES, _HEARD_OF)
        lines = lines_of(words, ids_of(ids))
        found = (instance_of(name, line, at) for (name, line), at in zip(lines, numbers_of(seen), strict=True))
        return [instance for instance in found if instance is not None]

    def changes(self) -> AsyncIterator[None]:
        """Yield at once when another storage on this namespace has changed something."""
        return no_hints() if self._channel is None else self._channel.listen()

    async def erase(self) -> None:
        """Delete all keys of the namespace, and with them all jobs: for one that was only tried out."""
        await self._link.erase()

    async def close(self) -> None:
        """Let go of the connections, unless they are a client's that is yours."""
        self._link.home.check()
        if self._channel is not None:
            await self._channel.close()
        await self._link.close()
