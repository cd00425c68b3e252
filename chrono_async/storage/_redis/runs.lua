-- The latest runs, the newest first. ARGV: how many; after how many; whether of one job; which.
local limit, offset, numbers = tonumber(ARGV[1]), tonumber(ARGV[2]), {}
if ARGV[3] == '1' then
    local all = redis.call('HGET', log, ARGV[4]) or ''
    for at = 1 + offset * DIGITS, math.min(#all, (offset + limit) * DIGITS), DIGITS do
        table.insert(numbers, string.sub(all, at, at + DIGITS - 1))
    end
else
    for _, member in ipairs(redis.call('ZREVRANGE', order, offset, offset + limit - 1)) do
        table.insert(numbers, string.sub(member, 1, DIGITS))
    end
end
return { lines_of(values_of(runs, numbers)) }
