-- Dead letters in order of their index, without their bodies.
-- At most 1000 are looked at in one call; the caller goes on from the returned index.
-- KEYS  1 rear:entries
-- ARGV  1 root  2 now  3 index to begin at (inclusive; 0: the end where the order begins)  4 limit
--       5 1 = newest first  6 tag filter (JSON)
-- Returns {next index or 0, index, rid, tags, priority, deliveries, died at, put at, errors, size, index, ...}.
-- @include base
-- @include stream_filter
local start, limit, newest, wanted = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5] == '1', filter_of(ARGV[6])
local look = wanted and 1000 or limit + 1
local members
if newest then
  members = redis.call('ZREVRANGEBYSCORE', KEYS[1], start > 0 and whole(start) or '+inf', '-inf', 'LIMIT', 0, look + 1)
else
  members = redis.call('ZRANGEBYSCORE', KEYS[1], whole(start), '+inf', 'LIMIT', 0, look + 1)
end
local reply, found = { 0 }, 0
for position, member in ipairs(members) do
  if found == limit or position > look then
    reply[1] = tonumber(member)
    break
  end
  local f = redis.call('HMGET', key('rear', 'e:' .. member),
    'rid', 'tags', 'prio', 'dlv', 'at', 'put_at', 'errors', 'size')
  if matches(f[2], wanted) then
    found = found + 1
    reply[#reply + 1] = member
    for field = 1, 8 do
      reply[#reply + 1] = f[field] or ''
    end
  end
end
return reply
