-- The request id of a task that is known by some id: its own, an idempotency key, or a name that its sender gave it.
-- KEYS  1 in:rid  2 done:<id>  3 the idempotency key's  4 alias:<user>:<id>
-- ARGV  1 root  2 now  3 id
-- Returns {request id, user of a task that has not ended}, or nil.
-- @include base
local rid = ARGV[3]
if redis.call('HEXISTS', KEYS[1], rid) == 0 and redis.call('EXISTS', KEYS[2]) == 0 then
  rid = redis.call('HGET', KEYS[3], 'rid') or redis.call('GET', KEYS[4])
  if not rid then
    return nil
  end
end
local member = redis.call('HGET', KEYS[1], rid)
return { rid, member and redis.call('HGET', key('in', 'e:' .. member), 'user') or nil }
