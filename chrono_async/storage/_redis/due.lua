-- A page of an index, in the order of (score, id), with the jobs' rows.
--
-- ARGV: 'due' or 'next'; up to which score, exclusive, from the server's now for 'due'; how many; the score and the id
-- of the last one of the page before, or empty; whether dead runs were looked for already: where there are such, they
-- are returned instead; the ids to leave out, as JSON.
local index, until_ = next_runs, tonumber(ARGV[2])
if ARGV[1] == 'due' then
    index, until_ = due, now + until_
    local dead = ARGV[6] == '1' and {} or redis.call('ZRANGEBYSCORE', bury, '-inf', digits(now), 'LIMIT', 0, 500)
    if #dead > 0 then
        return { digits(now), cjson.encode(dead), '0', '[]', '', '' }
    end
end
local limit, last_score, last_id = tonumber(ARGV[3]), ARGV[4], ARGV[5]
local left_out = {}
for _, id in ipairs(cjson.decode(ARGV[7])) do
    left_out[id] = true
end

-- Lua compares texts by the server's locale, Redis its members by their bytes.
local function is_later(id, other)
    for at = 1, math.min(#id, #other) do
        local difference = string.byte(id, at) - string.byte(other, at)
        if difference ~= 0 then
            return difference > 0
        end
    end
    return #id > #other
end

-- The page before may have ended within a thousand jobs of one score: where is the first id behind its last?
local function start()
    if last_score == '' then
        return 0
    end
    local low = redis.call('ZCOUNT', index, '-inf', '(' .. last_score)
    local high = redis.call('ZCOUNT', index, '-inf', last_score)
    while low < high do
        local middle = math.floor((low + high) / 2)
        if is_later(redis.call('ZRANGE', index, middle, middle)[1], last_id) then
            high = middle
        else
            low = middle + 1
        end
    end
    return low
end

local ids, scores, at, more = {}, {}, start(), true
local size = math.min(limit + 1, 1000)
while more and #ids <= limit do
    local part = redis.call('ZRANGE', index, at, at + size - 1, 'WITHSCORES')
    more = #part == 2 * size
    for n = 1, #part, 2 do
        if tonumber(part[n + 1]) >= until_ then
            more = false
            break
        end
        if not left_out[part[n]] and #ids <= limit then
            table.insert(ids, part[n])
            table.insert(scores, part[n + 1])
        end
    end
    at = at + size
end
more = #ids > limit
if more then
    table.remove(ids)
    table.remove(scores)
end
return {
    digits(now), '[]', more and '1' or '0', ids_as_json(ids), table.concat(scores, ' '), lines_of(values_of(jobs, ids))
}
