-- Some of all jobs. ARGV: where the last call stopped. Returns where this one did, ids and rows.
local page = redis.call('HSCAN', jobs, ARGV[1], 'COUNT', 500)
local ids, values = {}, {}
for at = 1, #page[2], 2 do
    table.insert(ids, page[2][at])
    table.insert(values, page[2][at + 1])
end
return { page[1], ids_as_json(ids), lines_of(values) }
