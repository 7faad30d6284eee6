-- Forgets what was covered under one storage fingerprint, and fences the runs in flight.
--
-- KEYS[1]  pointers of the view (hash)
-- KEYS[2]  coverage of the fingerprint (hash)
-- KEYS[3]  generations of the fingerprint (hash)
-- ARGV[1]  namespace field
-- ARGV[2]  the new namespace record
-- ARGV[3]  head field
-- returns  the count of intervals that were covered
-- cost     O(intervals)

local covered = redis.call('HLEN', KEYS[2])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('HDEL', KEYS[1], ARGV[3])
redis.call('DEL', KEYS[2])
for _, interval in ipairs(redis.call('HKEYS', KEYS[3])) do
  redis.call('HINCRBY', KEYS[3], interval, 1)
end
redis.call('HINCRBY', KEYS[1], 'revision', 1)
return covered
