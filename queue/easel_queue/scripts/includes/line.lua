-- The line of waiting tasks: who is next. Needs base.
-- `waiting` holds all of them by priority and index. Beside it every user has a lane for each priority, in order of
-- the index. A lane that may be served has a place among the lanes of its priority: the virtual time at which its
-- first task's turn comes (start-time fair queueing, Goyal, Vin and Cheng 1996). To be served moves a lane on by one
-- task over its user's share; meanwhile the clock of the priority moves by one task over all the shares that wait. A
-- lane that comes back stands where it would be next, or at the clock if that is later: a pause earns no credit.
-- The lanes of a user whose tasks in work are as many as allowed are parked: they have no place until one ends.
local PRIORITY_STEP = 8796093022208 -- 2^43
local SHARE = 1000 -- a share of 1, as stored
local BELL_LENGTH = 64 -- more idle workers than this find their task by polling

-- Wake a worker.
local function ring()
  if redis.call('LPUSH', key('in', 'bell'), 1) > BELL_LENGTH then
    redis.call('LTRIM', key('in', 'bell'), 0, BELL_LENGTH - 1)
  end
end

local function order(priority, index)
  return whole(index - priority * PRIORITY_STEP)
end

-- A share of a thousandth or more, in thousandths. Only those that are not 1 are stored.
local function share_of(user)
  return tonumber(redis.call('HGET', key('in', 'shares'), user) or SHARE)
end

local function at_level(name, priority)
  return key('in', name .. ':' .. priority)
end

local function lane_of(priority, user)
  return key('in', 'lane:' .. priority .. ':' .. user)
end

local function person(user)
  return key('in', 'user:' .. user)
end

-- How a lane is called in the sets of its priority: its first task's index, so that the older of two that are equal
-- goes first, and its user.
local function place_name(head, user)
  return string.format('%016.0f', head) .. user
end

-- Enter a lane, by its first task, in the sets of its priority. `bypasses` is what the clock has counted so far, `kin`
-- that of a task which has just been stored.
local function list(priority, head, user, at, bypasses, kin)
  local name = place_name(head, user)
  local f = kin and { false, kin } or redis.call('HMGET', key('in', 'e:' .. head), 'passed', 'kin')
  redis.call('ZADD', at_level('level', priority), at, name)
  redis.call('ZADD', at_level('seated', priority), tonumber(bypasses or 0) - tonumber(f[1] or 0), name)
  for kin in string.gmatch(f[2] or '', '[^\n]+') do
    redis.call('ZADD', at_level('kin', priority .. ':' .. kin), at, name)
  end
end

local function unlist(priority, head, user)
  local name = place_name(head, user)
  redis.call('ZREM', at_level('level', priority), name)
  redis.call('ZREM', at_level('seated', priority), name)
  for kin in string.gmatch(redis.call('HGET', key('in', 'e:' .. head), 'kin') or '', '[^\n]+') do
    redis.call('ZREM', at_level('kin', priority .. ':' .. kin), name)
  end
end

-- A lane's share is, or is no longer, one of those that wait at this priority.
local function weigh(priority, share)
  if redis.call('HINCRBY', at_level('clock', priority), 'weight', share) > 0 then
    redis.call('ZADD', key('in', 'levels'), -priority, priority)
  else
    redis.call('ZREM', key('in', 'levels'), priority)
  end
end

-- Let a lane be served at the virtual time `at`.
local function seat(priority, user, at)
  local head = redis.call('ZRANGE', lane_of(priority, user), 0, 0)[1]
  list(priority, head, user, at, redis.call('HGET', at_level('clock', priority), 'bypasses'))
  weigh(priority, share_of(user))
end

