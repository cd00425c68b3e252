"""
A leasing storage of one's own: jobs in etcd, which compares and writes in one step but has no tables, scripts or time.

Each job is a text under a key; its version is etcd's own count of changes. `OptimisticLedger` brings the verbs, and
asks for two things: to read jobs with their versions, and to write those that nobody else has written since. Times are
the hosts' own: keep their clocks together. To see what is due all jobs are read, so it is for some thousands of them.
"""

import json
from base64 import b64decode, b64encode
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import httpx

from chrono_async import Clock, InstanceInfo, JobRecord, RunRecord, StorageError, SystemClock
from chrono_async.storage import (
    Change,
    Due,
    DuePage,
    Floors,
    Kept,
    Moment,
    OptimisticLedger,
    Reading,
    Sheet,
    Stored,
    Written,
    due_of,
    job_from_json,
    job_to_json,
    run_from_json,
    run_to_json,
)

HISTORY = 20
"""Rows that are kept of each job."""
HEARD_OF = timedelta(minutes=10)
AT_ONCE = 100
"""Operations of one transaction; etcd refuses more than 128."""

Json = dict[str, Any]


class EtcdStorage(OptimisticLedger[str]):
    """Jobs in the etcd at a URL, under keys that begin with the namespace. A job's row is its JSON."""

    def __init__(self, url: str, *, namespace: str = "chrono", clock: Clock | None = None) -> None:
        self._etcd, self._namespace, self._clock = Etcd(url), namespace, clock or SystemClock()

    @property
    def guarantees(self) -> str:
        return (
            "in etcd, for any number of hosts: each occurrence is claimed by one instance and settled once; "
            "leases end by the clocks of the hosts, which must agree"
        )

    def _moment(self) -> Moment:
        now = self._clock.now()
        return Moment(now, now.timestamp())

    def _key(self, *parts: str) -> bytes:
        return b"/".join(part.encode(errors="surrogatepass").hex().encode() for part in (self._namespace, *parts))

    # ── what the ledger asks for ─────────────────────────────────────────────────────────────────────────────────────

    async def _read(self, job_ids: Sequence[str], *, floors: bool, history: bool) -> Reading[str]:
        """Read the floors first and the history last: it may take more than one transaction."""
        at = self._moment()
        asked = [_below(self._key(kind, ""), "KEY", limit=1) for kind in ("token", "revision")]
        asked += [{"key": _b64(self._key("job", job_id))} for job_id in job_ids]
        asked += [_below(self._key("run", job_id, ""), "KEY", limit=HISTORY) for job_id in job_ids if history]
        token, revision, *found = await self._etcd.read(asked)
        jobs, runs = found[: len(job_ids)], found[len(job_ids) :]
        stored, unreadable = _stored(pair for pairs in jobs for pair in pairs)
        rows = [run_from_json(pair.text) for pairs in runs for pair in reversed(pairs)]
        return Reading(at, stored, Floors(_number(token), _number(revision)), rows, unreadable)

    async def _write(self, changes: Sequence[Change[str]], floors: Floors | None) -> Written:
        """Write each job in a transaction of its own, many of which are sent as one."""
        operations = (
            [] if floors is None else [*self._raise("token", floors.token), *self._raise("revision", floors.revision)]
        )
        answers = await self._etcd.write([*operations, *map(self._operation, changes)])
        written = zip(changes, answers[len(operations) :], strict=True)
        return Written(
            self._clock.now(), {c.job_id for c, answer in written if answer["response_txn"].get("succeeded")}
        )

    def _operation(self, change: Change[str]) -> Json:
        """Return the transaction that writes the job with its rows, if it still has the version that was read."""
        key, then = self._key("job", change.job_id), []
        then.append(_delete(key) if change.row is None else _put(key, change.row))
        for number, run in enumerate(change.runs):
            row_key = self._key("run", change.job_id, f"{change.version:020}{number:04}")
            then.append(_put(row_key, run_to_json(run)))
        same = {"key": _b64(key), "target": "MOD", "result": "EQUAL", "mod_revision": str(change.version)}
        return {"request_txn": {"compare": [same], "success": then}}

    def _raise(self, kind: str, floor: int) -> list[Json]:
        """Put the floor beside those that others have put, of which the highest counts, and forget those below."""
        key = self._key(kind, f"{floor:020}")
        below = {"key": _b64(self._key(kind, "")), "range_end": _b64(key)}
        return [{"request_delete_range": below}, _put(key, "")]

    def _row_of(self, job_id: str, kept: Kept) -> str:
        return job_to_json(job_id, kept)

    # ── lists ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _all(self) -> dict[str, Stored[str]]:
        (pairs,) = await self._etcd.read([_below(self._key("job", ""))])
        return _stored(pairs)[0]

    async def list_jobs(self) -> list[JobRecord]:
        stored = (await self._all()).values()
        return [job.kept.record for job in stored if job.kept.record is not None]

    async def get_due_jobs(self, now: datetime) -> list[JobRecord]:
        return [r for r in await self.list_jobs() if not r.paused and r.next_run is not None and r.next_run <= now]

    async def due(
        self,
        now: datetime,
        until: datetime,
        *,
        exclude: Collection[str] = (),
        limit: int = 1000,
        after: Due | None = None,
    ) -> DuePage:
        at, stored = self._moment(), await self._all()
        dead = Sheet(at, stored, self._row_of).table.dead(at.boot)
        if dead:  # runs that no claim will come across: they are written down before anything else is told of the job
            await self._bury(dead)
            stored = await self._all()
        skip, start = frozenset(exclude), (datetime.min.replace(tzinfo=UTC), "") if after is None else after[1::-1]
        jobs = (_due(job.kept, at) for job_id, job in stored.items() if job_id not in skip)
        found = [due for due in jobs if due is not None and due.when - at.now < until - now and due[1::-1] > start]
        found.sort(key=lambda due: due[1::-1])  # by time, then id
        return DuePage(at.now, found[:limit], len(found) > limit)

    async def list_runs(self, job_id: str | None = None, *, limit: int = 100, offset: int = 0) -> list[RunRecord]:
        if job_id is not None:
            limit = min(limit, HISTORY - offset)
        if limit <= 0:  # to etcd 0 is no limit
            return []
        key = self._key("run", "") if job_id is None else self._key("run", job_id, "")
        (pairs,) = await self._etcd.read([_below(key, "CREATE" if job_id is None else "KEY", limit=offset + limit)])
        pairs.sort(key=lambda pair: (pair.created, pair.key), reverse=True)
        return [run_from_json(pair.text) for pair in pairs[offset:]]

    # ── who is there ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def heartbeat(self, instance: InstanceInfo) -> None:
        """Say that this instance is alive; forget those not heard of for long, and rows that are too many."""
        told = [instance.started.timestamp(), self._clock.now().timestamp(), sorted(instance.jobs)]
        instances, runs = await self._etcd.read(
            [_below(self._key("instance", "")), {**_below(self._key("run", "")), "keys_only": True}]
        )
        old = [pair.key for pair in instances if not self._is_heard_of(_instance(pair))]
        rows = defaultdict[bytes, list[bytes]](list)
        for pair in runs:
            rows[pair.key.rpartition(b"/")[0]].append(pair.key)
        old += [key for keys in rows.values() for key in keys[:-HISTORY]]
        await self._etcd.write(_delete(key) for key in old)
        await self._etcd.write([_put(self._key("instance", instance.instance_id), json.dumps(told))])

    async def list_instances(self) -> list[InstanceInfo]:
        (pairs,) = await self._etcd.read([_below(self._key("instance", ""))])
        return [instance for instance in map(_instance, pairs) if self._is_heard_of(instance)]

    def _is_heard_of(self, instance: InstanceInfo) -> bool:
        return self._clock.now() - instance.seen <= HEARD_OF

    async def changes(self) -> AsyncIterator[None]:
        """Give no hints: the poll finds what others change. (etcd's watch would be the place to look.)"""
        for _ in range(0):
            yield

    async def close(self) -> None:
        await self._etcd.close()


