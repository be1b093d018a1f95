-- What every queue can do for its consumers. Needs base and entry.

-- A task that a client removes while a worker has it: the worker is told to stop, a waiting caller is told too.
local function disturb_task(member)
  local f = redis.call('HMGET', key('in', 'e:' .. member), 'state', 'worker', 'rid')
  if f[1] == 'running' then
    local inbox = root .. ':inbox:' .. f[2]
    redis.call('RPUSH', inbox, 'cancel ' .. member)
    redis.call('PEXPIRE', inbox, 60000)
  end
  say({ q = 'in', r = f[3], s = 'deleted' })
end

-- Remove an item; `groups` as for remove_entry. Returns how many were removed.
local function drop(queue, member, groups)
  if queue == 'in' then
    disturb_task(member)
  end
  return (remove_entry(queue, member, groups))
end

local function groups_of(queue)
  return redis.call('ZRANGE', key(queue, 'groups'), 0, -1)
end

-- True if one of these groups still has to commit this item, or gave up on it and waits for somebody to look.
local function held(queue, member, groups)
  for _, gid in ipairs(groups) do
    local group = key(queue, 'g:' .. gid)
    if redis.call('ZSCORE', group .. ':todo', member) or redis.call('HEXISTS', group .. ':pend', member) == 1
      or redis.call('ZSCORE', group .. ':aside', member) then
      return true
    end
  end
  return false
end

-- Back to the old place in a group's line.
local function line_up(queue, gid, member)
  local priority = redis.call('HGET', key(queue, 'e:' .. member), 'prio')
  if priority then
    redis.call('ZADD', key(queue, 'g:' .. gid .. ':todo'), order(tonumber(priority), tonumber(member)), member)
  end
end

-- A watcher goes: what it had and did not commit returns to its group. Returns those items.
local function give_back(queue, gid, uid)
  local group = key(queue, 'g:' .. gid)
  local mine = group .. ':w:' .. uid
  local members = redis.call('ZRANGE', mine, 0, -1)
  for _, member in ipairs(members) do
    redis.call('HDEL', group .. ':pend', member)
    line_up(queue, gid, member)
  end
  redis.call('DEL', mine)
  if #members > 0 then
    say({ q = queue, g = gid })
  end
  return members
end

-- Open a queue again whose stream was ended.
local function reopen(queue)
  redis.call('DEL', key(queue, 'eos'))
  say({ q = queue })
end
