-- A watcher's socket is gone: its uncommitted items go back to the group and its uid is free at once.
-- The record stays for an hour, so that attributes can say that it left and a return finds its position.
-- KEYS  1 <q>:watchers  2 <q>:g:<gid>:c  3 <q>:groups
-- ARGV  1 root  2 now  3 queue  4 gid  5 uid  6 connection
-- Returns how many items were given back; 0 too when another connection owns the uid by now.
-- @include base
-- @include entry
-- @include stream
-- @include watcher
local seen = redis.call('HGET', KEYS[2], ARGV[5])
local record = seen and cjson.decode(seen)
if not record or record.connection ~= ARGV[6] then
  return 0
end
return leave(ARGV[3], ARGV[4], ARGV[5], record)
