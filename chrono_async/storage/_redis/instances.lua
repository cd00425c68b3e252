-- Who was heard of lately. ARGV: after how long silence instances are forgotten.
local since = digits(now - tonumber(ARGV[1]))
local ids, when = {}, {}
local found = redis.call('ZRANGEBYSCORE', seen, since, '+inf', 'WITHSCORES')
for at = 1, #found, 2 do
    table.insert(ids, found[at])
    table.insert(when, found[at + 1])
end
return { ids_as_json(ids), table.concat(when, ' '), lines_of(values_of(instances, ids)) }
