-- A group is done with these items. An item that no group still has to commit is removed.
-- Guarantees: a commit is final; committing twice, or what is not there, changes nothing. A task that a worker
-- has leased is the worker's to end and stays.
-- KEYS  1 <q>:entries  2 <q>:rid  3 <q>:groups
-- ARGV  1 root  2 now  3 queue  4 gid  5.. indexes
-- Returns how many items were stored.
-- @include base
-- @include entry
-- @include stream
local queue, gid = ARGV[3], ARGV[4]
local committed, uids, seen, others = 0, {}, {}, {}
for _, other in ipairs(groups_of(queue)) do
  if other ~= gid then
    others[#others + 1] = other
  end
end
for position = 5, #ARGV do
  local member = ARGV[position]
  if redis.call('ZSCORE', KEYS[1], member) then
    committed = committed + 1
    local uid = forget_in_group(queue, gid, member)
    if uid and not seen[uid] then
      seen[uid] = true
      uids[#uids + 1] = uid
    end
    local state = queue == 'in' and redis.call('HGET', key('in', 'e:' .. member), 'state')
    if (not state or state == 'waiting') and not held(queue, member, others) then
      drop(queue, member, {}) -- no group knows of it
    end
  end
end
if committed > 0 then
  if redis.call('EXISTS', key(queue, 'eos')) == 1 then
    say({ q = queue }) -- it may have been the last one, which finishes every watcher of the group
  else
    say({ q = queue, g = gid, w = uids })
  end
end
return committed
