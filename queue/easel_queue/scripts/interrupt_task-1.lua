-- Ask the worker that runs a task to end it early and keep what is done ('interrupt'), or to cut its current batch
-- short ('skip'). It is told through its inbox and, should that be lost, by the answer to its next renewal.
-- Guarantees: this delivery is meant and no other. The message names its lease; what is noted with the task is
-- forgotten when the delivery ends. A task that has not begun stays as it is.
-- KEYS  1 in:rid
-- ARGV  1 root  2 now  3 request id  4 'interrupt' or 'skip'
-- Returns 'asked', 'waiting' or 'unknown'.
-- @include base
local member = redis.call('HGET', KEYS[1], ARGV[3])
if not member then
  return 'unknown'
end
local name = key('in', 'e:' .. member)
local f = redis.call('HMGET', name, 'state', 'worker', 'token')
if f[1] ~= 'running' then
  return 'waiting'
end
local message = 'interrupt ' .. f[3]
if ARGV[4] == 'skip' then
  message = 'skip ' .. f[3] .. ' ' .. whole(redis.call('HINCRBY', name, 'skips', 1))
else
  redis.call('HSET', name, 'interrupt', 1)
end
local inbox = root .. ':inbox:' .. f[2]
redis.call('RPUSH', inbox, message)
redis.call('PEXPIRE', inbox, 60000)
return 'asked'
