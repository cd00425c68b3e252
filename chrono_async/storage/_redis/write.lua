-- Jobs as they are to be from now on, each only if its version is still the one that was read.
--
-- ARGV: of each change id, version as text, when due, pointer, when to bury and number of runs, one after another in
-- one JSON list, an empty version for a job that was not there, false for no such score; their values without the
-- version, a line each, empty for a job that is to be forgotten; the rows of their runs, a line each; the floors of
-- tokens and revisions; how many runs to keep of a job and of all; the version that the first write is to note; what
-- the clock here must show at the least and at the most, if that matters.
-- Returns which changes took effect, and the version that those jobs have now.
local earliest, latest = tonumber(ARGV[9]), tonumber(ARGV[10])
local is_in_time = (not earliest or earliest <= now) and (not latest or now <= latest)
local changes, WIDTH = cjson.decode(ARGV[1]), 6
local history, total = tonumber(ARGV[6]), tonumber(ARGV[7])
local last = redis.call('HMGET', meta, 'tick', 'token', 'revision')
local tick = math.max(tonumber(last[1] or 0) + 1, now)
local version = digits(tick)

local ids, with_runs = {}, {}
for at = 1, #changes, WIDTH do
    ids[#ids + 1] = changes[at]
    if changes[at + 5] > 0 and history > 0 then
        with_runs[#with_runs + 1] = changes[at]
    end
end
local before, logs = values_of(jobs, ids), {}
for at, numbers in ipairs(values_of(log, with_runs)) do
    logs[with_runs[at]] = numbers or ''
end

local set, gone, new_runs, new_order, new_logs, old_runs, old_order = {}, {}, {}, {}, {}, {}, {}
local scores, unscored = { {}, {}, {}, {} }, { {}, {}, {}, {} }
local DUE, NEXT, BURY, LEASED = 1, 2, 3, 4
local NOBODY = string.rep('0', DIGITS)

local function place(which, id, score)
    local list = score and scores[which] or unscored[which]
    if score then
        list[#list + 1] = score
    end
    list[#list + 1] = id
end

local function remember(id, rows)
    local numbers = logs[id]
    for _, row in ipairs(rows) do
        tick = tick + 1
        local number = digits(tick)
        numbers = number .. numbers
        new_runs[#new_runs + 1] = number
        new_runs[#new_runs + 1] = row
        new_order[#new_order + 1] = number
        new_order[#new_order + 1] = number .. ':' .. id
    end
    for at = history * DIGITS + 1, #numbers, DIGITS do
        local number = string.sub(numbers, at, at + DIGITS - 1)
        old_runs[#old_runs + 1] = number
        old_order[#old_order + 1] = number .. ':' .. id
    end
    new_logs[#new_logs + 1] = id
    new_logs[#new_logs + 1] = string.sub(numbers, 1, history * DIGITS)
end

-- A pattern would look at each character by itself.
local function next_line_of(text)
    local from = 1
    return function()
        local first, till = from, string.find(text, '\n', from, true)
        from = till + 1
        return string.sub(text, first, till - 1)
    end
end

local taken, next_row, next_run_row = {}, next_line_of(ARGV[2]), next_line_of(ARGV[3])
for at = 1, #changes, WIDTH do
    local id, row, rows = changes[at], next_row(), {}
    for n = 1, changes[at + 5] do
        rows[n] = next_run_row()
    end
    local value = before[(at - 1) / WIDTH + 1] or ''
    if not is_in_time or string.sub(value, 1, DIGITS) ~= changes[at + 1] then
        taken[#taken + 1] = '0'
    else
        taken[#taken + 1] = '1'
        if row == '' then
            gone[#gone + 1] = id
        else
            set[#set + 1] = id
            set[#set + 1] = version .. ' ' .. row
        end
        place(DUE, id, changes[at + 2])
        place(NEXT, id, changes[at + 3])
        place(BURY, id, changes[at + 4])
        local held_until = string.sub(row, 1, DIGITS)
        if held_until ~= string.sub(value, DIGITS + 2, 2 * DIGITS + 1) then -- else it is the lease that it was
            place(LEASED, id, held_until > NOBODY and now)
        end
        if logs[id] then
            remember(id, rows)
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

if not last[1] then
    redis.call('HSET', meta, 'schema', ARGV[8])
end
local token = math.max(tonumber(last[2] or 0), tonumber(ARGV[4]))
local revision = math.max(tonumber(last[3] or 0), tonumber(ARGV[5]))
redis.call('HSET', meta, 'tick', digits(tick), 'token', digits(token), 'revision', digits(revision))
return { digits(now), version, table.concat(taken) }
