-- Remove items for all groups, whatever their state. Unknown indexes are not an error. Removing the marker that
-- ended the stream opens the queue again.
-- KEYS  1 <q>:entries  2 <q>:rid  3 <q>:eos
-- ARGV  1 root  2 now  3 queue  4.. indexes
-- Returns how many were there.
-- @include base
-- @include entry
-- @include stream
local removed = 0
local marker = redis.call('GET', KEYS[3])
for position = 4, #ARGV do
  if redis.call('ZSCORE', KEYS[1], ARGV[position]) then
    removed = removed + drop(ARGV[3], ARGV[position])
  elseif ARGV[position] == marker then
    marker = nil
    removed = removed + 1
    reopen(ARGV[3])
  end
end
if removed > 0 then
  say({ q = ARGV[3] })
end
return removed
