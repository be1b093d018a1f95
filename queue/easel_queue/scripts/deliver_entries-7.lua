-- Hand the next items of a group to one watcher and mark them pending.
-- Guarantees: never more than `window` uncommitted items per watcher; an item is pending with one watcher of
-- the group; only the uid's current connection gets any. Also tells that the watcher lives.
-- A watcher that has said that it exits soon gets nothing more. One whose stream was ended is told so when its
-- group has committed everything that it could get, or at once when the end was forced.
-- An auto-committing watcher has no window: its items are committed once they are on the wire.
-- KEYS  1 <q>:watchers  2 <q>:g:<gid>:todo  3 <q>:g:<gid>:pend  4 <q>:g:<gid>:w:<uid>  5 <q>:g:<gid>:c  6 <q>:groups
--       7 <q>:eos
-- ARGV  1 root  2 now  3 queue  4 gid  5 uid  6 connection  7 limit  8 max bytes of data (one item goes beyond;
--       claims count with the size of what they stand for)
-- Returns {how many the group has still to deliver, room left in the window, index, rid, tags, data, prio, at, meta,
--          errors, claim, index, ...}, FENCED, or ENDED. An auto-committing watcher always has room for 1.
-- @include base
-- @include entry
-- @include stream_filter
local queue, gid, uid = ARGV[3], ARGV[4], ARGV[5]
local LOOKED_AT = 1000 -- items below the start or outside the filter are stepped over, this many at most

local seen = redis.call('HGET', KEYS[5], uid)
local record = seen and cjson.decode(seen)
if not record or record.connection ~= ARGV[6] then
  return FENCED
end
redis.call('ZADD', KEYS[1], whole(now + record.ttl), gid .. ' ' .. uid)
redis.call('ZADD', KEYS[6], whole(now), gid)

if record.ended then
  return ENDED
end

local window = 1
if record.leaving then
  window = 0
elseif not record.auto_commit then
  window = math.max(record.window - redis.call('ZCARD', KEYS[4]), 0)
end
local limit, bytes, max_bytes = tonumber(ARGV[7]), 0, tonumber(ARGV[8])
local room = record.auto_commit and not record.leaving and limit or math.min(limit, window)
local reply, taken, position = { 0, 0 }, 0, 0
local wanted = filter_of(record.tags)
while taken < room and position < LOOKED_AT and bytes < max_bytes do
  local asked = room - taken
  local members = redis.call('ZRANGE', KEYS[2], position, position + asked - 1)
  for _, member in ipairs(members) do
    if bytes >= max_bytes then
      break
    end
    local fits = tonumber(member) >= record.start
    local f = fits and redis.call('HMGET', key(queue, 'e:' .. member), 'rid', 'tags', 'data', 'prio', 'at', 'meta',
      'errors', 'claim')
    if fits and f[1] and matches(f[2], wanted) then
      taken = taken + 1
      redis.call('ZREM', KEYS[2], member)
      redis.call('HSET', KEYS[3], member, uid)
      redis.call('ZADD', KEYS[4], member, member)
      if record.index_only then
        f[3], f[8] = '', ''
      end
      bytes = bytes + #f[3] + claim_size(f[8])
      reply[#reply + 1] = member
      for field = 1, 8 do
        reply[#reply + 1] = f[field] or ''
      end
    else
      position = position + 1
    end
  end
  if #members < asked then
    break
  end
end
if taken == 0 and room > 0 and redis.call('HLEN', KEYS[3]) == 0 and redis.call('EXISTS', KEYS[7]) == 1 then
  return ENDED
end
reply[1] = redis.call('ZCARD', KEYS[2])
reply[2] = record.auto_commit and window or window - taken
return reply
