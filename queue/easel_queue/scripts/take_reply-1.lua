-- Hand a direct reply to the caller that waited for it, once.
-- KEYS  1 reply:<rid>
-- ARGV  1 root  2 now
-- Returns {data, tags, at}, or nil.
-- @include base
local f = redis.call('HMGET', KEYS[1], 'data', 'tags', 'at')
if not f[1] then
  return nil
end
redis.call('DEL', KEYS[1])
return f
