-- Counts of one queue, and its groups and watchers.
-- KEYS  1 <q>:entries  2 <q>:groups  3 <q>:watchers  4 in:waiting  5 in:leases  6 <q>:eos
-- ARGV  1 root  2 now  3 queue
-- Returns {length, first, last, waiting, leased, {gid, todo, pending, set aside, ...},
--          {gid, uid, pending, alive until, record, 1 if items it left behind are not consumed, ...}, now,
--          index of the end-of-stream marker or 0, bytes}.
-- @include base
local queue = ARGV[3]
local first = redis.call('ZRANGE', KEYS[1], 0, 0)
local last = redis.call('ZRANGE', KEYS[1], -1, -1)
local waiting, leased = 0, 0
if queue == 'in' then
  waiting = redis.call('ZCARD', KEYS[4])
  leased = redis.call('ZCARD', KEYS[5])
end

-- True if the group still has to consume some of these items.
local function unconsumed(group, members)
  for _, score in ipairs(redis.call('ZMSCORE', group .. ':todo', unpack(members))) do
    if score then
      return true
    end
  end
  for _, holder in ipairs(redis.call('HMGET', group .. ':pend', unpack(members))) do
    if holder then
      return true
    end
  end
  return false
end

local groups = {}
for _, gid in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  local group = key(queue, 'g:' .. gid)
  groups[#groups + 1] = gid
  groups[#groups + 1] = redis.call('ZCARD', group .. ':todo')
  groups[#groups + 1] = redis.call('HLEN', group .. ':pend')
  groups[#groups + 1] = redis.call('ZCARD', group .. ':aside')
end
local watchers = {}
for _, name in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
  local gid, uid = string.match(name, '^(%S+) (%S+)$')
  local group = key(queue, 'g:' .. gid)
  watchers[#watchers + 1] = gid
  watchers[#watchers + 1] = uid
  watchers[#watchers + 1] = redis.call('ZCARD', group .. ':w:' .. uid)
  watchers[#watchers + 1] = redis.call('ZSCORE', KEYS[3], name)
  local record = redis.call('HGET', group .. ':c', uid) or '{}'
  watchers[#watchers + 1] = record
  local behind = cjson.decode(record).behind
  watchers[#watchers + 1] = behind and unconsumed(group, behind) and 1 or 0
end
return {
  redis.call('ZCARD', KEYS[1]), first[1] or '0', last[1] or '0', waiting, leased, groups, watchers, whole(now),
  redis.call('GET', KEYS[6]) or '0', redis.call('GET', key(queue, 'bytes')) or '0',
}
