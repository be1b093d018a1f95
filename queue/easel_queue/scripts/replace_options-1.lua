-- Change the service's options, unless somebody else has changed them meanwhile.
-- Guarantees: all or nothing; a task that is put later has the new ones, one put before keeps the old ones.
-- KEYS  1 options
-- ARGV  1 root  2 now  3 the options that the caller has read, as they were stored  4 the new ones ('': none is set)
-- Returns 1, or 0: they are others by now, nothing has changed.
-- @include base
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[3] then
  return 0
end
if ARGV[4] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[4])
end
say({ q = 'options' })
return 1
