-- Let workers take no more tasks, or take them again. What they have goes on.
-- KEYS  1 in:paused  2 in:bell
-- ARGV  1 root  2 now  3 '1' pause, '0' resume, '' only look
-- Returns 1 while it is paused, else 0.
-- @include base
-- @include line
if ARGV[3] == '1' then
  redis.call('SET', KEYS[1], 1)
elseif ARGV[3] == '0' and redis.call('DEL', KEYS[1]) == 1 then
  ring()
end
return redis.call('EXISTS', KEYS[1])
