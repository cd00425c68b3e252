"""
A standby that takes over without the last commits: what those had recorded may be run again, and tokens tell.

PostgreSQL streams what it commits; unless it is told which standby to wait for, what a primary has answered can be
missing on the one that takes its place.
"""

import asyncio
import os
import pwd
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from chrono_async import RunStatus
from chrono_async.claims import ClaimRequest, Granted, Outcome, PointerMove, SettleVerdict
from chrono_async.models import RunRecord
from chrono_async.storage import PostgresStorage
from chrono_async.testing._contract_steps import job
from tests import servers

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


class Standby(servers.PostgresServer):
    """A copy of a server that is stopped, which follows it from then on."""

    is_ready_when = b"database system is ready to accept read-only connections"

    def __init__(self, primary: servers.PostgresServer) -> None:
        super().__init__()
        data = self.folder / "data"
        shutil.rmtree(data)
        shutil.copytree(primary.folder / "data", data)
        (data / "standby.signal").touch()
        with (data / "postgresql.auto.conf").open("a") as settings:  # what ALTER SYSTEM can change, unlike an option
            settings.write(f"primary_conninfo = 'host={primary.folder} user=postgres'\n")
        self._give_away(data)

    def _give_away(self, data: Path) -> None:
        if self.user is not None:
            owner = pwd.getpwnam(self.user)
            for path in (data, *data.rglob("*")):
                os.chown(path, owner.pw_uid, owner.pw_gid)


@pytest.fixture
async def pair() -> AsyncIterator[tuple[servers.PostgresServer, Standby]]:
    """A primary and the standby that follows it, both running."""
    primary = servers.PostgresServer("wal_level=replica", "hot_standby=on")
    primary.start()
    await PostgresStorage(primary.dsn).migrate()
    primary.stop()
    standby = Standby(primary)
    primary.start()
    standby.start()
    yield primary, standby
    standby.remove()
    primary.remove()


async def until(server: servers.PostgresServer, query: str) -> None:
    """Ask until it is true."""
    connection = await asyncpg.connect(server.dsn)
    async with asyncio.timeout(60):
        while not await connection.fetchval(query):  # noqa: ASYNC110 - it is a question to the server
            await asyncio.sleep(0.02)
    await connection.close()


async def tell(server: servers.PostgresServer, *commands: str) -> None:
    connection = await asyncpg.connect(server.dsn)
    for command in commands:
        await connection.execute(command)
    await connection.close()


async def claimed(storage: PostgresStorage, owner: str, ttl: timedelta) -> tuple[ClaimRequest, Granted]:
    record = await storage.get_job("a")
    assert record.next_run is not None
    request = ClaimRequest("a", record.next_run, record.next_run, record.revision)
    (verdict,) = (await storage.claim([request], owner, ttl)).verdicts
    assert isinstance(verdict, Granted)
    return request, verdict


async def settled(storage: PostgresStorage, request: ClaimRequest, granted: Granted) -> SettleVerdict:
    row = RunRecord("a", request.fire_time, RunStatus.COMPLETED, token=granted.lease.token)
    move = PointerMove(granted.next_run, request.revision, request.fire_time + SECOND)
    (answer,) = (await storage.settle([Outcome(granted.lease, row, move)])).settled
    return answer.verdict


async def test_what_the_last_commits_recorded_is_run_again_after_a_failover(
    pair: tuple[servers.PostgresServer, Standby],
) -> None:
    """The claim had come through and the outcome had not: attempt 2, under a greater token, which alone counts."""
    primary, standby = pair
    before, now = PostgresStorage(primary.dsn), datetime.now(UTC)
    await before.register(job("a", now))
    request, first = await claimed(before, "me/1", SECOND / 10)
    await until(standby, "SELECT count(*) = 1 FROM chrono_jobs WHERE lock_owner = 'me/1'")
    await tell(standby, "ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
    await until(primary, "SELECT count(*) = 0 FROM pg_stat_replication")
    assert await settled(before, request, first) is SettleVerdict.DONE
    primary.kill()
    await tell(standby, "SELECT pg_promote()")
    after = PostgresStorage(standby.dsn)
    record = await after.get_job("a")
    assert (record.run_count, record.next_run, record.owner) == (0, now, "me/1")
    assert await after.list_runs("a") == []
    await until(standby, "SELECT lock_until < extract(epoch FROM now()) * 1e6 FROM chrono_jobs")
    request, again = await claimed(after, "other/1", MINUTE)
    assert (again.attempt, again.lease.token > first.lease.token) == (2, True)
    assert await settled(after, request, first) is SettleVerdict.STALE
    assert await settled(after, request, again) is SettleVerdict.DONE
    assert (await after.get_job("a")).run_count == 1
    await asyncio.gather(before.close(), after.close())
