-- Forgets what was committed under one storage fingerprint, and fences the runs in flight. Partial
-- states of the aggregates go too, and `latest` of their set, since a state of an old interval
-- would refuse every interval that cuts it. Snapshot bodies stay, for those that pin one.
--
-- KEYS[1]  pointers of the view (hash)
-- KEYS[2]  coverage of the fingerprint (hash)
-- KEYS[3]  generations of the fingerprint (hash)
-- KEYS[4…] outcomes of the fingerprint, and states, one hash per aggregate
-- ARGV[1]  table field
-- ARGV[2]  the new table record
-- ARGV[3]  published field
-- ARGV[4]  latest field
-- ARGV[5]  what tells the next revision from one of the same count
-- returns  the count of intervals that were covered
-- cost     O(intervals + states)

local covered = redis.call('HLEN', KEYS[2])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('HDEL', KEYS[1], ARGV[3], ARGV[4])
redis.call('DEL', KEYS[2])
for i = 4, #KEYS do redis.call('DEL', KEYS[i]) end
for _, interval in ipairs(redis.call('HKEYS', KEYS[3])) do
  redis.call('HINCRBY', KEYS[3], interval, 1)
end
local revision = redis.call('HGET', KEYS[1], 'revision') or '0'
local count = tonumber(string.match(revision, '^%d+')) + 1
redis.call('HSET', KEYS[1], 'revision', count .. '.' .. ARGV[5])
return covered
