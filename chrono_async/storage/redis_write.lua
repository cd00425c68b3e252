-- Jobs as they are to be from now on, each only if its version is still the one that was read.
--
-- ARGV: the changes as JSON, each [id, version, row or false, due, next, bury, end of the lease, runs]; the floors of
-- tokens and of revisions; how many runs to keep of a job and of all. A score is false for none.
-- Returns which changes took effect, and the version that those jobs have now.
local changes = cjson.decode(ARGV[1])
local history, total = tonumber(ARGV[4]), tonumber(ARGV[5])
local last = redis.call('HMGET', meta, 'tick', 'token', 'revision')
local tick = math.max(tonumber(last[1] or 0) + 1, now)
local version = digits(tick)

local ids = {}
for at, change in ipairs(changes) do
    ids[at] = change[1]
end
local before, logs = values_of(jobs, ids), values_of(log, ids)

-- What is there but cannot be read has a version that nobody knows.
local function version_and_end_of(value)
    local number, held_until = string.match(value or '0 0 ', '^(%d+) (%d+) ')
    return tonumber(number or -1), tonumber(held_until or -1)
end

local set, gone = {}, {}
local scores, unscored = { {}, {}, {}, {} }, { {}, {}, {}, {} }
local DUE, NEXT, BURY, LEASED = 1, 2, 3, 4
local new_runs, new_order, old_runs, old_order, new_logs = {}, {}, {}, {}, {}

local function place(which, id, score)
    if score then
        table.insert(scores[which], digits(score))
        table.insert(scores[which], id)
    else
        table.insert(unscored[which], id)
    end
end

local function remember(id, numbers, rows)
    for _, row in ipairs(rows) do
        tick = tick + 1
        local number = digits(tick)
        numbers = number .. numbers
        table.insert(new_runs, number)
        table.insert(new_runs, row)
        table.insert(new_order, number)
        table.insert(new_order, number .. ':' .. id)
    end
    for at = history * DIGITS + 1, #numbers, DIGITS do
        local number = string.sub(numbers, at, at + DIGITS - 1)
        table.insert(old_runs, number)
        table.insert(old_order, number .. ':' .. id)
    end
    table.insert(new_logs, id)
    table.insert(new_logs, string.sub(numbers, 1, history * DIGITS))
end

local taken = {}
for at, change in ipairs(changes) do
    local id, expected, row, held_until, rows = change[1], change[2], change[3], change[7], change[8]
    local found, was_held_until = version_and_end_of(before[at])
    taken[at] = found == expected and '1' or '0'
    if found == expected then
        if row then
            table.insert(set, id)
            table.insert(set, version .. ' ' .. digits(held_until or 0) .. ' ' .. row)
        else
            table.insert(gone, id)
        end
        place(DUE, id, change[4])
        place(NEXT, id, change[5])
        place(BURY, id, change[6])
        if (held_until or 0) ~= was_held_until then -- else it is the lease that it was, begun when it was
            place(LEASED, id, held_until and now)
        end
        if history > 0 and #rows > 0 then
            remember(id, logs[at] or '', rows)
        end
    end
end

in_parts('HSET', jobs, set)
in_parts('HDEL', jobs, gone)
for which, key in pairs({ [DUE] = due, [NEXT] = next_runs, [BURY] = bury, [LEASED] = leased }) do
    in_parts('ZADD', key, scores[which])
    in_parts('ZREM', key, unscored[which])
end
in_parts('HSET', runs, new_runs)
in_parts('ZADD', order, new_order)
in_parts('HSET', log, new_logs)
in_parts('HDEL', runs, old_runs)
in_parts('ZREM', order, old_order)
forget_surplus(total, #new_runs + 100)

local token = math.max(tonumber(last[2] or 0), tonumber(ARGV[2]))
local revision = math.max(tonumber(last[3] or 0), tonumber(ARGV[3]))
redis.call('HSET', meta, 'tick', digits(tick), 'token', digits(token), 'revision', digits(revision))
return { digits(now), version, table.concat(taken) }
