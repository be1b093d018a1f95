-- One dead letter with its body.
-- KEYS  1 rear:entries  2 rear:rid
-- ARGV  1 root  2 now  3 index or request id
-- Returns {index, rid, tags, priority, deliveries, died at, put at, errors, size, meta, data, claim}, or nil.
-- @include base
local member = redis.call('ZSCORE', KEYS[1], ARGV[3]) and ARGV[3] or redis.call('HGET', KEYS[2], ARGV[3])
if not member then
  return nil
end
local f = redis.call('HMGET', key('rear', 'e:' .. member),
  'rid', 'tags', 'prio', 'dlv', 'at', 'put_at', 'errors', 'size', 'meta', 'data', 'claim')
local reply = { member }
for field = 1, 11 do
  reply[#reply + 1] = f[field] or ''
end
return reply
