-- End one delivery with an error: the task waits for the next one, or is given up, or ends as cancelled if
-- somebody asked for that meanwhile.
-- Guarantees: a task is started at most max_delivery times; given up means one result in the sink and the
-- task itself in the rear (dead letters), in one step.
-- KEYS  1 in:entries  2 in:waiting  3 in:leases  4 in:bell  5 sink:seq  6 sink:entries  7 rear:entries  8 rear:rid
-- ARGV  1 root  2 now  3 index  4 token  5 request id  6 error  7 data of the result  8 tags of the result
--       9 max delivery  10 1 to keep the dead letter in the rear, 0 to drop it  11 claim (then data is '')
-- Returns {'waiting', 'dead' or 'cancelled', deliveries}, LEASE_LOST, or, if the task is dead now, CLAIM_WANTED (bring
-- the result, then fail again; nothing has changed yet) or CLAIM_LOST.
-- @include base
-- @include entry
-- @include task
local member, token = ARGV[3], ARGV[4]
if not holds(member, token) then
  local state = ended_by(ARGV[5], token)
  return state and { state, tonumber(ARGV[9]) } or LEASE_LOST
end
local name = key('in', 'e:' .. member)
local deliveries = tonumber(redis.call('HGET', name, 'dlv') or '0')
local again = deliveries < tonumber(ARGV[9]) or redis.call('HEXISTS', name, 'cancel_tags') == 1
local refused = not again and claim_first(ARGV[11])
if refused then
  return refused
end
if ARGV[6] ~= '' then
  note_error(member, ARGV[6])
end
if again then
  return { retreat(member, token) and 'cancelled' or 'waiting', deliveries }
end
bury(member, token, ARGV[7], ARGV[8], ARGV[10] == '1', ARGV[11])
return { 'dead', deliveries }
