-- The service's options.
-- KEYS  1 options
-- ARGV  1 root  2 now
-- Returns the JSON object as it is stored; '' while every option has its default.
-- @include base
return redis.call('GET', KEYS[1]) or ''
