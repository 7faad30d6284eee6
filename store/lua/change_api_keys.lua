-- Writes records of API keys if nobody has changed any since they were read, and logs the changes.
--
-- KEYS[1]  records (hash: "revision", and id -> JSON)
-- KEYS[2]  changes (list of JSON, the newest first)
-- ARGV[1]  the expected revision, or "" where there is none
-- ARGV[2]  the new revision
-- ARGV[3]  how many changes to keep
-- ARGV[4]  count of the changes to log
-- ARGV[5…] the changes, JSON, the oldest first; then id and record in turn, where the record ""
--          removes the id
-- returns  1, or 0 where the revision is another and nothing was written
-- cost     O(records written + changes)

if (redis.call('HGET', KEYS[1], 'revision') or '') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'revision', ARGV[2])
local first = 5 + tonumber(ARGV[4])
for i = first, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[1], ARGV[i])
  else
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
end
for i = 5, first - 1 do redis.call('LPUSH', KEYS[2], ARGV[i]) end
redis.call('LTRIM', KEYS[2], 0, tonumber(ARGV[3]) - 1)
return 1
