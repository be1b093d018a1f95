-- Storing and removing one item of any queue. Needs base.
-- @include line
local KEPT = 3600000 -- an hour: long enough to repeat a call or to ask how a task went

local SIZED = { data = true, tags = true, meta = true } -- what the queue's count of bytes consists of

-- A claim is a body that lies outside: "<bytes> <name>", '' or absent when there is none. Its name is announced before
-- the body is brought there, and `gone` once nothing here refers to it any more: whoever tends the other side deletes
-- it then. A caller that has not brought it yet writes "?<bytes> <name>".
local function claim_size(claim)
  return tonumber(string.match(claim or '', '^%??(%d+) ') or '0')
end

local function claim_name(claim)
  return string.match(claim, ' (.+)$')
end

-- The last question before a body is stored: what to answer a caller who has to bring it first, or who was so slow
-- that it was swept away. nil when it is there, or when there is no claim.
local function claim_first(claim)
  if claim == '' then
    return nil
  end
  if string.sub(claim, 1, 1) == '?' then
    redis.call('ZADD', root .. ':claims:announced', whole(now), claim_name(claim))
    return CLAIM_WANTED
  end
  return not redis.call('ZSCORE', root .. ':claims:announced', claim_name(claim)) and CLAIM_LOST or nil
end

-- From here on something refers to this claim.
local function hold_claim(claim)
  redis.call('ZREM', root .. ':claims:announced', claim_name(claim))
end

-- Nothing refers to it any more, or from `at` (ms) on.
local function release_claim(claim, at)
  redis.call('ZADD', root .. ':claims:gone', whole(at), claim_name(claim))
end

-- Take an item's claim off, so that another item can have it: '' when there is none.
local function pass_claim(queue, member)
  local name = key(queue, 'e:' .. member)
  local claim = redis.call('HGET', name, 'claim')
  redis.call('HDEL', name, 'claim')
  return claim or ''
end

-- Store an item, count its bytes, and hand it to every consumer group of the queue. `fields` is a flat list for HSET,
-- `claim` its body if that lies outside.
local function store_entry(queue, index, rid, priority, fields, claim)
  local name, size = key(queue, 'e:' .. whole(index)), claim_size(claim)
  for position = 1, #fields, 2 do
    if SIZED[fields[position]] then
      size = size + #fields[position + 1]
    end
  end
  redis.call('HSET', name, 'rid', rid, 'prio', priority, 'at', whole(now), 'size', size, unpack(fields))
  if claim and claim ~= '' then
    redis.call('HSET', name, 'claim', claim)
    hold_claim(claim)
  end
  redis.call('INCRBY', key(queue, 'bytes'), size)
  redis.call('ZADD', key(queue, 'entries'), whole(index), whole(index))
  redis.call('HSET', key(queue, 'rid'), rid, whole(index))
  if priority ~= 0 then
    redis.call('ZADD', key(queue, 'prio'), order(priority, index), whole(index))
  end
  for _, gid in ipairs(redis.call('ZRANGE', key(queue, 'groups'), 0, -1)) do
    redis.call('ZADD', key(queue, 'g:' .. gid .. ':todo'), order(priority, index), whole(index))
  end
end

-- Take an item away from a group, whether delivered or not. Returns the uid of the watcher that had it, or nil.
local function forget_in_group(queue, gid, member)
  local group = key(queue, 'g:' .. gid)
  redis.call('ZREM', group .. ':todo', member)
  if redis.call('HDEL', group .. ':failed', member) == 1 then
    redis.call('ZREM', group .. ':aside', member)
  end
  local uid = redis.call('HGET', group .. ':pend', member)
  if not uid then
    return nil
  end
  redis.call('HDEL', group .. ':pend', member)
  redis.call('ZREM', group .. ':w:' .. uid, member)
  return uid
end

-- Remember with an item why a delivery of it failed; the last 20 are kept.
local function remember_error(queue, member, line)
  local name = key(queue, 'e:' .. member)
  local seen = redis.call('HGET', name, 'errors')
  local list = seen and cjson.decode(seen) or {}
  list[#list + 1] = line
  while #list > 20 do
    table.remove(list, 1)
  end
  redis.call('HSET', name, 'errors', cjson.encode(list))
end

-- The place of a task in the line, or its lease, ends.
local function give_up_place(member, state, priority, user)
  if state == 'waiting' then
    leave_line(member, priority, user)
  elseif state then
    redis.call('ZREM', key('in', 'leases'), member)
    redis.call('ZREM', key('in', 'started'), member)
    end_work(user)
  end
end

-- Remove an item from a queue for everybody. On the input queue this also ends its lease. Its idempotency key is
-- remembered for an hour from now, unless that names another item meanwhile. Its claim is gone.
-- `groups` are those that may know of it; all of the queue's if that is left out.
-- Returns how many were removed, and the item's rid, reply, idem and interrupt.
local function remove_entry(queue, member, groups)
  local name = key(queue, 'e:' .. member)
  local f = redis.call('HMGET', name, 'rid', 'size', 'idem', 'claim', 'prio', 'state', 'user', 'reply', 'interrupt')
  local rid = f[1]
  if rid and redis.call('HGET', key(queue, 'rid'), rid) == member then
    redis.call('HDEL', key(queue, 'rid'), rid)
  end
  if f[2] then -- items that an older version stored were not counted
    redis.call('DECRBY', key(queue, 'bytes'), f[2])
  end
  if f[3] and redis.call('HGET', f[3], 'rid') == rid then
    redis.call('PEXPIRE', f[3], KEPT)
  end
  if f[4] then
    release_claim(f[4], now)
  end
  if queue == 'in' then
    give_up_place(member, f[6], f[5], f[7])
  end
  redis.call('DEL', name)
  if f[5] ~= '0' then
    redis.call('ZREM', key(queue, 'prio'), member)
  end
  for _, gid in ipairs(groups or redis.call('ZRANGE', key(queue, 'groups'), 0, -1)) do
    forget_in_group(queue, gid, member)
  end
  return redis.call('ZREM', key(queue, 'entries'), member), rid, f[8], f[3], f[9]
end