-- Take a lane's place away. How often its first task was bypassed so far stays with that task.
-- Returns the virtual time of its turn, or nil if it had no place.
local function unseat(priority, user)
  local head = redis.call('ZRANGE', lane_of(priority, user), 0, 0)[1]
  local at = head and redis.call('ZSCORE', at_level('level', priority), place_name(head, user))
  if not at then
    return nil
  end
  local passed = tonumber(redis.call('HGET', at_level('clock', priority), 'bypasses') or 0)
    - tonumber(redis.call('ZSCORE', at_level('seated', priority), place_name(head, user)))
  if passed > 0 then
    redis.call('HSET', key('in', 'e:' .. head), 'passed', passed)
  end
  unlist(priority, head, user)
  weigh(priority, -share_of(user))
  return tonumber(at)
end

-- A lane goes without a place: when it comes back, its turn is not before `at`.
local function remember_turn(priority, user, at)
  redis.call('ZADD', at_level('past', priority), at, user)
end

-- When that is; `clock` is the priority's virtual time.
local function turn_of(priority, user, clock)
  local past = redis.call('ZSCORE', at_level('past', priority), user)
  if past then
    redis.call('ZREM', at_level('past', priority), user)
  end
  return math.max(tonumber(past or 0), tonumber(clock or 0))
end

-- The priorities at which a user has waiting tasks.
local function priorities_of(user)
  local found = {}
  for _, field in ipairs(redis.call('HKEYS', person(user))) do
    found[#found + 1] = string.match(field, '^p:(.+)$')
  end
  return found
end

local function is_parked(user)
  return redis.call('HEXISTS', person(user), 'parked') == 1
end

local function park(user)
  for _, priority in ipairs(priorities_of(user)) do
    local at = unseat(priority, user)
    if at then
      remember_turn(priority, user, at)
    end
  end
  redis.call('HSET', person(user), 'parked', 1)
end

-- Count a user's tasks that wait or are in work. Nothing is left of a user who has none.
local function count(user, what, change)
  local number = redis.call('HINCRBY', person(user), what, change)
  if number == 0 then
    local other = redis.call('HGET', person(user), what == 'waiting' and 'working' or 'waiting')
    if tonumber(other or 0) == 0 then
      redis.call('DEL', person(user))
    end
  end
  return number
end

-- A task begins to wait, at its old place if it was here before. `kin` is that of a task which has just been stored.
local function enter_line(member, priority, user, kin)
  local lane = lane_of(priority, user)
  redis.call('ZADD', key('in', 'waiting'), order(tonumber(priority), tonumber(member)), member)
  redis.call('HINCRBY', person(user), 'waiting', 1)
  local head = redis.call('ZRANGE', lane, 0, 0)[1]
  if head and tonumber(head) < tonumber(member) then
    redis.call('ZADD', lane, member, member)
    return
  end
  local at = head and unseat(priority, user)
  redis.call('ZADD', lane, member, member)
  redis.call('HSET', person(user), 'p:' .. priority, 1)
  if not is_parked(user) then
    local clock = redis.call('HMGET', at_level('clock', priority), 'now', 'bypasses')
    list(priority, member, user, at or turn_of(priority, user, clock[1]), clock[2], kin)
    weigh(priority, share_of(user))
  end
end

-- A waiting task leaves without having been served.
local function leave_line(member, priority, user)
  local lane = lane_of(priority, user)
  local first = redis.call('ZRANGE', lane, 0, 0)[1] == member
  local at = first and unseat(priority, user)
  redis.call('ZREM', key('in', 'waiting'), member)
  redis.call('ZREM', lane, member)
  if redis.call('EXISTS', lane) == 0 then
    redis.call('HDEL', person(user), 'p:' .. priority)
    if at then
      remember_turn(priority, user, at)
    end
  elseif at then
    seat(priority, user, at)
  end
  count(user, 'waiting', -1)
end

-- A task of this user is no longer in work, which may let waiting ones back into line.
local function end_work(user)
  if redis.call('HDEL', person(user), 'parked') == 1 then
    for _, priority in ipairs(priorities_of(user)) do
      seat(priority, user, turn_of(priority, user, redis.call('HGET', at_level('clock', priority), 'now')))
      ring()
    end
  end
  count(user, 'working', -1)
end
