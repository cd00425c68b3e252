"""
How long do N due jobs take on Redis: claimed, run and settled, each outcome with a row of history?
"""

import sys
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from redis.asyncio import Redis

from tests import servers

from . import _peers_redis as peers
from ._durable import LEASE, Bare, End, apscheduler3, bare, ours, question, two_processes, work
from ._measure import Sample

QUESTION = question("durable_redis", "Redis")
_CLAIM = """
    local now = redis.call('TIME')
    local micros = now[1] * 1000000 + now[2]
    local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', micros, 'LIMIT', 0, ARGV[3])
    for _, id in ipairs(ids) do
        redis.call('ZADD', KEYS[1], micros + ARGV[2], id)
        redis.call('HSET', 'job:' .. id, 'owner', ARGV[1], 'lease', micros + ARGV[2])
        redis.call('HINCRBY', 'job:' .. id, 'token', 1)
    end
    return ids
"""
_SETTLE = """
    for at = 2, #ARGV, 3 do
        local id = ARGV[at]
        if redis.call('HGET', 'job:' .. id, 'owner') == ARGV[1] then
            redis.call('ZREM', KEYS[1], id)
            redis.call('HDEL', 'job:' .. id, 'owner', 'lease')
            redis.call('HSET', 'job:' .. id, 'last', ARGV[at + 2])
            redis.call('HINCRBY', 'job:' .. id, 'runs', 1)
            redis.call('LPUSH', 'history:' .. id, ARGV[at + 1] .. ' ' .. ARGV[at + 2] .. ' completed')
            redis.call('LTRIM', 'history:' .. id, 0, 19)
        end
    end
"""


@QUESTION.contestant("bare")
async def bare_redis(size: int) -> Sample:
    return await bare(size, await _bare(await _filled(size)))


@QUESTION.contestant("bare, two processes")
async def two_bare(size: int) -> Sample:
    return two_processes("durable_redis", "bare", size, await _filled(size))


@QUESTION.contestant("chrono_async")
async def ours_on_redis(size: int) -> Sample:
    return await ours(size, _storage(servers.redis().url))


@QUESTION.contestant("chrono_async, two processes")
async def two_of_ours(size: int) -> Sample:
    return two_processes("durable_redis", "ours", size, servers.redis().url)


async def _filled(size: int) -> str:
    url = servers.redis().url
    client = Redis.from_url(url)
    await client.zadd("due", {f"job-{n}": 0 for n in range(size)})
    await client.aclose()
    return url


async def _bare(url: str) -> Bare:
    client, owner = Redis.from_url(url), uuid4().hex
    claiming, settling = client.register_script(_CLAIM), client.register_script(_SETTLE)
    lease = round(LEASE.total_seconds() * 1e6)

    async def claim(most: int) -> list[str]:
        return [job_id.decode() for job_id in await claiming(keys=["due"], args=[owner, lease, most])]

    async def settle(ends: Sequence[End]) -> None:
        rows = [(job_id, begin.timestamp(), end.timestamp()) for job_id, begin, end in ends]
        await settling(keys=["due"], args=[owner, *(value for row in rows for value in row)])

    return Bare(claim, settle, client.aclose)


def _storage(url: str) -> Any:
    from chrono_async.storage import RedisStorage

    return RedisStorage(url)


@QUESTION.contestant("APScheduler 3", most=1_000)
async def apscheduler_on_redis(size: int) -> Sample:
    from apscheduler.jobstores.redis import RedisJobStore

    address = urlsplit(servers.redis().url)
    return await apscheduler3(size, RedisJobStore(host=address.hostname, port=address.port))


QUESTION.contestant("SAQ", most=1_000)(peers.saq)
QUESTION.contestant("streaq", most=1_000)(peers.streaq)
QUESTION.contestant("taskiq", most=1_000)(peers.taskiq)
QUESTION.contestant("docket", most=1_000)(peers.docket)


if __name__ == "__main__":
    if sys.argv[1:2] in (["bare"], ["ours"]):
        work(_bare, _storage)
    else:
        QUESTION.main()
