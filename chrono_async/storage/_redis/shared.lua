-- What each script begins with: the keys of a namespace, the server's time, and how lists of ids are passed.
--
-- A job is one field of the hash `jobs`, "<version> <end of its lease> <row as JSON>", both of 16 digits. Sorted sets
-- say which jobs have something to do (`due`), where the pointers of those not paused are (`next`), when to look for
-- dead runs (`bury`) and when each lease began (`leased`). A run is a field of `runs` under its number; `log` has the
-- numbers of each job, the newest first, and `order` all of them. Scores and numbers are microseconds, exact in a
-- double until the year 2255.

local jobs, due, next_runs, bury, leased, runs, log, order, meta, instances, seen = unpack(KEYS)
local DIGITS = 16 -- of a version, of the number of a run: of any microsecond from 2001 to 2286

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

-- tostring() would round it
local function digits(number)
    return string.format('%016.0f', number)
end

-- A command takes some thousands of arguments at most.
local function in_parts(command, key, arguments)
    for first = 1, #arguments, 1000 do
        redis.call(command, key, unpack(arguments, first, math.min(first + 999, #arguments)))
    end
end

local function values_of(key, fields)
    local values = {}
    for first = 1, #fields, 1000 do
        local part = redis.call('HMGET', key, unpack(fields, first, math.min(first + 999, #fields)))
        for at = 1, #part do
            values[first + at - 1] = part[at]
        end
    end
    return values
end

-- One reply instead of hundreds: a client reads it at once. JSON has no line ends; what has them is no row of ours.
local function lines_of(values)
    for at = 1, #values do
        local value = values[at]
        if not value then
            values[at] = ''
        elseif string.find(value, '\n', 1, true) then
            values[at] = '?'
        end
    end
    return table.concat(values, '\n')
end

local function ids_as_json(ids)
    return #ids == 0 and '[]' or cjson.encode(ids)
end

-- Forgets runs that are members of `order`, each the oldest of its job.
local function forget_oldest(members)
    local numbers, logs = {}, {}
    for at = 1, #members do
        local number, job = string.sub(members[at], 1, DIGITS), string.sub(members[at], DIGITS + 2)
        local kept = logs[job] or redis.call('HGET', log, job) or ''
        if string.sub(kept, -DIGITS) == number then
            kept = string.sub(kept, 1, -DIGITS - 1)
        end
        numbers[at], logs[job] = number, kept
    end
    for job, kept in pairs(logs) do
        if kept == '' then
            redis.call('HDEL', log, job)
        else
            redis.call('HSET', log, job, kept)
        end
    end
    in_parts('HDEL', runs, numbers)
    in_parts('ZREM', order, members)
end

local function forget_surplus(total, at_most)
    local surplus = redis.call('ZCARD', order) - total
    if surplus > 0 then
        forget_oldest(redis.call('ZRANGE', order, 0, math.min(surplus, at_most) - 1))
    end
end
