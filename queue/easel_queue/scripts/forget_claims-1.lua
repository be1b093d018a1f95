-- The bodies of these claims are deleted.
-- KEYS  1 claims:gone
-- ARGV  1 root  2 now  3.. names
-- Returns how many were known.
local forgotten = 0
for position = 3, #ARGV do
  forgotten = forgotten + redis.call('ZREM', KEYS[1], ARGV[position])
end
return forgotten
