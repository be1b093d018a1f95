-- A task's meta (JSON) with the service's options of this moment in it: "options", a JSON object as text.
-- Unchanged while every option has its default.
local function with_options(meta)
  local options = redis.call('GET', root .. ':options')
  if not options then
    return meta
  end
  return meta:sub(1, -2) .. (meta == '{}' and '' or ',') .. '"options":' .. cjson.encode(options) .. '}'
end
