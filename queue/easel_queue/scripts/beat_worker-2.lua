-- A worker says that it lives and what it does.
-- KEYS  1 workers  2 worker:<id>
-- ARGV  1 root  2 now  3 worker  4 info (JSON)  5 ttl ms
-- @include base
redis.call('ZADD', KEYS[1], whole(now), ARGV[3])
redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[5])
return 1
