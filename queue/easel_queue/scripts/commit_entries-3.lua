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
local committed = 0
for position = 5, #ARGV do
  local member = ARGV[position]
  if redis.call('ZSCORE', KEYS[1], member) then
    committed = committed + 1
    forget_in_group(queue, gid, member)
    local state = queue == 'in' and redis.call('HGET', key('in', 'e:' .. member), 'state')
    if (not state or state == 'waiting') and not held(queue, member) then
      drop(queue, member)
    end
  end
end
-- Watchers are woken only if the room in a window, or the last commit before the end, can mean anything to them.
local waits = redis.call('ZCARD', key(queue, 'g:' .. gid .. ':todo')) > 0 or redis.call('EXISTS', key(queue, 'eos')) == 1
if committed > 0 and waits then
  say({ q = queue })
end
return committed
