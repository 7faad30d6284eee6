-- Removes from a bucket what is of an older publish than the last whole one.
--
-- KEYS[1]  the bucket (hash)
-- ARGV[1]  epoch of the table, 8 bytes
-- ARGV[2]  generation of the whole publish
-- returns  the count of entities removed
-- cost     O(entities of the bucket)

local generation = tonumber(ARGV[2])
local held = redis.call('HGETALL', KEYS[1])
local gone, epoch = {}, nil
for at = 1, #held, 2 do
  if held[at] == '' then epoch = held[at + 1]
  elseif (struct.unpack('>I4', held[at + 1])) < generation then gone[#gone + 1] = held[at] end
end
if epoch ~= ARGV[1] then return 0 end
-- Lua unpacks no more than 8000 arguments.
for from = 1, #gone, 4000 do
  redis.call('HDEL', KEYS[1], unpack(gone, from, math.min(from + 3999, #gone)))
end
return #gone
