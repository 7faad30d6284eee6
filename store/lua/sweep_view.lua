-- Forgets what definitions of a view have left that nobody uses any more. What a worker remembers of
-- the view is of an older revision afterwards, and runs in flight are fenced. Generations stay: one
-- that was given out twice would be taken for the files of the first.
--
-- KEYS[1]  pointers of the view (hash)
-- KEYS[2…] keys to remove, then the generations of each definition (hashes)
-- ARGV[1]  count of the keys to remove
-- ARGV[2]  what tells the next revision from one of the same count
-- ARGV[3…] fields of the pointers to remove
-- cost     O(fields)

local removed = tonumber(ARGV[1])
for i = 2, removed + 1 do redis.call('UNLINK', KEYS[i]) end
for i = removed + 2, #KEYS do
  for _, interval in ipairs(redis.call('HKEYS', KEYS[i])) do
    redis.call('HINCRBY', KEYS[i], interval, 1)
  end
end
local revision = redis.call('HGET', KEYS[1], 'revision') or '0'
local count = tonumber(string.match(revision, '^%d+')) + 1
redis.call('HSET', KEYS[1], 'revision', count .. '.' .. ARGV[2])
-- Last: in a slot that a Cluster is moving, a key without fields could not be written again.
for i = 3, #ARGV do redis.call('HDEL', KEYS[1], ARGV[i]) end
return removed
