-- A page of the records, the newest first; pending ones in the order of the line. Of all users, some, or all but some.
-- The newest 10,000 are looked at; names whose records have expired are forgotten.
-- KEYS  1 records
-- ARGV  1 root  2 now  3 offset  4 limit  5 the statuses that are wanted, each between commas
--       6 'all', 'only' or 'except'  7.. those users
-- Returns {how many match, record, ...} (see describe_record).
-- @include base
-- @include record
local offset, limit, statuses, mode = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], ARGV[6]
local named, found = {}, {}
for position = 7, #ARGV do
  named[ARGV[position]] = true
end
for number, rid in ipairs(redis.call('ZREVRANGE', KEYS[1], 0, 9999)) do
  local user = redis.call('HGET', root .. ':record:' .. rid, 'user')
  if not user then
    redis.call('ZREM', KEYS[1], rid)
  elseif mode == 'all' or (named[user] or false) == (mode == 'only') then
    local status, member = status_of(rid)
    if string.find(statuses, ',' .. status .. ',', 1, true) then
      found[#found + 1] = { rid, status, member, position_of(status, member), number }
    end
  end
end
table.sort(found, function(one, other)
  if one[4] ~= other[4] then
    return one[4] < other[4]
  end
  return one[5] < other[5]
end)
local reply = { #found }
for position = offset + 1, math.min(offset + limit, #found) do
  reply[#reply + 1] = describe_record(found[position][1], found[position][2], found[position][3])
end
return reply
