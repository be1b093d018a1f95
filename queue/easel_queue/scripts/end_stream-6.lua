-- End a queue's stream: no more puts. The marker takes an index of its own; removing it opens the queue again.
-- Results of tasks and dead letters are stored all the same: what was accepted is never lost.
-- A forced end also ends every watch at once, and drops what no group has been given, at most `limit` items in
-- one call. What a worker has leased, what a watcher has not committed and what a group set aside stays.
-- Guarantees: ending an ended stream again keeps its marker.
-- KEYS  1 <q>:eos  2 <q>:seq  3 <q>:entries  4 <q>:rid  5 <q>:watchers  6 <q>:groups
-- ARGV  1 root  2 now  3 queue  4 1 to force  5 index to go on from (0: the first call)  6 limit
-- Returns {index of the marker, index to go on from or 0}.
-- @include base
-- @include entry
-- @include stream
local queue, from = ARGV[3], tonumber(ARGV[5])
local marker = redis.call('GET', KEYS[1])
if not marker and from == 0 then
  marker = whole(redis.call('INCR', KEYS[2]))
  redis.call('SET', KEYS[1], marker)
end
if not marker or ARGV[4] ~= '1' then
  say({ q = queue })
  return { tonumber(marker or 0), 0 } -- nothing to drop, or opened again meanwhile
end

if from == 0 then
  for _, name in ipairs(redis.call('ZRANGE', KEYS[5], 0, -1)) do
    local gid, uid = string.match(name, '^(%S+) (%S+)$')
    local consumers = key(queue, 'g:' .. gid .. ':c')
    local record = redis.call('HGET', consumers, uid)
    record = record and cjson.decode(record)
    if record and record.connection ~= '' then
      record.ended = true
      redis.call('HSET', consumers, uid, cjson.encode(record))
    end
  end
end

local groups = redis.call('ZRANGE', KEYS[6], 0, -1)
local members = redis.call('ZRANGEBYSCORE', KEYS[3], whole(from), '+inf', 'LIMIT', 0, ARGV[6])
for _, member in ipairs(members) do
  local state = queue == 'in' and redis.call('HGET', key('in', 'e:' .. member), 'state')
  local keep = state and state ~= 'waiting'
  for _, gid in ipairs(groups) do
    local group = key(queue, 'g:' .. gid)
    redis.call('ZREM', group .. ':todo', member)
    keep = keep or redis.call('HEXISTS', group .. ':pend', member) == 1
      or redis.call('ZSCORE', group .. ':aside', member)
  end
  if not keep then
    drop(queue, member)
  end
end
say({ q = queue })
if #members < tonumber(ARGV[6]) then
  return { tonumber(marker), 0 }
end
return { tonumber(marker), tonumber(members[#members]) + 1 }
