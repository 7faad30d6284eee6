-- Keeps how the last run of an interval ended, unless a run that ended later is kept.
--
-- KEYS[1]  outcomes of the fingerprint (hash: interval -> JSON)
-- ARGV[1]  interval
-- ARGV[2]  when the run ended, ms
-- ARGV[3]  the outcome, JSON with the member finishedAtMs
-- returns  1 where it was kept, else 0
-- cost     O(1)

local held = redis.call('HGET', KEYS[1], ARGV[1])
if held and cjson.decode(held).finishedAtMs > tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
