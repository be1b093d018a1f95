-- Moving tasks of the input queue. Needs base and entry.
local REPLY_KEPT = 600000 -- 10 minutes for a caller that is still there
local RECORD_KEPT = 604800000 -- a week for one that comes back later

-- True if `token` is the task's current lease.
local function holds(member, token)
  return redis.call('HGET', key('in', 'e:' .. member), 'token') == token
end

-- What a running task's clients wish: 1 if it is to be cancelled, 1 if it is to end early, batches to skip so far.
local function wishes(member)
  local name = key('in', 'e:' .. member)
  local f = redis.call('HMGET', name, 'interrupt', 'skips')
  return { redis.call('HEXISTS', name, 'cancel_tags'), tonumber(f[1] or 0), tonumber(f[2] or 0) }
end

-- What a worker needs to know of a task, for the reply of reserve and reap.
local function describe(member, token, lease_until)
  local name = key('in', 'e:' .. member)
  local f = redis.call('HMGET', name, 'rid', 'tags', 'meta', 'data', 'prio', 'at', 'dlv', 'reply', 'errors', 'claim')
  return {
    member, token, whole(lease_until), f[1], f[2], f[3], f[4], f[5], f[6], f[7] or '0', f[8], f[9] or '', f[10] or '',
  }
end

-- Lease a task. Tokens only grow, so a later lease always fences an earlier one.
local function lease(member, state, worker, lease_ms)
  local token = redis.call('INCR', key('in', 'token'))
  redis.call('HSET', key('in', 'e:' .. member), 'state', state, 'token', token, 'worker', worker)
  redis.call('ZADD', key('in', 'leases'), whole(now + lease_ms), member)
  return token
end

-- The work on a leased task, whose state says so, has begun: a delivery from here on. Returns their number.
local function count_delivery(member, rid)
  redis.call('ZADD', key('in', 'started'), whole(now), member)
  say({ r = rid, s = 'running' })
  return redis.call('HINCRBY', key('in', 'e:' .. member), 'dlv', 1)
end

-- Remember one failed delivery with the task.
local function note_error(member, text)
  local f = redis.call('HMGET', key('in', 'e:' .. member), 'dlv', 'worker')
  remember_error('in', member, 'delivery ' .. (f[1] or '0') .. ' on ' .. (f[2] or '?') .. ': ' .. text)
end

-- Back to its old place in the line.
local function requeue(member)
  local name = key('in', 'e:' .. member)
  local f = redis.call('HMGET', name, 'prio', 'user', 'rid')
  redis.call('HDEL', name, 'token', 'worker', 'progress', 'interrupt', 'skips')
  redis.call('HSET', name, 'state', 'waiting')
  redis.call('ZREM', key('in', 'leases'), member)
  redis.call('ZREM', key('in', 'started'), member)
  enter_line(member, f[1], f[2])
  end_work(f[2])
  ring()
  say({ r = f[3], s = 'waiting' })
end

-- A task ends: remove it, deliver its result, remember how it ended, tell whoever waits.
-- An empty result is not delivered to the sink (a container that answers nothing has nothing to say).
-- Its claim, if it has one, is known to be there (see claim_first).
-- Returns the result's index in the sink, 0 when it went to a waiting caller or nowhere.
local function conclude(member, state, token, data, tags, claim)
  claim = claim or ''
  local _, rid, to, idem, interrupted = remove_entry('in', member)
  local sink = 0
  if to == 'direct' or to == 'kept' then
    local reply, kept = root .. ':reply:' .. rid, REPLY_KEPT
    redis.call('HSET', reply, 'data', data, 'tags', tags, 'at', whole(now), 'claim', claim)
    if idem or to == 'kept' then
      redis.call('HSET', reply, 'keep', 1) -- its caller may ask again, under its idempotency key or for its record
    end
    if to == 'kept' then
      kept = RECORD_KEPT
      redis.call('HSET', reply, 'state', state, 'interrupted', interrupted or '')
      redis.call('PEXPIRE', root .. ':record:' .. rid, kept)
    end
    redis.call('PEXPIRE', reply, kept)
    if claim ~= '' then
      hold_claim(claim)
      release_claim(claim, now + kept)
    end
  elseif data ~= '' or claim ~= '' then
    sink = redis.call('INCR', key('sink', 'seq'))
    store_entry('sink', sink, rid, 0, { 'data', data, 'tags', tags, 'meta', '{}' }, claim)
  end
  local done = root .. ':done:' .. rid
  redis.call('HSET', done, 'index', member, 'state', state, 'token', token, 'sink', sink)
  redis.call('PEXPIRE', done, KEPT)
  say({ q = sink > 0 and 'sink' or nil, r = rid, s = state })
  return sink
end

-- Give a task up: a result that says so, and the task itself in the rear if it is to be kept.
local function bury(member, token, data, tags, keep, claim)
  if keep then
    local f = redis.call('HMGET', key('in', 'e:' .. member),
      'rid', 'prio', 'data', 'tags', 'meta', 'errors', 'dlv', 'at', 'user', 'kin', 'idem')
    store_entry('rear', tonumber(member), f[1], tonumber(f[2]), {
      'data', f[3], 'tags', f[4], 'meta', f[5], 'errors', f[6] or '[]', 'dlv', f[7] or '0', 'put_at', f[8],
      'user', f[9], 'kin', f[10],
    }, pass_claim('in', member))
    if f[11] then -- a requeue within the hour finds it again
      redis.call('HSET', key('rear', 'e:' .. member), 'idem', f[11])
    end
    say({ q = 'rear' })
  end
  conclude(member, 'dead', token, data, tags, claim)
end

-- The end of a delivery that brought no result: back into the line, unless somebody has cancelled the task
-- meanwhile; then it ends with the result that came with the cancel. Returns true if it ended.
local function retreat(member, token)
  local f = redis.call('HMGET', key('in', 'e:' .. member), 'cancel_tags', 'cancel_data')
  if f[1] then
    conclude(member, 'cancelled', token, f[2], f[1])
    return true
  end
  requeue(member)
  return false
end

-- A caller without the lease: how did the task end, if it was this lease that ended it? Then the call is a
-- repetition. Returns state and sink index, or nil.
local function ended_by(rid, token)
  local f = redis.call('HMGET', root .. ':done:' .. rid, 'token', 'state', 'sink')
  if f[1] == token then
    return f[2], tonumber(f[3])
  end
  return nil
end
