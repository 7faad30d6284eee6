-- Makes a shard and its buckets belong to a namespace: what another epoch left in them goes.
--
-- KEYS[1]  the shard (hash)
-- KEYS[2…] its buckets (hashes)
-- ARGV[1]  epoch of the namespace, 8 bytes
-- ARGV[2]  the zero mark, 10 bytes
-- returns  the count of keys that were made anew
-- cost     O(buckets), and O(rows) of what another epoch left
--
-- A key that is there is emptied, not dropped: in a slot that a Cluster is moving it could not be
-- made again. One that is not there can only be made at the slot's new place: TRYAGAIN has the call
-- sent again until the slot has moved.

local made = 0
for i, key in ipairs(KEYS) do
  local held = redis.call('HGET', key, '')
  if not held or string.sub(held, 1, 8) ~= ARGV[1] then
    local done = redis.pcall('HSET', key, '', i == 1 and ARGV[1] .. ARGV[2] or ARGV[1])
    if type(done) == 'table' and done.err then
      if string.find(done.err, 'non local key', 1, true) then
        return redis.error_reply('TRYAGAIN the slot of the shard is moving')
      end
      return done
    end
    local fields = {}
    for _, field in ipairs(redis.call('HKEYS', key)) do
      if field ~= '' then fields[#fields + 1] = field end
    end
    -- Lua unpacks no more than 8000 arguments.
    for from = 1, #fields, 4000 do
      redis.call('HDEL', key, unpack(fields, from, math.min(from + 3999, #fields)))
    end
    made = made + 1
  end
end
return made
