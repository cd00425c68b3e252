-- Jobs by id, with the time at which they were so. ARGV: the ids as JSON; whether their runs are wanted.
local ids = cjson.decode(ARGV[1])
local rows = values_of(jobs, ids)

local remembered = {}
if ARGV[2] == '1' then
    for _, numbers in ipairs(values_of(log, ids)) do
        for at = numbers and #numbers - DIGITS + 1 or 0, 1, -DIGITS do
            remembered[#remembered + 1] = string.sub(numbers, at, at + DIGITS - 1)
        end
    end
end

local floors = redis.call('HMGET', meta, 'token', 'revision')
return { digits(now), floors[1] or '0', floors[2] or '0', lines_of(rows), lines_of(values_of(runs, remembered)) }
