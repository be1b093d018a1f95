-- A client's own put into a queue that is not the input (the sink, the rear).
-- Guarantees: stored before it answers, or nothing was stored; a known request id or idempotency key answers its
-- first index, also after the stream's end. A full queue refuses, or (evict) drops its oldest items.
-- KEYS  1 <q>:seq  2 <q>:entries  3 <q>:rid  4 <q>:prio  5 <q>:groups  6 <q>:eos  7 the idempotency key's
-- ARGV  1 root  2 now  3 queue  4 request id  5 data  6 tags  7 priority  8 max length  9 fingerprint ('': no key)
--       10 max bytes  11 1 = evict  12 claim (then data is '')
-- Returns the index; {index, request id, reply} for a known key; or ENDED, QUEUE_FULL, TOO_LARGE,
-- KEY_REUSED, ID_TAKEN, CLAIM_WANTED (all is well: bring the body, then put it), CLAIM_LOST.
-- @include base
-- @include entry
-- @include room
-- @include once
local queue, rid, print, max_bytes = ARGV[3], ARGV[4], ARGV[9], tonumber(ARGV[10])
local before = put_before(KEYS[7], print)
if before then
  return before
end
local known = redis.call('HGET', KEYS[3], rid)
if known then
  return print == '' and tonumber(known) or ID_TAKEN
end
if redis.call('EXISTS', KEYS[6]) == 1 then
  return ENDED
end
local size = #ARGV[5] + #ARGV[6] + 2 + claim_size(ARGV[12]) -- the meta is {}
if max_bytes > 0 and size > max_bytes then
  return TOO_LARGE
end
if not has_room(queue, size, tonumber(ARGV[8]), max_bytes, ARGV[11] == '1') then
  return QUEUE_FULL
end
local refused = claim_first(ARGV[12])
if refused then
  return refused
end
local index = redis.call('INCR', KEYS[1])
store_entry(queue, index, rid, tonumber(ARGV[7]), { 'data', ARGV[5], 'tags', ARGV[6], 'meta', '{}' }, ARGV[12])
if print ~= '' then
  remember_put(KEYS[7], print, queue, index, rid, '')
end
say({ q = queue, n = 1 })
return index
