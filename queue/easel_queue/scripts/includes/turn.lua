-- Serving the line. Needs base, entry and line.

-- Whether a lane whose turn is at `at` may go before the front one, so that a model is not changed or a batch filled.
-- It may while no task that has a place was bypassed `bypass` times, and while it is no more than so many tasks ahead
-- of its turn: else the users whose models are loaded would get more than their share.
local function may_bypass(priority, at, front_at, bypass)
  if bypass == 0 or tonumber(at) > tonumber(front_at) + bypass then
    return false
  end
  local most_passed = redis.call('ZRANGE', at_level('seated', priority), 0, 0, 'WITHSCORES')[2]
  return tonumber(redis.call('HGET', at_level('clock', priority), 'bypasses') or 0) - tonumber(most_passed) < bypass
end

-- The lane to serve at this priority: of those whose first task has the first of the names in `kin` that any has, the
-- one whose turn is next; when there is none, or it may not go first, the one whose turn it is. That one only if it
-- has such a name, with `only`.
-- Returns its place, the virtual time of its turn, and whether it bypasses another; nil with `only`.
local function choose(priority, kin, bypass, only)
  local front = redis.call('ZRANGE', at_level('level', priority), 0, 0, 'WITHSCORES')
  for _, name in ipairs(kin) do
    local first = redis.call('ZRANGE', at_level('kin', priority .. ':' .. name), 0, 0, 'WITHSCORES')
    local in_turn = first[1] and first[1] == front[1]
    if in_turn or (first[1] and may_bypass(priority, first[2], front[2], bypass)) then
      return first[1], first[2], not in_turn
    end
  end
  if only then
    return nil
  end
  return front[1], front[2], false
end

-- The virtual time after a task was served. It stays within one task of the lane that is next: who comes now is not
-- served later than that.
local function tick(priority, clock_at, weight, next_at)
  local front = redis.call('ZRANGE', at_level('level', priority), 0, 0, 'WITHSCORES')[2]
  if not front then
    return math.max(clock_at, next_at)
  end
  return math.max(clock_at, math.min(clock_at + SHARE / weight, tonumber(front) + 1))
end

-- Take the first task of a lane, and park its user when `max_working` (0: no limit) are in work now.
-- Returns the task.
local function serve(priority, place, at, out_of_turn, max_working)
  local member, user = whole(tonumber(string.sub(place, 1, 16))), string.sub(place, 17)
  local clock, lane = at_level('clock', priority), lane_of(priority, user)
  local f = redis.call('HMGET', clock, 'now', 'weight', 'bypasses')
  local bypasses = tonumber(f[3] or 0) + (out_of_turn and 1 or 0)
  local share = share_of(user)
  local next_at = tonumber(at) + SHARE / share

  unlist(priority, member, user)
  redis.call('ZREM', lane, member)
  redis.call('ZREM', key('in', 'waiting'), member)
  local working = count(user, 'working', 1)
  redis.call('HINCRBY', person(user), 'waiting', -1)
  local head = redis.call('ZRANGE', lane, 0, 0)[1]
  local full = max_working > 0 and working >= max_working
  if head and not full then
    list(priority, head, user, next_at, bypasses)
  else
    weigh(priority, -share)
    if not head then
      redis.call('HDEL', person(user), 'p:' .. priority)
    end
    if full then
      park(user)
    end
  end

  local clock_at = tick(priority, tonumber(f[1] or 0), tonumber(f[2]), next_at)
  if (full or not head) and next_at > clock_at then
    remember_turn(priority, user, next_at)
  end
  clock_at = string.format('%.17g', clock_at)
  redis.call('HSET', clock, 'now', clock_at, 'bypasses', bypasses)
  redis.call('ZREMRANGEBYSCORE', at_level('past', priority), '-inf', clock_at)
  return member
end
