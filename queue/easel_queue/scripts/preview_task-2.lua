-- Keep the newest preview of a running task for a short while, and tell whoever looks at that task.
-- Guarantees: only the lease's holder can do it; one preview is kept per task.
-- KEYS  1 in:leases  2 preview:<rid>
-- ARGV  1 root  2 now  3 index  4 token  5 request id  6 media type  7 data  8 ms to keep it
-- Returns the preview's number, which grows, or LEASE_LOST.
-- @include base
-- @include entry
-- @include task
if not holds(ARGV[3], ARGV[4]) then
  return LEASE_LOST
end
-- The time is part of the number: a count would begin again with every delivery, and after the last one expired.
local number = redis.call('HGET', KEYS[2], 'number')
number = math.max(tonumber(number or 0) + 1, now)
redis.call('HSET', KEYS[2], 'number', whole(number), 'type', ARGV[6], 'data', ARGV[7])
redis.call('PEXPIRE', KEYS[2], ARGV[8])
say({ r = ARGV[5], s = 'preview' })
return number
