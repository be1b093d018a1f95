-- Hand a direct reply to the caller that waited for it: once, or until it expires if the call had an idempotency key.
-- KEYS  1 reply:<rid>
-- ARGV  1 root  2 now
-- Returns {data, tags, at}, or nil.
-- @include base
local f = redis.call('HMGET', KEYS[1], 'data', 'tags', 'at', 'keep')
if not f[1] then
  return nil
end
if not f[4] then
  redis.call('DEL', KEYS[1])
end
return { f[1], f[2], f[3] }
