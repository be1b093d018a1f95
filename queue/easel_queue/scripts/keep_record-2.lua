-- Keep what is asked of a task that is about to be put. Repeating it changes nothing.
-- KEYS  1 record:<rid>  2 records
-- ARGV  1 root  2 now  3 request id  4 user  5 name  6 kind  7 params  8 1 = params lack what was too large  9 ms to keep
-- @include base
redis.call('HSET', KEYS[1], 'user', ARGV[4], 'name', ARGV[5], 'kind', ARGV[6], 'params', ARGV[7], 'cut', ARGV[8], 'at',
  whole(now))
redis.call('PEXPIRE', KEYS[1], ARGV[9])
redis.call('ZADD', KEYS[2], whole(now), ARGV[3])
return 1
