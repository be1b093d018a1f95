-- The workers whose heartbeat has not expired; forgets the others.
-- KEYS  1 workers
-- ARGV  1 root  2 now
-- Returns {{id, seen ms, info}, ...}.
-- @include base
local reply = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local info = redis.call('GET', root .. ':worker:' .. id)
  if info then
    reply[#reply + 1] = { id, redis.call('ZSCORE', KEYS[1], id), info }
  else
    redis.call('ZREM', KEYS[1], id)
  end
end
return reply
