-- EAS search: is this item being processed in the caller's group, and how many are ahead of it in the group's
-- order.
-- A group that nobody has opened has the order it would have if it were opened now; on the input queue it has
-- the workers' line, so that a client which asks in its own group learns its place.
-- KEYS  1 <q>:entries  2 in:waiting  3 <q>:g:<gid>:todo  4 <q>:g:<gid>:pend  5 <q>:prio  6 <q>:groups
-- ARGV  1 root  2 now  3 queue  4 index  5 1 if the group is the service's own workers  6 gid
-- Returns {1 if pending, ahead, consumer}, or nil when the item is not stored.
-- @include base
-- @include entry
local member, index = ARGV[4], tonumber(ARGV[4])
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
if redis.call('ZSCORE', KEYS[6], ARGV[6]) then
  return { 0, redis.call('ZRANK', KEYS[3], member) or 0, '' } -- not in line: committed or set aside
end
if ARGV[3] == 'in' then
  return { 0, redis.call('ZRANK', KEYS[2], member) or 0, '' }
end

-- `prio` holds, in order, the items whose priority is not 0; the others stand between its positive and its
-- negative ones, in order of their index.
local ranked = redis.call('ZRANK', KEYS[5], member)
if ranked then
  local plain = 0
  if tonumber(redis.call('ZSCORE', KEYS[5], member)) > 0 then
    plain = redis.call('ZCARD', KEYS[1]) - redis.call('ZCARD', KEYS[5])
  end
  return { 0, ranked + plain, '' }
end
local earlier = redis.call('ZRANK', KEYS[1], member)
-- Of the earlier ones, those with a priority were counted by index, not by order: one look per level in use.
local at = '-inf'
while true do
  local next = redis.call('ZRANGEBYSCORE', KEYS[5], at, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if #next == 0 then
    break
  end
  local level = tonumber(next[2]) - tonumber(next[1]) -- minus priority * PRIORITY_STEP
  earlier = earlier - redis.call('ZCOUNT', KEYS[5], whole(level), '(' .. whole(level + index))
  at = whole(level + PRIORITY_STEP)
end
return { 0, earlier + redis.call('ZCOUNT', KEYS[5], '-inf', '(0'), '' }