# ── what stands under a key ──────────────────────────────────────────────────────────────────────────────────────────


class Pair(NamedTuple):
    """A key and its text. The version is the count of all changes in etcd at which the key was last changed."""

    key: bytes
    text: str
    version: int
    created: int

    @property
    def name(self) -> str:
        """The last part of the key."""
        return bytes.fromhex(self.key.rpartition(b"/")[2].decode()).decode(errors="surrogatepass")


def _stored(pairs: Iterable[Pair]) -> tuple[dict[str, Stored[str]], list[str]]:
    """Return the jobs by id, and the ids of those that cannot be read."""
    stored, unreadable = dict[str, Stored[str]](), list[str]()
    for pair in pairs:
        try:
            stored[pair.name] = Stored(pair.version, pair.text, job_from_json(pair.text))
        except ValueError:
            unreadable.append(pair.name)
    return stored, unreadable


def _due(kept: Kept, at: Moment) -> Due | None:
    """Return what there is to do of a job, and when: not before the lock that lives on it ends."""
    if kept.record is None:
        return None
    lives = kept.lock is not None and kept.lock.until > at.boot
    return due_of(kept.record, datetime.fromtimestamp(kept.lock.until, UTC) if lives else None)


def _number(pairs: Sequence[Pair]) -> int:
    return int(pairs[0].name) if pairs else 0


