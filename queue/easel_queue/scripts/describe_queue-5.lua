-- Counts of one queue, and its groups and watchers.
-- KEYS  1 <q>:entries  2 <q>:groups  3 <q>:watchers  4 in:waiting  5 in:leases
-- ARGV  1 root  2 now  3 queue
-- Returns {length, first, last, waiting, leased, {gid, todo, pending, ...}, {gid, uid, pending, alive until, record, ...},
--          now, bytes}.
-- @include base
local queue = ARGV[3]
local first = redis.call('ZRANGE', KEYS[1], 0, 0)
local last = redis.call('ZRANGE', KEYS[1], -1, -1)
local waiting, leased = 0, 0
if queue == 'in' then
  waiting = redis.call('ZCARD', KEYS[4])
  leased = redis.call('ZCARD', KEYS[5])
end
local groups = {}
for _, gid in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  local group = key(queue, 'g:' .. gid)
  groups[#groups + 1] = gid
  groups[#groups + 1] = redis.call('ZCARD', group .. ':todo')
  groups[#groups + 1] = redis.call('HLEN', group .. ':pend')
end
local watchers = {}
for _, name in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1)) do
  local gid, uid = string.match(name, '^(%S+) (%S+)$')
  local group = key(queue, 'g:' .. gid)
  watchers[#watchers + 1] = gid
  watchers[#watchers + 1] = uid
  watchers[#watchers + 1] = redis.call('ZCARD', group .. ':w:' .. uid)
  watchers[#watchers + 1] = redis.call('ZSCORE', KEYS[3], name)
  watchers[#watchers + 1] = redis.call('HGET', group .. ':c', uid) or '{}'
end
return {
  redis.call('ZCARD', KEYS[1]), first[1] or '0', last[1] or '0', waiting, leased, groups, watchers, whole(now),
  redis.call('GET', key(queue, 'bytes')) or '0',
}
