-- Lease the next waiting task to a worker. Not a delivery yet: that is start.
-- Guarantees: the smallest order is taken, so no lower priority goes before a higher one; one task, one lease.
-- While the sink is at its limit nothing is handed out (back-pressure: results must have a place to go), unless the
-- sink drops its oldest results.
-- KEYS  1 in:waiting  2 in:leases  3 in:token  4 in:bell  5 sink:entries
-- ARGV  1 root  2 now  3 worker  4 lease ms  5 sink max length  6 sink max bytes  7 1 = the sink drops its oldest
-- Returns the task (see describe), or nil when there is none. An empty queue also silences the bell, so
-- that a worker which then waits on it is woken by a new task and by nothing older.
-- @include base
-- @include entry
-- @include task
-- @include room
local lease_ms = tonumber(ARGV[4])

local evict = ARGV[7] == '1' and redis.call('ZCARD', KEYS[1]) > 0
if not has_room('sink', 1, tonumber(ARGV[5]), tonumber(ARGV[6]), evict) then
  return nil
end
local head = redis.call('ZPOPMIN', KEYS[1])
if #head == 0 then
  redis.call('DEL', KEYS[4])
  return nil
end
local token = lease(head[1], 'reserved', ARGV[3], lease_ms)
return describe(head[1], token, now + lease_ms)
