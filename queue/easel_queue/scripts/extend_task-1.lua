-- Renew a lease.
-- KEYS  1 in:leases
-- ARGV  1 root  2 now  3 index  4 token  5 lease ms
-- Returns {lease until, what its clients wish (see wishes)}, or LEASE_LOST.
-- @include base
-- @include entry
-- @include task
local member = ARGV[3]
if not holds(member, ARGV[4]) then
  return LEASE_LOST
end
local lease_until = now + tonumber(ARGV[5])
redis.call('ZADD', KEYS[1], whole(lease_until), member)
return { whole(lease_until), wishes(member) }
