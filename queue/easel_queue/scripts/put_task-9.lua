-- Accept a task: store it and let it wait for a worker.
-- Guarantees: stored before it answers, or nothing was stored. A request id seen before (waiting, running or
-- ended within the hour) answers its first index, so a put may be repeated after a broken connection. An idempotency
-- key seen before answers the first index and request id: of concurrent puts under one key one is stored. Both do so
-- after the stream's end, too.
-- A full queue refuses, or (evict) ends the oldest waiting tasks of the lowest priority with the result given here.
-- Nothing is evicted unless that makes enough room, nor while the sink has no place for the results.
-- KEYS  1 in:seq  2 in:entries  3 in:rid  4 in:groups  5 in:waiting  6 in:bell  7 sink:entries  8 in:eos
--       9 the idempotency key's
-- ARGV  1 root  2 now  3 request id  4 data  5 tags  6 meta  7 priority  8 reply  9 max length  10 sink max length
--       11 fingerprint of the request ('': no key)  12 max bytes  13 sink max bytes  14 1 = the sink drops its oldest
--       15 1 = evict  16 data of evicted tasks' results  17 extra tags of those (JSON)  18 claim (then data is '')
--       19 user  20 the user's share in thousandths  21 what it has in common with others, one name a line; under the
--       first it can be rendered in one batch  22 tasks of one user that may wait  23 tasks that one user may put in a
--       minute (both 0: no limit)
-- Returns the index; {index, request id, reply} for a known key; or ENDED, QUEUE_FULL, SINK_FULL (direct replies only:
-- nobody would ever render them), TOO_LARGE (for an empty queue too), KEY_REUSED (for another request), ID_TAKEN (a
-- new key, but the request id is another task's), USER_FULL, {TOO_FAST, ms after which it would be accepted},
-- CLAIM_WANTED (all is well: bring the body, then put it), CLAIM_LOST.
-- @include base
-- @include entry
-- @include task
-- @include room
-- @include evict
-- @include once
-- @include user
-- @include options
local rids, user = KEYS[3], ARGV[19]
local rid, priority, print = ARGV[3], tonumber(ARGV[7]), ARGV[11]
local meta = with_options(ARGV[6])
local max_length, max_bytes = tonumber(ARGV[9]), tonumber(ARGV[12])

local before = put_before(KEYS[9], print)
if before then
  return before
end
local known = redis.call('HGET', rids, rid) or redis.call('HGET', root .. ':done:' .. rid, 'index')
if known then
  return print == '' and tonumber(known) or ID_TAKEN
end
if redis.call('EXISTS', KEYS[8]) == 1 then
  return ENDED
end

local size = #ARGV[4] + #ARGV[5] + #meta + claim_size(ARGV[18])
if max_bytes > 0 and size > max_bytes then
  return TOO_LARGE
end
local too_much = beyond(user, tonumber(ARGV[22]), tonumber(ARGV[23]))
if too_much then
  return too_much
end
local full = not fits_into('in', size, max_length, max_bytes)
local evicted = full and ARGV[15] == '1' and victims(priority, size, max_length, max_bytes)
if full and not evicted then
  return QUEUE_FULL
end
if (ARGV[8] == 'direct' or full) and not has_room('sink', 1, tonumber(ARGV[10]), tonumber(ARGV[13]), ARGV[14] == '1') then
  return full and QUEUE_FULL or SINK_FULL
end
local claim = ARGV[18]
local refused = claim_first(claim)
if refused then
  return refused
end
evict_tasks(evicted or {}, ARGV[16], ARGV[17])

local index = redis.call('INCR', KEYS[1])
store_entry('in', index, rid, priority, {
  'data', ARGV[4], 'tags', ARGV[5], 'meta', meta, 'reply', ARGV[8], 'state', 'waiting', 'user', user, 'kin', ARGV[21],
}, claim)
if print ~= '' then
  remember_put(KEYS[9], print, 'in', index, rid, ARGV[8])
end
set_share(user, tonumber(ARGV[20]))
enter_line(whole(index), ARGV[7], user, ARGV[21])
if ARGV[23] ~= '0' then
  count_put(user, index)
end
ring()
redis.call('PUBLISH', root .. ':arrivals', cjson.encode({ q = 'in', r = rid, s = 'waiting' }))
return index
