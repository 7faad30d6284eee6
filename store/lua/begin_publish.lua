-- Allots the generation of a publish; from then on those that began before can move no pointer.
--
-- KEYS[1]  pointers of the view (hash)
-- ARGV[1]  publishing field: the generation of the newest publish that has begun
-- ARGV[2]  the least generation, above those that the offline store knows
-- returns  the generation
-- cost     O(1)

local generation = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0) + 1
generation = math.max(generation, tonumber(ARGV[2]))
redis.call('HSET', KEYS[1], ARGV[1], generation)
return generation
