-- Watchers whose gateway vanished lose their items to the group; watchers long gone are forgotten; a group
-- that nobody has used for a day is dropped, so that it cannot hold items for ever.
-- KEYS  1 <q>:watchers  2 <q>:groups  3 <q>:entries
-- ARGV  1 root  2 now  3 queue
-- Returns how many items were given back.
-- @include base
-- @include entry
-- @include stream
-- @include watcher
local queue = ARGV[3]
local GROUP_AFTER = 86400000 -- 1 day
local returned = 0
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', whole(now), 'LIMIT', 0, 100)) do
  local gid, uid = string.match(name, '^(%S+) (%S+)$')
  local consumers = key(queue, 'g:' .. gid .. ':c')
  local seen = redis.call('HGET', consumers, uid)
  local record = seen and cjson.decode(seen)
  if record and record.connection ~= '' then
    returned = returned + leave(queue, gid, uid, record)
  else
    redis.call('HDEL', consumers, uid)
    redis.call('ZREM', KEYS[1], name)
  end
end

for _, gid in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', whole(now - GROUP_AFTER))) do
  local group = key(queue, 'g:' .. gid)
  if redis.call('HLEN', group .. ':c') == 0 then
    local members = redis.call('ZRANGE', group .. ':todo', 0, -1)
    for _, member in ipairs(redis.call('ZRANGE', group .. ':aside', 0, -1)) do
      members[#members + 1] = member
    end
    redis.call('DEL', group .. ':todo', group .. ':pend', group .. ':failed', group .. ':aside')
    redis.call('ZREM', KEYS[2], gid)
    -- What the other groups have all committed was only waiting for this one.
    local others = groups_of(queue)
    if #others > 0 then
      for _, member in ipairs(members) do
        if not held(queue, member, others) and queue ~= 'in' then
          remove_entry(queue, member)
        end
      end
    end
  end
end
return returned
