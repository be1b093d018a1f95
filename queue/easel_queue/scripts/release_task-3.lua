-- Give a task back unharmed: it returns to its old place in the line and the delivery, if one was begun, is
-- not counted. For a worker that drains. A task that was cancelled meanwhile ends instead.
-- KEYS  1 in:waiting  2 in:leases  3 in:bell
-- ARGV  1 root  2 now  3 index  4 token
-- Returns 1, or LEASE_LOST.
-- @include base
-- @include entry
-- @include task
local member = ARGV[3]
if not holds(member, ARGV[4]) then
  return LEASE_LOST
end
local name = key('in', 'e:' .. member)
if redis.call('HGET', name, 'state') == 'running' then
  redis.call('HINCRBY', name, 'dlv', -1)
end
retreat(member, ARGV[4])
return 1
