-- Shared by every script. ARGV[1] is the service's key root, ARGV[2] the time in ms (0: the server's own clock,
-- the normal case; tests inject theirs). KEYS declares what a script touches, for Redis Cluster and ACLs; the
-- helpers build the same names from the root, as they do the per-item names nobody can know beforehand.
local root = ARGV[1]
local now = tonumber(ARGV[2])
if now == 0 then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local LEASE_LOST, QUEUE_FULL, SINK_FULL, CANCELLED, DUPLICATE, FENCED, ENDED = -1, -2, -3, -4, -5, -6, -7
local KEY_REUSED, ID_TAKEN, TOO_LARGE = -10, -11, -12
local CLAIM_WANTED, CLAIM_LOST, USER_FULL, TOO_FAST = -13, -14, -15, -16

local function whole(number)
  return string.format('%.0f', number)
end

local function key(queue, name)
  return root .. ':' .. queue .. ':' .. name
end

local function say(event)
  redis.call('PUBLISH', root .. ':events', cjson.encode(event))
end
