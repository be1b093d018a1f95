-- A page of the waiting tasks, in order of priority and arrival (users who take turns may change that); those that a
-- worker has fetched ahead stand in front. All of them, some users', or all but some users'.
-- With users named, the first 10,000 tasks are looked at.
-- KEYS  1 in:waiting  2 in:leases
-- ARGV  1 root  2 now  3 offset  4 limit  5 'all', 'only' or 'except'  6.. those users
-- Returns {how many match, how many of them are fetched, {index, rid, meta, priority, at}, ...}.
-- @include base
local offset, limit, mode = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local named = {}
for position = 6, #ARGV do
  named[ARGV[position]] = true
end
local reply, found = { 0, 0 }, 0

local function show(member)
  local f = redis.call('HMGET', key('in', 'e:' .. member), 'rid', 'meta', 'prio', 'at')
  reply[#reply + 1] = { member, f[1], f[2], f[3], f[4] }
end

local function meant(user)
  return mode == 'all' or (named[user or ''] or false) == (mode == 'only')
end

local function look(member, wanted)
  local f = redis.call('HMGET', key('in', 'e:' .. member), 'state', 'user')
  if f[1] == wanted and meant(f[2]) then
    found = found + 1
    if found > offset and found <= offset + limit then
      show(member)
    end
  end
end

for _, member in ipairs(redis.call('ZRANGE', KEYS[2], 0, 999)) do
  look(member, 'reserved')
end
reply[2] = found
if mode == 'all' then
  local first, last = math.max(0, offset - found), offset + limit - found - 1
  if last >= first then
    for _, member in ipairs(redis.call('ZRANGE', KEYS[1], first, last)) do
      show(member)
    end
  end
  found = found + redis.call('ZCARD', KEYS[1])
else
  for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, 9999)) do
    look(member, 'waiting')
  end
end
reply[1] = found
return reply
