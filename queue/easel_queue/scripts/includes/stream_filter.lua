-- Tag filters of get and watch.

-- True if the stored tags (JSON) contain every wanted pair.
local function matches(tags, wanted)
  if not wanted then
    return true
  end
  local have = cjson.decode(tags)
  for name, value in pairs(wanted) do
    if have[name] ~= value then
      return false
    end
  end
  return true
end

-- The tag filter of a call: nil when it is empty.
local function filter_of(json)
  if json == '' or json == '{}' then
    return nil
  end
  return cjson.decode(json)
end
