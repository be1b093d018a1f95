-- Accept a task: store it and let it wait for a worker.
-- Guarantees: stored before it answers, or nothing was stored. A request id seen before (waiting, running or
-- ended within the hour) answers its first index, so a put may be repeated after a broken connection.
-- KEYS  1 in:seq  2 in:entries  3 in:rid  4 in:groups  5 in:waiting  6 in:bell  7 sink:entries  8 in:eos
-- ARGV  1 root  2 now  3 request id  4 data  5 tags  6 meta  7 priority  8 reply  9 max length  10 sink max length
-- Returns the index, ENDED, QUEUE_FULL, or SINK_FULL (direct replies only: nobody would ever render them).
-- @include base
-- @include entry
-- @include task
local entries, rids, waiting, sink = KEYS[2], KEYS[3], KEYS[5], KEYS[7]
local rid, priority = ARGV[3], tonumber(ARGV[7])
local max_length, sink_max = tonumber(ARGV[9]), tonumber(ARGV[10])

local known = redis.call('HGET', rids, rid) or redis.call('HGET', root .. ':done:' .. rid, 'index')
if known then
  return tonumber(known)
end
if redis.call('EXISTS', KEYS[8]) == 1 then
  return ENDED
end
if max_length > 0 and redis.call('ZCARD', entries) >= max_length then
  return QUEUE_FULL
end
if ARGV[8] == 'direct' and sink_max > 0 and redis.call('ZCARD', sink) >= sink_max then
  return SINK_FULL
end

local index = redis.call('INCR', KEYS[1])
store_entry('in', index, rid, priority, {
  'data', ARGV[4], 'tags', ARGV[5], 'meta', ARGV[6], 'reply', ARGV[8], 'state', 'waiting',
})
redis.call('ZADD', waiting, order(priority, index), whole(index))
ring()
say({ q = 'in', r = rid, s = 'waiting' })
return index
