-- Notes that an instance is alive, and tidies up.
--
-- ARGV: the instance's id and what it says of itself; after how long silence instances are forgotten; how old runs may
-- get, and how many of all are kept. Returns the jobs whose leases began in the future, since the clock has gone back,
-- with their beginnings and ends.
local silent = redis.call('ZRANGEBYSCORE', seen, '-inf', '(' .. digits(now - tonumber(ARGV[3])), 'LIMIT', 0, 1000)
in_parts('HDEL', instances, silent)
in_parts('ZREM', seen, silent)
redis.call('HSET', instances, ARGV[1], ARGV[2])
redis.call('ZADD', seen, digits(now), ARGV[1])

local too_old = digits(now - tonumber(ARGV[4]))
forget_oldest(redis.call('ZRANGEBYSCORE', order, '-inf', '(' .. too_old, 'LIMIT', 0, 1000))
forget_surplus(tonumber(ARGV[5]), 1000)

local ahead = redis.call('ZRANGEBYSCORE', leased, '(' .. digits(now), '+inf', 'WITHSCORES', 'LIMIT', 0, 500)
local ids, began = {}, {}
for at = 1, #ahead, 2 do
    table.insert(ids, ahead[at])
    table.insert(began, ahead[at + 1])
end
local ends = values_of(jobs, ids)
for at, value in ipairs(ends) do
    ends[at] = string.match(value or '', '^%d+ (%d+) ') or '0'
end
return { ids_as_json(ids), table.concat(began, ' '), table.concat(ends, ' ') }
