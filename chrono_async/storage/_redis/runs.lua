-- The latest runs, the newest first. ARGV: how many; whether of one job; which.
local limit, numbers = tonumber(ARGV[1]), {}
if ARGV[2] == '1' then
    local all = redis.call('HGET', log, ARGV[3]) or ''
    for at = 1, math.min(#all, limit * DIGITS), DIGITS do
        table.insert(numbers, string.sub(all, at, at + DIGITS - 1))
    end
else
    for _, member in ipairs(redis.call('ZREVRANGE', order, 0, limit - 1)) do
        table.insert(numbers, string.sub(member, 1, DIGITS))
    end
end
return { lines_of(values_of(runs, numbers)) }
