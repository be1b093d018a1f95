-- Forget a record and the result that was kept with it. The task itself, if it still waits or runs, goes on.
-- KEYS  1 record:<rid>  2 records  3 reply:<rid>
-- ARGV  1 root  2 now  3 request id
-- Returns 1, or 0 when there was none.
-- @include base
-- @include entry
local claim = redis.call('HGET', KEYS[3], 'claim') or ''
if claim ~= '' then
  release_claim(claim, now)
end
redis.call('ZREM', KEYS[2], ARGV[3])
redis.call('DEL', KEYS[3])
return redis.call('DEL', KEYS[1])
