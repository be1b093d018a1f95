-- Change one field of a record.
-- KEYS  1 record:<rid>
-- ARGV  1 root  2 now  3 field  4 value
-- Returns 1, or 0 when there is no such record.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[3], ARGV[4])
return 1
