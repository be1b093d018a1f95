-- The end of a watcher. Needs base, entry and stream.
local FORGET_AFTER = 3600000 -- 1 hour
local LEFT_BEHIND = 1000 -- attributes look at this many of the items that a watcher left, to tell its state

-- Returns how many items went back to the group.
local function leave(queue, gid, uid, record)
  local members = give_back(queue, gid, uid)
  record.connection = ''
  record.left = now
  if #members > 0 then
    record.behind = { unpack(members, 1, math.min(#members, LEFT_BEHIND)) }
  end
  redis.call('HSET', key(queue, 'g:' .. gid .. ':c'), uid, cjson.encode(record))
  redis.call('ZADD', key(queue, 'watchers'), whole(now + FORGET_AFTER), gid .. ' ' .. uid)
  return #members
end
