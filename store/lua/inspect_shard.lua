-- Counts what is there of a shard.
--
-- KEYS[1]  the shard (hash)
-- KEYS[2…] its buckets (hashes)
-- ARGV[1]  epoch of the namespace, 8 bytes
-- ARGV[2]  "1" to ask for the memory of each bucket
-- returns  the shard's epoch and mark, or false where it is missing; then the counts of missing
--          buckets, of those of another epoch, of rows in the rest, of rows in the fullest, and
--          their bytes of memory
-- cost     O(buckets), with memory O(rows)

local missing, foreign, rows, largest, memory = 0, 0, 0, 0, 0
for i = 2, #KEYS do
  local held = redis.call('HGET', KEYS[i], '')
  if not held then missing = missing + 1
  elseif held ~= ARGV[1] then foreign = foreign + 1
  else
    local size = redis.call('HLEN', KEYS[i]) - 1
    rows = rows + size
    largest = math.max(largest, size)
    if ARGV[2] == '1' then
      memory = memory + redis.call('MEMORY', 'USAGE', KEYS[i], 'SAMPLES', '0')
    end
  end
end
return { redis.call('HGET', KEYS[1], ''), missing, foreign, rows, largest, memory }
