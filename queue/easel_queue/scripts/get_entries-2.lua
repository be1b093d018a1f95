-- Read items in order of their index, optionally removing them.
-- At most 1000 items are looked at in one call, and no more are added once their data reaches the limit; the caller
-- goes on from the returned index.
-- Removing leaves leased tasks of the input queue alone: a worker has them. With an item among them whose body is a
-- claim nothing is removed: if fetching that failed, they would be lost. The caller comes back for each of them.
-- KEYS  1 <q>:entries  2 <q>:rid
-- ARGV  1 root  2 now  3 queue  4 start (inclusive; -1: the newest only)  5 limit  6 request id or ''
--       7 tag filter (JSON)  8 1 to remove  9 max bytes of data (one item goes beyond; claims count with the size of
--       what they stand for)  10 1 = only the item at start, whose body the caller has by now  11 1 = leave the data out
-- Returns {next index or 0, bytes, index, rid, tags, data, prio, at, meta, errors, claim, index, ...}.
-- @include base
-- @include entry
-- @include stream_filter
-- @include stream
local queue, start, limit = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local wanted, remove = filter_of(ARGV[7]), ARGV[8] == '1'
local max_bytes, fetched, without_data = tonumber(ARGV[9]), ARGV[10] == '1', ARGV[11] == '1'
local LOOKED_AT = 1000

local members
if fetched then
  members = redis.call('ZSCORE', KEYS[1], ARGV[4]) and { ARGV[4] } or {}
elseif ARGV[6] ~= '' then
  local member = redis.call('HGET', KEYS[2], ARGV[6])
  members = (member and tonumber(member) >= start) and { member } or {}
elseif start == -1 then
  members = redis.call('ZRANGE', KEYS[1], -1, -1)
else
  members = redis.call('ZRANGEBYSCORE', KEYS[1], whole(start), '+inf', 'LIMIT', 0, LOOKED_AT)
end

local reply, found, last, bytes, claims = { 0, 0 }, 0, nil, 0, 0
for _, member in ipairs(members) do
  if found == limit then
    break
  elseif bytes >= max_bytes then
    reply[1] = tonumber(last) + 1
    break
  end
  last = member
  local f = redis.call('HMGET', key(queue, 'e:' .. member), 'rid', 'tags', without_data and 'size' or 'data', 'prio', 'at',
    'meta', 'errors', 'claim', 'state')
  local leased = f[9] and f[9] ~= 'waiting'
  if f[1] and matches(f[2], wanted) and not (remove and leased) then
    found = found + 1
    reply[#reply + 1] = member
    if without_data then
      bytes, f[3] = bytes + tonumber(f[3] or 0), ''
    else
      bytes = bytes + #f[3] + claim_size(f[8])
    end
    claims = claims + (f[8] and 1 or 0)
    for field = 1, 8 do
      reply[#reply + 1] = f[field] or ''
    end
  end
end
reply[2] = bytes
if last and #members == LOOKED_AT then
  reply[1] = tonumber(last) + 1
end
if remove and (fetched or claims == 0) then
  for position = 3, #reply, 9 do
    drop(queue, reply[position])
  end
  if found > 0 then
    say({ q = queue })
  end
end
return reply
