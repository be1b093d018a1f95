-- What one user may do. Needs base and line.
local MINUTE = 60000

local function puts_of(user)
  return key('in', 'puts:' .. user)
end

-- USER_FULL or {TOO_FAST, ms} when one more task is more than this user may put now. A limit of 0 is none.
local function beyond(user, max_waiting, per_minute)
  if max_waiting > 0 and tonumber(redis.call('HGET', person(user), 'waiting') or 0) >= max_waiting then
    return USER_FULL
  end
  if per_minute > 0 then
    redis.call('ZREMRANGEBYSCORE', puts_of(user), '-inf', whole(now - MINUTE))
    local over = redis.call('ZCARD', puts_of(user)) - per_minute
    if over >= 0 then -- more than the limit if that was lowered
      return { TOO_FAST, tonumber(redis.call('ZRANGE', puts_of(user), over, over, 'WITHSCORES')[2]) + MINUTE - now }
    end
  end
  return nil
end

local function count_put(user, index)
  redis.call('ZADD', puts_of(user), whole(now), whole(index))
  redis.call('PEXPIRE', puts_of(user), MINUTE)
end

-- A changed share counts at once, also for what waits already.
local function set_share(user, share)
  if share == share_of(user) then
    return
  end
  local places = {}
  for _, priority in ipairs(priorities_of(user)) do
    places[priority] = unseat(priority, user)
  end
  if share == SHARE then
    redis.call('HDEL', key('in', 'shares'), user)
  else
    redis.call('HSET', key('in', 'shares'), user, share)
  end
  for priority, at in pairs(places) do
    seat(priority, user, at)
  end
end
