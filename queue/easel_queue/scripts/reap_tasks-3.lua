-- Take tasks away from workers whose lease ran out, and from those that have worked on one delivery for too long.
-- A task that was only reserved, or has deliveries left, waits again; one that was being cancelled ends so. One
-- that is exhausted is leased to the reaper, which must end it with fail; if the reaper dies too, its own
-- lease runs out and the next reaper takes over. A worker that took too long is told to drop its work.
-- KEYS  1 in:leases  2 in:waiting  3 in:token
-- ARGV  1 root  2 now  3 reaper  4 max delivery  5 limit  6 lease ms for the reaper
--       7 ms that one delivery may take, from its start (0: any time)
-- Returns {number requeued, number ended as cancelled, task, task, ...}.
-- @include base
-- @include entry
-- @include task
local max_delivery, limit, lease_ms, max_idle = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local reply, looked = { 0, 0 }, 0

local function take_away(member, overdue)
  local name = key('in', 'e:' .. member)
  local f = redis.call('HMGET', name, 'state', 'dlv', 'cancel_tags', 'worker', 'reaping', 'token')
  looked = looked + 1
  if not f[1] then
    redis.call('ZREM', KEYS[1], member)
    return
  end
  if overdue then
    note_error(member, 'not done after ' .. max_idle / 1000 .. ' s (max_idle)')
    local inbox = root .. ':inbox:' .. f[4]
    redis.call('RPUSH', inbox, 'drop ' .. f[6])
    redis.call('PEXPIRE', inbox, 60000)
  elseif f[1] == 'running' and not f[5] then
    note_error(member, 'the lease ran out: worker ' .. (f[4] or '?') .. ' died, hung or lost Redis')
  end
  if not f[3] and f[1] == 'running' and tonumber(f[2] or '0') >= max_delivery then
    redis.call('HSET', name, 'reaping', 1)
    redis.call('ZREM', key('in', 'started'), member)
    local token = lease(member, 'running', ARGV[3], lease_ms)
    reply[#reply + 1] = describe(member, token, now + lease_ms)
  elseif retreat(member, '') then
    reply[2] = reply[2] + 1
  else
    reply[1] = reply[1] + 1
  end
end

for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', whole(now), 'LIMIT', 0, limit)) do
  take_away(member, false)
end
if max_idle > 0 then
  local since = whole(now - max_idle)
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', key('in', 'started'), '-inf', since, 'LIMIT', 0, limit - looked)) do
    take_away(member, true)
  end
end
return reply
