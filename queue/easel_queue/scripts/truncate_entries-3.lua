-- Remove every item whose index is below the given one, pending ones too, at most `limit` in one call.
-- The marker that ended the stream goes like an item, after the last one: then the queue is open again.
-- KEYS  1 <q>:entries  2 <q>:rid  3 <q>:eos
-- ARGV  1 root  2 now  3 queue  4 index  5 limit
-- Returns how many items were removed; fewer than `limit` means that all are gone.
-- @include base
-- @include entry
-- @include stream
local members = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[4], 'LIMIT', 0, ARGV[5])
for _, member in ipairs(members) do
  drop(ARGV[3], member)
end
if #members > 0 then
  say({ q = ARGV[3] })
end
local marker = redis.call('GET', KEYS[3])
if marker and #members < tonumber(ARGV[5]) and tonumber(marker) < tonumber(ARGV[4]) then
  reopen(ARGV[3])
end
return #members
