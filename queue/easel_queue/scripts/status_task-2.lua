-- Where one task is, while it is stored and for an hour after it ended.
-- KEYS  1 in:rid  2 in:waiting
-- ARGV  1 root  2 now  3 request id
-- Returns {index, state, ahead, deliveries, worker, progress, tags, errors, sink index}, or nil.
-- @include base
local member = redis.call('HGET', KEYS[1], ARGV[3])
if member then
  local f = redis.call('HMGET', key('in', 'e:' .. member), 'state', 'dlv', 'worker', 'progress', 'tags', 'errors')
  local ahead = redis.call('ZRANK', KEYS[2], member)
  return { member, f[1], ahead or 0, f[2] or 0, f[3] or '', f[4] or '', f[5] or '', f[6] or '', 0 }
end
local f = redis.call('HMGET', root .. ':done:' .. ARGV[3], 'index', 'state', 'sink')
if f[1] then
  return { f[1], f[2], 0, 0, '', '', '', '', f[3] }
end
return nil
