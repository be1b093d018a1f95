-- Remove items for all groups, whatever their state. Unknown indexes are not an error.
-- KEYS  1 <q>:entries  2 <q>:rid
-- ARGV  1 root  2 now  3 queue  4.. indexes
-- Returns how many were there.
-- @include base
-- @include entry
-- @include stream
local removed = 0
for position = 4, #ARGV do
  if redis.call('ZSCORE', KEYS[1], ARGV[position]) then
    removed = removed + drop(ARGV[3], ARGV[position])
  end
end
if removed > 0 then
  say({ q = ARGV[3] })
end
return removed
