-- Lease the next waiting task to a worker, and with it others that it can render in the same batch. Not a delivery
-- yet, that is start; but a worker that has nothing else to do can start them in the same step.
-- Guarantees: no lower priority goes before a higher one; one user's tasks go in order, users in turn by their shares
-- (see line); a task is bypassed for kin at most `bypass` times; one task, one lease, for each of a batch too.
-- While the sink is at its limit nothing is handed out (back-pressure: results must have a place to go), unless the
-- sink drops its oldest results; nor while the line is paused.
-- KEYS  1 in:waiting  2 in:leases  3 in:token  4 in:bell  5 sink:entries
-- ARGV  1 root  2 now  3 worker  4 lease ms  5 sink max length  6 sink max bytes  7 1 = the sink drops its oldest
--       8 tasks at most  9 tasks of one user that may be in work (0: no limit)  10 bypass  11 1 = start them
--       12.. what the worker has at hand, best first
-- Returns the tasks (see describe); none when nothing may be served. That also silences the bell, so that a worker
-- which then waits on it is woken by a new task and by nothing older.
-- @include base
-- @include entry
-- @include task
-- @include room
-- @include turn
local lease_ms, limit, max_working, bypass = tonumber(ARGV[4]), tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local begun, at_hand = ARGV[11] == '1', { unpack(ARGV, 12) }
local tasks, batch, batch_priority = {}, nil, nil

-- The next lane of a user who may have one more task in work.
local function next_lane()
  while true do
    local priority = redis.call('ZRANGE', key('in', 'levels'), 0, 0)[1]
    if not priority or (batch and priority ~= batch_priority) then
      return nil
    end
    local place, at, out_of_turn = choose(priority, batch and { batch } or at_hand, bypass, batch)
    local user = place and string.sub(place, 17)
    if not place or max_working == 0 or tonumber(redis.call('HGET', person(user), 'working') or 0) < max_working then
      return priority, place, at, out_of_turn
    end
    park(user) -- the limit was lowered
  end
end

local evict = ARGV[7] == '1' and redis.call('ZCARD', KEYS[1]) > 0
if redis.call('EXISTS', key('in', 'paused')) == 0 and has_room('sink', 1, tonumber(ARGV[5]), tonumber(ARGV[6]), evict) then
  while #tasks < limit do
    local priority, place, at, out_of_turn = next_lane()
    if not place then
      break
    end
    local member = serve(priority, place, at, out_of_turn, max_working)
    local token = lease(member, begun and 'running' or 'reserved', ARGV[3], lease_ms)
    local task = describe(member, token, now + lease_ms)
    if begun then
      task[10] = count_delivery(member, task[4])
    end
    tasks[#tasks + 1] = task
    if not batch and limit > 1 then
      batch, batch_priority = string.match(redis.call('HGET', key('in', 'e:' .. member), 'kin'), '^[^\n]+'), priority
      if not batch then
        break
      end
    end
  end
  if #tasks == 0 then
    redis.call('DEL', KEYS[4])
  end
end
return tasks