def _instance(pair: Pair) -> InstanceInfo:
    started, seen, jobs = json.loads(pair.text)
    times = (datetime.fromtimestamp(at, UTC) for at in (started, seen))
    return InstanceInfo(pair.name, *times, frozenset(jobs))


# ── etcd ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Etcd:
    """An etcd, through its JSON gateway. Whatever goes wrong with it is a `StorageError`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: httpx.AsyncClient | None = None

    async def read(self, ranges: Sequence[Json]) -> list[list[Pair]]:
        """Return what is found in each range of keys."""
        answers = await self.write([{"request_range": asked} for asked in ranges])
        return [[_pair(kv) for kv in answer["response_range"].get("kvs", ())] for answer in answers]

    async def write(self, operations: Iterable[Json]) -> list[Json]:
        """Send operations, as many at once as etcd takes, and return its answers."""
        sent, answers = list(operations), list[Json]()
        for start in range(0, len(sent), AT_ONCE):
            answer = await self._post({"success": sent[start : start + AT_ONCE]})
            answers += answer["responses"]
        return answers

    async def _post(self, transaction: Json) -> Json:
        if self._client is None:
            limits = httpx.Limits(max_connections=20)
            self._client = httpx.AsyncClient(base_url=self._url, limits=limits, timeout=httpx.Timeout(10, pool=None))
        try:
            response = await self._client.post("/v3/kv/txn", json=transaction)
            response.raise_for_status()
            answer: Json = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise StorageError(f"etcd: {type(error).__name__}: {error}") from error
        return answer

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


def _below(prefix: bytes, order: str = "", limit: int = 0) -> Json:
    """Ask for all keys that begin with the prefix, which ends in a slash; if there is an order, the last ones first."""
    asked: Json = {"key": _b64(prefix), "range_end": _b64(prefix[:-1] + b"0"), "limit": str(limit)}
    return {**asked, "sort_order": "DESCEND", "sort_target": order} if order else asked


def _put(key: bytes, text: str) -> Json:
    return {"request_put": {"key": _b64(key), "value": _b64(text.encode())}}


def _delete(key: bytes) -> Json:
    return {"request_delete_range": {"key": _b64(key)}}


def _pair(kv: Json) -> Pair:
    text = b64decode(kv.get("value", "")).decode()
    return Pair(b64decode(kv["key"]), text, int(kv["mod_revision"]), int(kv["create_revision"]))


def _b64(data: bytes) -> str:
    return b64encode(data).decode()
