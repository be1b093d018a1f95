-- Making room in the input queue at the cost of tasks that wait. Needs base, entry, task and room.

-- The tasks that must go so that one of `size` bytes and this priority has room: the oldest of the lowest priority
-- first, none that is more urgent than the newcomer, none that a worker has. nil if that is not enough.
local function victims(priority, size, max_length, max_bytes)
  local length, bytes = length_of('in'), bytes_of('in')
  local chosen, above = {}, '+inf'
  while not fits(length, bytes, size, max_length, max_bytes) do
    local last = redis.call('ZREVRANGEBYSCORE', key('in', 'waiting'), above, '-inf', 'WITHSCORES', 'LIMIT', 0, 1)
    local level = last[1] and (tonumber(last[1]) - tonumber(last[2])) / PRIORITY_STEP
    if not level or level > priority then
      return nil
    end
    local first = order(level, 0)
    local members = redis.call('ZRANGEBYSCORE', key('in', 'waiting'), first, above, 'LIMIT', 0, EVICT_AT_MOST)
    for _, member in ipairs(members) do
      if fits(length, bytes, size, max_length, max_bytes) then
        break
      end
      if #chosen == EVICT_AT_MOST then
        return nil
      end
      chosen[#chosen + 1] = member
      length = length - 1
      bytes = bytes - tonumber(redis.call('HGET', key('in', 'e:' .. member), 'size') or '0')
    end
    above = '(' .. first
  end
  return chosen
end

-- End these tasks with the result given here: their tags, and `extra` (JSON) over them.
local function evict_tasks(members, data, extra)
  for _, member in ipairs(members) do
    local tags = cjson.decode(redis.call('HGET', key('in', 'e:' .. member), 'tags'))
    for tag, value in pairs(cjson.decode(extra)) do
      tags[tag] = value
    end
    conclude(member, 'evicted', '', data, cjson.encode(tags))
  end
end
