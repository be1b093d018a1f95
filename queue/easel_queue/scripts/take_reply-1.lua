-- Hand a direct reply to the caller that waited for it: once, or until it expires if the call had an idempotency key.
-- One whose body is a claim is taken once that was fetched; until then it may be asked for again.
-- KEYS  1 reply:<rid>
-- ARGV  1 root  2 now  3 1 = its claim was fetched
-- Returns {data, tags, at, claim}, or nil.
-- @include base
-- @include entry
local f = redis.call('HMGET', KEYS[1], 'data', 'tags', 'at', 'keep', 'claim')
if not f[1] then
  return nil
end
local claim = f[5] or ''
if not f[4] and (claim == '' or ARGV[3] == '1') then
  redis.call('DEL', KEYS[1])
  if claim ~= '' then
    release_claim(claim, now)
  end
end
return { f[1], f[2], f[3], claim }
