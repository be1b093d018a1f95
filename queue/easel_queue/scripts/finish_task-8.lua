-- End a task with its result.
-- Guarantees: removing the task and delivering the result are one step, so there is exactly one result; only
-- the lease's holder can do it; repeating it answers the first sink index and adds nothing.
-- KEYS  1 in:entries  2 in:rid  3 in:groups  4 in:leases  5 sink:seq  6 sink:entries  7 sink:rid  8 sink:groups
-- ARGV  1 root  2 now  3 index  4 token  5 request id  6 data  7 tags of the result  8 state (done or cancelled)
--       9 claim (then data is '')
-- Returns the result's index in the sink (0: it went to the waiting caller, or was empty), LEASE_LOST,
-- CLAIM_WANTED (the task is the caller's: bring the result, then finish) or CLAIM_LOST.
-- @include base
-- @include entry
-- @include task
local member, token = ARGV[3], ARGV[4]
if holds(member, token) then
  return claim_first(ARGV[9]) or conclude(member, ARGV[8], token, ARGV[6], ARGV[7], ARGV[9])
end
local _, sink = ended_by(ARGV[5], token)
return sink or LEASE_LOST
