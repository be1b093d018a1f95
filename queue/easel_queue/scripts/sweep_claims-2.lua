-- Names of claims whose bodies may be deleted: gone for the time of grace, in which who read of them just before may
-- still fetch them; or announced so long ago that whoever did so has died.
-- Guarantees: a name that is returned can no longer be put. It is returned again until forget_claims says that its
-- body is deleted.
-- KEYS  1 claims:announced  2 claims:gone
-- ARGV  1 root  2 now  3 ms of grace  4 ms that an announced body may take  5 limit
-- Returns the names, those first that are gone for longest.
-- @include base
local late = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', whole(now - tonumber(ARGV[4])), 'LIMIT', 0, ARGV[5])
for _, name in ipairs(late) do
  redis.call('ZREM', KEYS[1], name)
  redis.call('ZADD', KEYS[2], 0, name)
end
return redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', whole(now - tonumber(ARGV[3])), 'LIMIT', 0, ARGV[5])
