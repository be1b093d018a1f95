-- KEYS  1 <q>:entries
-- ARGV  1 root  2 now
-- Returns how many items are stored.
return redis.call('ZCARD', KEYS[1])
