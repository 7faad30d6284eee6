-- Reads the revision of a view and whole hashes of its ledger at one moment.
--
-- KEYS[1]  pointers of the view (hash)
-- KEYS[2…] hashes of the same view
-- returns  the revision or nil, then each hash as field, value, ...
-- cost     O(fields)

local out = { redis.call('HGET', KEYS[1], 'revision') }
for i = 2, #KEYS do out[i] = redis.call('HGETALL', KEYS[i]) end
return out
