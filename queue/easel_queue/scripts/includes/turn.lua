-- Serving the line. Needs base, entry and line.

-- The lane whose turn it is at this priority, or one whose first task is kin to the worker and that may go before it.
-- That is one listed under the first of `kin` that has any. It may go before others only while none of these has
-- been bypassed `bypass` times, and while its own turn is no more than `bypass` tasks away: else the users whose
-- models are loaded would get more than their share.
-- Returns the lane's name, and whether it bypasses another. With `only`, nil when no kin may be served.
local function choose(priority, kin, bypass, only)
  local level = at_level('level', priority)
  local front = redis.call('ZRANGE', level, 0, 0, 'WITHSCORES')
  local oldest = redis.call('ZRANGE', at_level('seated', priority), 0, 0, 'WITHSCORES')
  local bypasses = tonumber(redis.call('HGET', at_level('clock', priority), 'bypasses') or 0)
  local patient = bypasses - tonumber(oldest[2] or 0) < bypass
  for _, name in ipairs(kin) do
    local first = redis.call('ZRANGE', at_level('kin', priority .. ':' .. name), 0, 0, 'WITHSCORES')
    if first[1] and first[1] == front[1] then
      return first[1], false
    end
    if first[1] and patient and tonumber(first[2]) <= tonumber(front[2]) + bypass then
      return first[1], true
    end
  end
  return not only and front[1] or nil, false
end

-- Take the first task of a lane, and park its user when `max_working` (0: no limit) are in work now.
local function serve(priority, name, out_of_turn, max_working)
  local clock, member, user = at_level('clock', priority), whole(tonumber(string.sub(name, 1, 16))), string.sub(name, 17)
  local f = redis.call('HMGET', clock, 'now', 'weight')
  local now_at, weight = tonumber(f[1] or 0), tonumber(f[2])
  local next_at = unseat(priority, user) + SHARE / share_of(user)
  local more = step_out(member, priority, user)
  local working = redis.call('HINCRBY', person(user), 'working', 1)
  if more and (max_working == 0 or working < max_working) then
    seat(priority, user, next_at)
  else
    remember_turn(priority, user, next_at)
    if max_working > 0 and working >= max_working then
      park(user)
    end
  end
  -- The clock stays within one task of the lane that is next: who comes now is not served later than that.
  local front = redis.call('ZRANGE', at_level('level', priority), 0, 0, 'WITHSCORES')
  if front[1] then
    now_at = math.max(now_at, math.min(now_at + SHARE / weight, tonumber(front[2]) + 1))
  else
    now_at = math.max(now_at, next_at)
  end
  redis.call('HSET', clock, 'now', string.format('%.17g', now_at))
  redis.call('ZREMRANGEBYSCORE', at_level('past', priority), '-inf', string.format('%.17g', now_at))
  if out_of_turn then
    redis.call('HINCRBY', clock, 'bypasses', 1)
  end
  return member
end
