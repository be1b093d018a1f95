-- Read items in order of their index, optionally removing them.
-- At most 1000 items are looked at in one call, and no more are added once their data reaches the limit; the caller
-- goes on from the returned index.
-- Removing leaves leased tasks of the input queue alone: a worker has them.
-- KEYS  1 <q>:entries  2 <q>:rid
-- ARGV  1 root  2 now  3 queue  4 start (inclusive; -1: the newest only)  5 limit  6 request id or ''
--       7 tag filter (JSON)  8 1 to remove  9 max bytes of data (one item goes beyond)  10 1 = leave the data out
-- Returns {next index or 0, index, rid, tags, data, prio, at, meta, errors, index, ...}.
-- @include base
-- @include entry
-- @include stream_filter
-- @include stream
local queue, start, limit = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local wanted, remove = filter_of(ARGV[7]), ARGV[8] == '1'
local max_bytes, without_data = tonumber(ARGV[9]), ARGV[10] == '1'
local LOOKED_AT = 1000

local members
if ARGV[6] ~= '' then
  local member = redis.call('HGET', KEYS[2], ARGV[6])
  members = (member and tonumber(member) >= start) and { member } or {}
elseif start == -1 then
  members = redis.call('ZRANGE', KEYS[1], -1, -1)
else
  members = redis.call('ZRANGEBYSCORE', KEYS[1], whole(start), '+inf', 'LIMIT', 0, LOOKED_AT)
end

local reply, found, bytes, last = { 0 }, 0, 0, nil
for _, member in ipairs(members) do
  if found == limit or bytes >= max_bytes then
    break
  end
  last = member
  local f = redis.call('HMGET', key(queue, 'e:' .. member), 'rid', 'tags',
    without_data and 'no data' or 'data', 'prio', 'at', 'meta', 'errors', 'state')
  f[3] = f[3] or ''
  local leased = f[8] and f[8] ~= 'waiting'
  if f[1] and matches(f[2], wanted) and not (remove and leased) then
    found = found + 1
    bytes = bytes + #f[3]
    reply[#reply + 1] = member
    f[7] = f[7] or ''
    for field = 1, 7 do
      reply[#reply + 1] = f[field]
    end
  end
end
if last and (#members == LOOKED_AT or bytes >= max_bytes) then
  reply[1] = tonumber(last) + 1
end
if remove then
  for position = 2, #reply, 8 do
    drop(queue, reply[position])
  end
  if found > 0 then
    say({ q = queue })
  end
end
return reply
