-- One record.
-- KEYS  1 record:<rid>
-- ARGV  1 root  2 now  3 request id
-- Returns it (see describe_record), or nil.
-- @include base
-- @include record
if redis.call('EXISTS', KEYS[1]) == 0 then
  return nil
end
return describe_record(ARGV[3], status_of(ARGV[3]))
