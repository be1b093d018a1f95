-- Leave a gap in every counter after a replica was promoted, which may lack the newest numbers its master gave out.
-- Guarantees: whoever has run this on a promoted server before anything else never gets an index or a lease token
-- that was given out before the failover, so what is named by one (a commit, a delete, a finish) means the same thing.
-- Runs once for each promotion, however many clients ask.
-- KEYS  1 promoted  2 in:seq  3 sink:seq  4 in:token
-- ARGV  1 root  2 now  3 id of the promotion  4 width of the gap
-- Returns 1 if the counters moved, else 0.
-- @include base
if redis.call('GET', KEYS[1]) == ARGV[3] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[3])
for counter = 2, 4 do
  redis.call('INCRBY', KEYS[counter], ARGV[4])
end
return 1
