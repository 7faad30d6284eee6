-- Reads the revision of a view and whole hashes of its ledger at one moment.
--
-- KEYS[1]  pointers of the view (hash)
-- KEYS[2…] hashes of the same view
-- ARGV[1]  a revision whose content the caller has, or absent
-- returns  the revision or nil, then, unless it is that one, each hash as field, value, ...
-- cost     O(fields)

local out = { redis.call('HGET', KEYS[1], 'revision') }
if out[1] and out[1] == ARGV[1] then return out end
for i = 2, #KEYS do out[i] = redis.call('HGETALL', KEYS[i]) end
return out
