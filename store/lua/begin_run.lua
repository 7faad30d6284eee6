-- Allots the generation of a run over one interval; all attempts of the run share it.
--
-- KEYS[1]  generations of the fingerprint (hash: interval -> generation of its newest run)
-- KEYS[2]  recent runs of the fingerprint (hash: interval -> JSON [[run id, generation], ...])
-- ARGV[1]  interval
-- ARGV[2]  run id
-- ARGV[3]  how many runs of an interval to remember
-- ARGV[4]  the newest generation that the offline store has of the interval
-- returns  the generation
-- cost     O(remembered runs)

local text = redis.call('HGET', KEYS[2], ARGV[1])
local runs = text and cjson.decode(text) or {}
for _, run in ipairs(runs) do
  if run[1] == ARGV[2] then return run[2] end
end
local newest = math.max(tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0), tonumber(ARGV[4]))
local generation = newest + 1
redis.call('HSET', KEYS[1], ARGV[1], generation)
runs[#runs + 1] = { ARGV[2], generation }
while #runs > tonumber(ARGV[3]) do table.remove(runs, 1) end
redis.call('HSET', KEYS[2], ARGV[1], cjson.encode(runs))
return generation
