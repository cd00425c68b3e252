-- Jobs by id, with the time at which they were so. ARGV: ids and versions that are known already, in turn, as JSON;
-- whether their runs are wanted. Of a job that still has the known version only that is said.
local asked, ids = cjson.decode(ARGV[1]), {}
for at = 1, #asked, 2 do
    ids[#ids + 1] = asked[at]
end
local rows = values_of(jobs, ids)
for at, value in ipairs(rows) do
    local known = asked[2 * at]
    if value and known ~= '' and string.sub(value, 1, #known + 1) == known .. ' ' then
        rows[at] = '='
    elseif value == '=' then
        rows[at] = '?'
    end
end

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
