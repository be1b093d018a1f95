-- The end of a watcher. Needs base, entry and stream.
local FORGET_AFTER = 3600000 -- 1 hour

local function leave(queue, gid, uid, record)
  local returned = give_back(queue, gid, uid)
  record.connection = ''
  record.left = now
  redis.call('HSET', key(queue, 'g:' .. gid .. ':c'), uid, cjson.encode(record))
  redis.call('ZADD', key(queue, 'watchers'), whole(now + FORGET_AFTER), gid .. ' ' .. uid)
  return returned
end
