-- EAS search: is this item being processed in the caller's group, and how many are ahead of it.
-- KEYS  1 <q>:entries  2 in:waiting  3 <q>:g:<gid>:todo  4 <q>:g:<gid>:pend
-- ARGV  1 root  2 now  3 queue  4 index  5 1 if the group is the service's own workers
-- Returns {1 if pending, ahead, consumer}, or nil when the item is not stored.
-- @include base
local member = ARGV[4]
if not redis.call('ZSCORE', KEYS[1], member) then
  return nil
end
if ARGV[3] == 'in' and ARGV[5] == '1' then
  local f = redis.call('HMGET', key('in', 'e:' .. member), 'state', 'worker')
  if f[1] == 'waiting' then
    return { 0, redis.call('ZRANK', KEYS[2], member) or 0, '' }
  end
  return { 1, 0, f[2] or '' }
end
local uid = redis.call('HGET', KEYS[4], member)
if uid then
  return { 1, 0, uid }
end
local ahead = redis.call('ZRANK', KEYS[3], member)
if not ahead and ARGV[3] == 'in' then
  ahead = redis.call('ZRANK', KEYS[2], member)
end
-- In a group that nobody has opened yet, everything stored before the item is ahead of it.
return { 0, ahead or redis.call('ZRANK', KEYS[1], member), '' }
