-- A watcher says that it failed with items it has: EAS's negative commit.
-- They return to their group, to their old place, and the reason is remembered with them. An item of the sink or
-- the rear that failed `max delivery` times in one group is set aside: that group gets it no more, but it stays
-- stored until the group commits it or somebody removes it. On the input queue it counts as a delivery of the
-- task, and the last one makes the task a dead letter with a failed result. While a worker runs the task, the
-- failure is only remembered: the worker's own delivery decides.
-- A watcher that exits soon gets nothing more on this connection, and its items count no failure.
-- Guarantees: only what the caller still has is touched, and one call counts once, so that it may be repeated.
-- KEYS  1 <q>:groups  2 <q>:g:<gid>:todo  3 <q>:g:<gid>:pend  4 <q>:g:<gid>:failed  5 <q>:g:<gid>:aside
--       6 <q>:g:<gid>:c  7 sink:entries
-- ARGV  1 root  2 now  3 queue  4 gid  5 uid or '' (whoever has the item)  6 id of this call  7 reason
--       8 1 if the watcher exits soon  9 max delivery  10 data of a failed result  11 its extra tags (JSON)
--       12 1 to keep dead letters in the rear, 0 to drop them  13.. indexes
-- Returns {items that went back to the group, items given up}.
-- @include base
-- @include entry
-- @include stream
-- @include task
local queue, gid, exits, max_delivery = ARGV[3], ARGV[4], ARGV[8] == '1', tonumber(ARGV[9])

-- The watcher that has this item, if the caller may speak for it. `failed` stores "<times> <last call>".
local function holder_of(member)
  local uid = redis.call('HGET', KEYS[3], member)
  local times, call = string.match(redis.call('HGET', KEYS[4], member) or '0 ', '^(%d+) (.*)$')
  if uid and (ARGV[5] == '' or ARGV[5] == uid) and call ~= ARGV[6] then
    return uid, tonumber(times)
  end
  return nil
end

-- A task of the input queue failed in a watcher's hands. Returns true if it ended.
local function fail_task(member, who)
  local name = key('in', 'e:' .. member)
  if redis.call('HGET', name, 'state') == 'running' then
    remember_error('in', member, 'beside the worker, with ' .. who .. ': ' .. ARGV[7])
    return false
  end
  local deliveries = redis.call('HINCRBY', name, 'dlv', 1)
  remember_error('in', member, 'delivery ' .. deliveries .. ' to ' .. who .. ': ' .. ARGV[7])
  if deliveries < max_delivery then
    return false
  end
  local tags = cjson.decode(redis.call('HGET', name, 'tags'))
  for tag, value in pairs(cjson.decode(ARGV[11])) do
    tags[tag] = value
  end
  bury(member, '', ARGV[10], cjson.encode(tags), ARGV[12] == '1')
  return true
end

local function take_from(member, uid)
  redis.call('HDEL', KEYS[3], member)
  redis.call('ZREM', key(queue, 'g:' .. gid .. ':w:' .. uid), member)
end

local returned, given_up, leaving = 0, 0, {}
for position = 13, #ARGV do
  local member = ARGV[position]
  local uid, times = holder_of(member)
  if uid and exits then
    leaving[uid] = true
    take_from(member, uid)
    line_up(queue, gid, member)
    returned = returned + 1
  elseif uid then
    local who = gid .. '.' .. uid
    take_from(member, uid)
    redis.call('HSET', KEYS[4], member, (times + 1) .. ' ' .. ARGV[6])
    if queue == 'in' then
      if fail_task(member, who) then
        given_up = given_up + 1
      else
        line_up(queue, gid, member)
        returned = returned + 1
      end
    else
      remember_error(queue, member, 'delivery ' .. (times + 1) .. ' to ' .. who .. ': ' .. ARGV[7])
      if times + 1 < max_delivery then
        line_up(queue, gid, member)
        returned = returned + 1
      else
        redis.call('ZADD', KEYS[5], member, member)
        given_up = given_up + 1
      end
    end
  end
end
for uid in pairs(leaving) do
  local record = redis.call('HGET', KEYS[6], uid)
  if record then
    record = cjson.decode(record)
    record.leaving = record.connection ~= ''
    redis.call('HSET', KEYS[6], uid, cjson.encode(record))
  end
end
if returned + given_up > 0 then
  say({ q = queue })
end
return { returned, given_up }
