-- A client's own put into a queue that is not the input (the sink, the rear).
-- Guarantees: stored before it answers, or nothing was stored; a known request id answers its first index.
-- KEYS  1 <q>:seq  2 <q>:entries  3 <q>:rid  4 <q>:prio  5 <q>:groups  6 <q>:eos
-- ARGV  1 root  2 now  3 queue  4 request id  5 data  6 tags  7 priority  8 max length
-- Returns the index, ENDED, or QUEUE_FULL.
-- @include base
-- @include entry
local known = redis.call('HGET', KEYS[3], ARGV[4])
if known then
  return tonumber(known)
end
if redis.call('EXISTS', KEYS[6]) == 1 then
  return ENDED
end
local max_length = tonumber(ARGV[8])
if max_length > 0 and redis.call('ZCARD', KEYS[2]) >= max_length then
  return QUEUE_FULL
end
local index = redis.call('INCR', KEYS[1])
store_entry(ARGV[3], index, ARGV[4], tonumber(ARGV[7]), { 'data', ARGV[5], 'tags', ARGV[6], 'meta', '{}' })
say({ q = ARGV[3] })
return index
