-- A caller that announced a claim has no use for it: its put was refused, or known already. What was accepted is no
-- longer announced, so that this may be called whatever became of it.
-- KEYS  1 claims:announced  2 claims:gone
-- ARGV  1 root  2 now  3 name
-- Returns 1 if it is gone now.
-- @include base
if redis.call('ZREM', KEYS[1], ARGV[3]) == 0 then
  return 0
end
redis.call('ZADD', KEYS[2], 0, ARGV[3]) -- nobody can be reading it: no time to wait out
return 1
