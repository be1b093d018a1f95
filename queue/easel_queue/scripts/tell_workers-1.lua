-- Put one message into the inbox of every worker that lives.
-- KEYS  1 workers
-- ARGV  1 root  2 now  3 message  4 ms after which an unread message is gone
-- Returns how many workers were told.
-- @include base
local told = 0
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if redis.call('EXISTS', root .. ':worker:' .. id) == 1 then
    local inbox = root .. ':inbox:' .. id
    redis.call('RPUSH', inbox, ARGV[3])
    redis.call('PEXPIRE', inbox, ARGV[4])
    told = told + 1
  end
end
return told
