-- Put the dead letters that have all the given tags back into the input queue, oldest first, until it is full.
-- At most 100 are looked at in one call; the caller goes on from the returned index. A letter whose request id a newer
-- task has stays where it is.
-- KEYS  1 rear:entries  2 rear:rid  3 in:entries  4 in:rid  5 in:waiting  6 in:eos
-- ARGV  1 root  2 now  3 start (inclusive)  4 limit  5 tag filter (JSON)  6 max length  7 max bytes
-- Returns {number requeued, next index or 0, 1 if the input queue is full}, or ENDED.
-- @include base
-- @include entry
-- @include task
-- @include room
-- @include dead
-- @include stream_filter
if redis.call('EXISTS', KEYS[6]) == 1 then
  return ENDED
end
local LOOKED_AT = 100 -- bodies may be megabytes, and each is copied
local limit, wanted = tonumber(ARGV[4]), filter_of(ARGV[5])
local moved, following, full = 0, 0, 0
local members = redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[3], '+inf', 'LIMIT', 0, LOOKED_AT + 1)
for position, member in ipairs(members) do
  if position > LOOKED_AT or moved == limit or full == 1 then
    following = tonumber(member)
    break
  end
  if matches(redis.call('HGET', key('rear', 'e:' .. member), 'tags'), wanted) then
    local index = revive(member, tonumber(ARGV[6]), tonumber(ARGV[7]))
    if index == QUEUE_FULL then
      full, following = 1, tonumber(member)
      break
    end
    moved = moved + (index > 0 and 1 or 0)
  end
end
if moved > 0 then
  say({ q = 'rear' })
end
return { moved, following, full }
