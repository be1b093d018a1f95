-- The tasks that workers run now, the one that began first in front; 1000 at most.
-- KEYS  1 in:started
-- ARGV  1 root  2 now
-- Returns {now, {index, ms at which it began, rid, user, meta, tags, progress, worker, interrupt}, ...}.
-- @include base
local reply = { whole(now) }
local started = redis.call('ZRANGE', KEYS[1], 0, 999, 'WITHSCORES')
for position = 1, #started, 2 do
  local f = redis.call('HMGET', key('in', 'e:' .. started[position]),
    'rid', 'user', 'meta', 'tags', 'progress', 'worker', 'interrupt')
  if f[1] then
    reply[#reply + 1] = {
      started[position], started[position + 1], f[1], f[2] or '', f[3], f[4], f[5] or '', f[6] or '', f[7] or '',
    }
  end
end
return reply
