-- Take tasks away from workers whose lease ran out.
-- A task that was only reserved, or has deliveries left, waits again; one that was being cancelled ends so. One
-- that is exhausted is leased to the reaper, which must end it with fail; if the reaper dies too, its own
-- lease runs out and the next reaper takes over.
-- KEYS  1 in:leases  2 in:waiting  3 in:token
-- ARGV  1 root  2 now  3 reaper  4 max delivery  5 limit  6 lease ms for the reaper
-- Returns {number requeued, number ended as cancelled, task, task, ...}.
-- @include base
-- @include entry
-- @include task
local max_delivery, lease_ms = tonumber(ARGV[4]), tonumber(ARGV[6])
local reply = { 0, 0 }
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', whole(now), 'LIMIT', 0, ARGV[5])) do
  local name = key('in', 'e:' .. member)
  local f = redis.call('HMGET', name, 'state', 'dlv', 'cancel_tags', 'worker', 'reaping')
  if not f[1] then
    redis.call('ZREM', KEYS[1], member)
  else
    if f[1] == 'running' and not f[5] then
      note_error(member, 'the lease ran out: worker ' .. (f[4] or '?') .. ' died, hung or lost Redis')
    end
    if not f[3] and f[1] == 'running' and tonumber(f[2] or '0') >= max_delivery then
      redis.call('HSET', name, 'reaping', 1)
      local token = lease(member, 'running', ARGV[3], lease_ms)
      reply[#reply + 1] = describe(member, token, now + lease_ms)
    elseif retreat(member, '') then
      reply[2] = reply[2] + 1
    else
      reply[1] = reply[1] + 1
    end
  end
end
return reply
