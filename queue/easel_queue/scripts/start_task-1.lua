-- Begin work on a reserved task: from here on this is a delivery and counts towards max_delivery.
-- Guarantees: counted once per lease, however often it is called.
-- KEYS  1 in:leases
-- ARGV  1 root  2 now  3 index  4 token  5 request id  6 lease ms
-- Returns the number of deliveries including this one, LEASE_LOST, or CANCELLED.
-- @include base
-- @include entry
-- @include task
local member, token = ARGV[3], ARGV[4]
if not holds(member, token) then
  local state = redis.call('HGET', root .. ':done:' .. ARGV[5], 'state')
  return state == 'cancelled' and CANCELLED or LEASE_LOST
end
local name = key('in', 'e:' .. member)
redis.call('ZADD', KEYS[1], whole(now + tonumber(ARGV[6])), member)
if redis.call('HGET', name, 'state') == 'running' then
  return tonumber(redis.call('HGET', name, 'dlv'))
end
redis.call('HSET', name, 'state', 'running')
return count_delivery(member, ARGV[5])
