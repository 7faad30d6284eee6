-- Raises the mark of a shard.
--
-- KEYS[1]  the shard (hash)
-- ARGV[1]  epoch of the namespace, 8 bytes
-- ARGV[2]  mark of the publish, 10 bytes
-- ARGV[3]  the least mark that the shard must bear, that of the publish before, 10 bytes
-- returns  1 where the mark was raised, 0 where it is as high already; -1 where the shard is
--          missing, -2 where its epoch is another, -3 where it has lost the publish before
-- cost     O(1)

local held = redis.call('HGET', KEYS[1], '')
if not held then return -1 end
if string.sub(held, 1, 8) ~= ARGV[1] then return -2 end
-- Integers are compared, since string order in Lua follows the locale.
local a1, a2 = struct.unpack('>I4I6', ARGV[2])
local b1, b2 = struct.unpack('>I4I6', held, 9)
local c1, c2 = struct.unpack('>I4I6', ARGV[3])
if c1 > b1 or (c1 == b1 and c2 > b2) then return -3 end
local raised = a1 > b1 or (a1 == b1 and a2 > b2)
if raised then redis.call('HSET', KEYS[1], '', ARGV[1] .. ARGV[2]) end
return raised and 1 or 0
