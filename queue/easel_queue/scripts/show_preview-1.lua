-- A task's newest preview, unless the caller has it.
-- KEYS  1 preview:<rid>
-- ARGV  1 root  2 now  3 number of the one that the caller has
-- Returns {number}, {number, media type, data}, or nil.
local number = redis.call('HGET', KEYS[1], 'number')
if not number then
  return nil
end
if number == ARGV[3] then
  return { number }
end
local f = redis.call('HMGET', KEYS[1], 'type', 'data')
return { number, f[1], f[2] }
