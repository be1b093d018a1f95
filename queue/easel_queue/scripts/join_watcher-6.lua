-- A watcher begins (or comes back). Creates its group at first sight, with every stored item to do.
-- Guarantees: one live connection per group and uid. Taking over a uid whose connection is gone gives its
-- uncommitted items back first, so that they are delivered again. The start position is fixed at the first
-- join of a uid, because clients reconnect with the same start index.
-- KEYS  1 <q>:groups  2 <q>:watchers  3 <q>:entries  4 <q>:prio  5 <q>:g:<gid>:todo  6 <q>:g:<gid>:c
-- ARGV  1 root  2 now  3 queue  4 gid  5 uid  6 connection  7 window  8 start (-1: only what comes from now on)
--       9 1 = index only  10 1 = auto commit  11 tag filter (JSON)  12 ttl ms
-- Returns 1, or DUPLICATE.
-- @include base
-- @include entry
-- @include stream
local queue, gid, uid = ARGV[3], ARGV[4], ARGV[5]
local name = gid .. ' ' .. uid
local seen = redis.call('HGET', KEYS[6], uid)
local record = seen and cjson.decode(seen)
if record and record.connection ~= '' and record.connection ~= ARGV[6] then
  if tonumber(redis.call('ZSCORE', KEYS[2], name) or '0') > now then
    return DUPLICATE
  end
  give_back(queue, gid, uid)
end

if not redis.call('ZSCORE', KEYS[1], gid) then
  redis.call('ZDIFFSTORE', KEYS[5], 2, KEYS[3], KEYS[4])
  redis.call('ZUNIONSTORE', KEYS[5], 2, KEYS[5], KEYS[4])
end
redis.call('ZADD', KEYS[1], whole(now), gid)

local start = tonumber(ARGV[8])
if record and record.asked == start then
  start = record.start
elseif start == -1 then
  start = tonumber(redis.call('ZRANGE', KEYS[3], -1, -1)[1] or '0') + 1
end
redis.call('HSET', KEYS[6], uid, cjson.encode({
  connection = ARGV[6], window = tonumber(ARGV[7]), asked = tonumber(ARGV[8]), start = start,
  index_only = ARGV[9] == '1', auto_commit = ARGV[10] == '1', tags = ARGV[11], ttl = tonumber(ARGV[12]),
}))
redis.call('ZADD', KEYS[2], whole(now + tonumber(ARGV[12])), name)
return 1
