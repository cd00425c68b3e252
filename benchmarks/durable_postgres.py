"""
How long do N due jobs take on PostgreSQL: claimed, run and settled, each outcome with a row of history?
"""

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import uuid4

import asyncpg

from tests import servers

from . import _peers_postgres as peers
from ._durable import LEASE, Bare, End, apscheduler3, bare, ours, question, two_processes, work
from ._measure import Sample

QUESTION = question("durable_postgres", "PostgreSQL")
_SCHEMA = """
    DROP TABLE IF EXISTS jobs, history;
    CREATE TABLE jobs (id text PRIMARY KEY, due timestamptz, owner text, lease timestamptz, token bigint DEFAULT 0,
                       runs bigint DEFAULT 0, last timestamptz);
    CREATE INDEX jobs_due ON jobs (due) WHERE due IS NOT NULL;
    CREATE TABLE history (n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, job text, started timestamptz,
                          finished timestamptz, status text);
    CREATE INDEX history_of_job ON history (job, n);
"""
_CLAIM = """
    WITH free AS MATERIALIZED (
        SELECT id FROM jobs WHERE due <= statement_timestamp() AND (owner IS NULL OR lease < statement_timestamp())
        ORDER BY due LIMIT $3 FOR UPDATE SKIP LOCKED)
    UPDATE jobs SET owner = $1, lease = statement_timestamp() + $2, token = token + 1 FROM free WHERE jobs.id = free.id
    RETURNING jobs.id
"""
_SETTLE = """
    WITH ends AS (
        SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[]) AS e (id, started, finished)
    ), settled AS (
        UPDATE jobs SET owner = NULL, lease = NULL, due = NULL, runs = runs + 1, last = e.finished
        FROM ends e WHERE jobs.id = e.id AND jobs.owner = $4 RETURNING jobs.id)
    INSERT INTO history (job, started, finished, status)
    SELECT e.id, e.started, e.finished, 'completed' FROM ends e JOIN settled USING (id)
"""


@QUESTION.contestant("bare")
async def bare_postgres(size: int) -> Sample:
    dsn = await filled(size)
    return await bare(size, await connected(dsn))


@QUESTION.contestant("bare, two processes")
async def two_bare(size: int) -> Sample:
    return two_processes("durable_postgres", "bare", size, await filled(size))


@QUESTION.contestant("chrono_async")
async def ours_on_postgres(size: int) -> Sample:
    return await ours(size, storage_at(servers.postgres().dsn))


@QUESTION.contestant("chrono_async, two processes")
async def two_of_ours(size: int) -> Sample:
    return two_processes("durable_postgres", "ours", size, servers.postgres().dsn)


async def filled(size: int) -> str:
    dsn = servers.postgres().dsn
    connection = await asyncpg.connect(dsn)
    await connection.execute(_SCHEMA)
    await connection.execute("INSERT INTO jobs (id, due) SELECT 'job-' || n, now() FROM generate_series(1, $1) n", size)
    await connection.close()
    return dsn


async def connected(dsn: str) -> Bare:
    connection, owner = await asyncpg.connect(dsn), uuid4().hex

    async def claim(most: int) -> list[str]:
        return [row[0] for row in await connection.fetch(_CLAIM, owner, LEASE, most)]

    async def settle(ends: Sequence[End]) -> None:
        await connection.execute(_SETTLE, *map(list, zip(*ends, strict=True)), owner)

    return Bare(claim, settle, connection.close)


def storage_at(dsn: str) -> Any:
    from chrono_async.storage import PostgresStorage

    return PostgresStorage(dsn)


@QUESTION.contestant("APScheduler 3", most=1_000)
async def apscheduler_on_postgres(size: int) -> Sample:
    from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore

    url = servers.postgres().dsn.replace("postgresql://", "postgresql+psycopg://")
    return await apscheduler3(size, SQLAlchemyJobStore(url=url))


QUESTION.contestant("pgqueuer")(peers.pgqueuer)
QUESTION.contestant("pgqueuer, batches of 100")(partial(peers.pgqueuer, batch_size=100))
QUESTION.contestant("procrastinate", most=1_000)(peers.procrastinate)
QUESTION.contestant("SAQ", most=1_000)(peers.saq)


if __name__ == "__main__":
    if sys.argv[1:2] in (["bare"], ["ours"]):
        work(connected, storage_at)
    else:
        QUESTION.main()
