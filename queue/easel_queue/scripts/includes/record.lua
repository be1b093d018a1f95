-- Records: what was asked, kept beside a task and for a week after it, for a caller that comes back later. Needs base.

-- pending, running, done, failed or interrupted.
local function status_of(rid)
  local member = redis.call('HGET', key('in', 'rid'), rid)
  if member then
    return redis.call('HGET', key('in', 'e:' .. member), 'state') == 'running' and 'running' or 'pending', member
  end
  local f = redis.call('HMGET', root .. ':reply:' .. rid, 'state', 'tags', 'interrupted')
  if f[1] == 'cancelled' then
    return 'interrupted'
  end
  if not f[1] or f[1] ~= 'done' or cjson.decode(f[2]).lastCode then
    return 'failed' -- also when it was deleted from the queue
  end
  return f[3] == '1' and 'interrupted' or 'done'
end

-- Where a pending task stands, 1 in front; 0 for others.
local function position_of(status, member)
  if status ~= 'pending' then
    return 0
  end
  local rank = redis.call('ZRANK', key('in', 'waiting'), member)
  return rank and rank + 1 or 1 -- one that a worker has fetched ahead is next
end

-- {rid, user, name, kind, params, at, bookmarked, cut, status, position, ms at which it ended or '', priority or ''}.
local function describe_record(rid, status, member)
  local f = redis.call('HMGET', root .. ':record:' .. rid, 'user', 'name', 'kind', 'params', 'at', 'bookmarked', 'cut')
  return {
    rid, f[1], f[2], f[3], f[4], f[5], f[6] or '', f[7] or '', status, position_of(status, member),
    redis.call('HGET', root .. ':reply:' .. rid, 'at') or '',
    member and redis.call('HGET', key('in', 'e:' .. member), 'prio') or '',
  }
end
