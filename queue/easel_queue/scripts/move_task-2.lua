-- Give a waiting task another priority: its place in the line is then that of a task put with it.
-- KEYS  1 in:rid  2 in:prio
-- ARGV  1 root  2 now  3 request id  4 priority
-- Returns 1, or 0 when it does not wait.
-- @include base
-- @include line
local member = redis.call('HGET', KEYS[1], ARGV[3])
local name = member and key('in', 'e:' .. member)
local f = member and redis.call('HMGET', name, 'state', 'prio', 'user')
if not f or f[1] ~= 'waiting' then
  return 0
end
leave_line(member, f[2], f[3])
redis.call('HSET', name, 'prio', ARGV[4])
redis.call('ZREM', KEYS[2], member)
local place = order(tonumber(ARGV[4]), tonumber(member))
if ARGV[4] ~= '0' then
  redis.call('ZADD', KEYS[2], place, member)
end
for _, gid in ipairs(redis.call('ZRANGE', key('in', 'groups'), 0, -1)) do
  redis.call('ZADD', key('in', 'g:' .. gid .. ':todo'), 'XX', place, member)
end
enter_line(member, ARGV[4], f[3])
ring()
return 1
