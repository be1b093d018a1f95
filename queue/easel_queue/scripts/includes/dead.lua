-- Dead letters, back into the input queue. Needs base, entry, task and room.

-- The member of a dead letter that is named by its index or, if there is none of that, by its request id.
local function letter_of(name)
  if redis.call('ZSCORE', key('rear', 'entries'), name) then
    return name
  end
  return redis.call('HGET', key('rear', 'rid'), name)
end

-- Move one dead letter to its old place in the line, deliveries at 0, errors kept. The tag `requeued` counts how often
-- that was done. Its result goes to the sink: whoever waited for it has been answered.
-- Returns its index, ENDED, QUEUE_FULL, or ID_TAKEN when a newer task has its request id.
local function revive(member, max_length, max_bytes)
  local f = redis.call('HMGET', key('rear', 'e:' .. member), 'rid', 'prio', 'data', 'tags', 'meta', 'errors', 'idem',
    'claim', 'user', 'kin')
  if redis.call('HEXISTS', key('in', 'rid'), f[1]) == 1 then
    return ID_TAKEN
  end
  if redis.call('EXISTS', key('in', 'eos')) == 1 then
    return ENDED
  end
  local tags = cjson.decode(f[4])
  tags.requeued = whole((tonumber(tags.requeued) or 0) + 1)
  tags = cjson.encode(tags)
  if not fits_into('in', #f[3] + #tags + #f[5] + claim_size(f[8]), max_length, max_bytes) then
    return QUEUE_FULL
  end
  local claim = pass_claim('rear', member)
  remove_entry('rear', member)
  store_entry('in', tonumber(member), f[1], tonumber(f[2]), {
    'data', f[3], 'tags', tags, 'meta', f[5], 'reply', 'sink', 'state', 'waiting', 'errors', f[6] or '[]', 'requeued', 1,
    'user', f[9] or '', 'kin', f[10] or '',
  }, claim)
  if f[7] and redis.call('HGET', f[7], 'rid') == f[1] then
    redis.call('PERSIST', f[7])
    redis.call('HSET', f[7], 'reply', 'sink')
    redis.call('HSET', key('in', 'e:' .. member), 'idem', f[7])
  end
  enter_line(member, f[2], f[9] or '')
  ring()
  say({ q = 'in', r = f[1], s = 'waiting' })
  return tonumber(member)
end
