-- Makes one bucket belong to a namespace: what another epoch left in it goes.
--
-- KEYS[1]  the bucket (hash)
-- ARGV[1]  epoch of the namespace (8 bytes) and the zero mark (12 bytes)
-- returns  1 where the bucket was made anew, 0 where it already belonged
-- cost     O(1); what it drops is freed in the background

local meta = redis.call('HGET', KEYS[1], '')
if meta and string.sub(meta, 1, 8) == string.sub(ARGV[1], 1, 8) then return 0 end
redis.call('UNLINK', KEYS[1])
redis.call('HSET', KEYS[1], '', ARGV[1])
return 1
