-- Idempotency keys: one stored item for each, however often it is put. Needs base.
-- A key's hash has no expiry while its item is stored; remove_entry lets it live for an hour more.

-- The answer to a put under a key that is known: {index, request id, reply}, or KEY_REUSED when it was another
-- request. nil when the key is new, or when there is none (no fingerprint).
local function put_before(name, fingerprint)
  if fingerprint == '' then
    return nil
  end
  local f = redis.call('HMGET', name, 'index', 'rid', 'reply', 'print')
  if not f[1] then
    return nil
  end
  return f[4] == fingerprint and { tonumber(f[1]), f[2], f[3] } or KEY_REUSED
end

local function remember_put(name, fingerprint, queue, index, rid, reply)
  redis.call('HSET', name, 'index', whole(index), 'rid', rid, 'reply', reply, 'print', fingerprint)
  redis.call('PERSIST', name)
  redis.call('HSET', key(queue, 'e:' .. whole(index)), 'idem', name)
end
