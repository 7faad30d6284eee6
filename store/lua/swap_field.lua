-- Replaces a field of a hash if it holds what is expected.
--
-- KEYS[1]  the hash
-- ARGV[1]  field
-- ARGV[2]  the expected value, or "" where the field must not exist
-- ARGV[3]  the new value
-- returns  the value that the field holds afterwards
-- cost     O(1)

local held = redis.call('HGET', KEYS[1], ARGV[1])
if (held or '') ~= ARGV[2] then return held end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return ARGV[3]
