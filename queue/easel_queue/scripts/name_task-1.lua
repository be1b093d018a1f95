-- Remember by which name a sender knows a task. Of tasks with the same name the last one has it.
-- KEYS  1 alias:<user>:<name>
-- ARGV  1 root  2 now  3 request id  4 ms to remember it
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
return 1
