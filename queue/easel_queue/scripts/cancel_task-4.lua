-- Cancel one task by request id, and no other.
-- A task that has not begun ends at once with the result given here. One that runs is marked, and its worker
-- is told through its inbox and stops at the next step; should the worker die or fail first, the task ends
-- with this result instead of being delivered again.
-- KEYS  1 in:rid  2 in:waiting  3 sink:seq  4 sink:entries
-- ARGV  1 root  2 now  3 request id  4 data of the result  5 extra tags of the result (JSON)
-- Returns 'cancelled', 'stopping', or 'unknown'.
-- @include base
-- @include entry
-- @include task
local member = redis.call('HGET', KEYS[1], ARGV[3])
if not member then
  return 'unknown'
end
local name = key('in', 'e:' .. member)
local f = redis.call('HMGET', name, 'state', 'worker', 'tags')
local tags = cjson.decode(f[3])
for tag, value in pairs(cjson.decode(ARGV[5])) do
  tags[tag] = value
end
tags = cjson.encode(tags)
if f[1] == 'running' then
  redis.call('HSET', name, 'cancel_tags', tags, 'cancel_data', ARGV[4])
  local inbox = root .. ':inbox:' .. f[2]
  redis.call('RPUSH', inbox, 'cancel ' .. member)
  redis.call('PEXPIRE', inbox, 60000)
  return 'stopping'
end
conclude(member, 'cancelled', '', ARGV[4], tags)
return 'cancelled'
