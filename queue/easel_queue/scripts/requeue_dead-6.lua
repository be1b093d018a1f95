-- Put one dead letter back into the input queue, under its index and request id.
-- Guarantees: it is in one of the two queues at any time. Repeating the call while the task lives answers the same.
-- KEYS  1 rear:entries  2 rear:rid  3 in:entries  4 in:rid  5 in:waiting  6 in:eos
-- ARGV  1 root  2 now  3 index or request id  4 max length  5 max bytes
-- Returns {index, request id}, nil when there is no such letter, ENDED, QUEUE_FULL, or ID_TAKEN.
-- @include base
-- @include entry
-- @include task
-- @include room
-- @include dead
local member = letter_of(ARGV[3])
if member then
  local rid = redis.call('HGET', key('rear', 'e:' .. member), 'rid')
  local index = revive(member, tonumber(ARGV[4]), tonumber(ARGV[5]))
  if index < 0 then
    return index
  end
  say({ q = 'rear' })
  return { index, rid }
end
member = redis.call('ZSCORE', KEYS[3], ARGV[3]) and ARGV[3] or redis.call('HGET', KEYS[4], ARGV[3])
local f = member and redis.call('HMGET', key('in', 'e:' .. member), 'rid', 'requeued')
if f and f[2] then
  return { tonumber(member), f[1] }
end
return nil
