-- Store a running task's newest progress and publish it to whoever looks at that task.
-- KEYS  1 in:leases
-- ARGV  1 root  2 now  3 index  4 token  5 request id  6 snapshot (JSON)
-- Returns {lease until, what its clients wish (see wishes)}, or LEASE_LOST.
-- @include base
-- @include entry
-- @include task
local member = ARGV[3]
if not holds(member, ARGV[4]) then
  return LEASE_LOST
end
local name = key('in', 'e:' .. member)
redis.call('HSET', name, 'progress', ARGV[6])
-- The snapshot is JSON already: it is put into the message as it is.
redis.call('PUBLISH', root .. ':events',
  '{"r":' .. cjson.encode(ARGV[5]) .. ',"s":"progress","p":' .. ARGV[6] .. '}')
return { redis.call('ZSCORE', KEYS[1], member), wishes(member) }
