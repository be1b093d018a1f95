-- How much a queue may hold. Needs base and entry. A limit of 0 is none.
local EVICT_AT_MOST = 100 -- items that one call may drop; more would hold Redis up

-- True if an item of `size` bytes fits beside `length` items of `bytes` in all.
local function fits(length, bytes, size, max_length, max_bytes)
  return (max_length == 0 or length < max_length) and (max_bytes == 0 or bytes + size <= max_bytes)
end

local function length_of(queue)
  return redis.call('ZCARD', key(queue, 'entries'))
end

local function bytes_of(queue)
  return tonumber(redis.call('GET', key(queue, 'bytes')) or '0')
end

-- True if one more item of `size` bytes fits into a queue as it is.
local function fits_into(queue, size, max_length, max_bytes)
  return (max_length == 0 or length_of(queue) < max_length) and (max_bytes == 0 or bytes_of(queue) + size <= max_bytes)
end

-- Whether one more item of `size` bytes has room. With `evict` the oldest items are dropped to make some, for all
-- groups and whether delivered or not.
local function has_room(queue, size, max_length, max_bytes, evict)
  for dropped = 0, EVICT_AT_MOST do
    if fits_into(queue, size, max_length, max_bytes) then
      if dropped > 0 then
        say({ q = queue })
      end
      return true
    end
    local oldest = evict and dropped < EVICT_AT_MOST and redis.call('ZRANGE', key(queue, 'entries'), 0, 0)[1]
    if not oldest then
      return false
    end
    remove_entry(queue, oldest)
  end
end
