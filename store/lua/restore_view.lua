-- Puts back committed intervals that the ledger has lost, and their states; what it has of a newer
-- generation stays.
--
-- KEYS[1]  pointers of the view (hash)
-- KEYS[2]  generations of the fingerprint (hash)
-- KEYS[3]  coverage of the fingerprint (hash)
-- KEYS[4…] states, one hash per aggregate
-- ARGV[1]  the least count of the revision afterwards, or "" where more is to follow: it stays then,
--          so that the ledger shows as lost until all of it is put back
-- ARGV[2]  what tells the next revision from one of the same count
-- ARGV[3…] for each interval: its name, its generation, the newest generation that it ever had, its
--          coverage, and for each aggregate its state or ""; where the coverage is "", a reset has
--          made the generation void, and what is there of it and of older ones goes
-- returns  the revision, or false where it stays
-- cost     O(intervals × aggregates)

local states = #KEYS - 3
for at = 3, #ARGV, 4 + states do
  local interval, generation = ARGV[at], tonumber(ARGV[at + 1])
  local newest = tonumber(redis.call('HGET', KEYS[2], interval) or 0)
  if newest < tonumber(ARGV[at + 2]) then redis.call('HSET', KEYS[2], interval, ARGV[at + 2]) end
  local held = redis.call('HGET', KEYS[3], interval)
  if ARGV[at + 3] == '' then
    if held and cjson.decode(held).generation <= generation then
      for i = 3, #KEYS do redis.call('HDEL', KEYS[i], interval) end
    end
  elseif not held or cjson.decode(held).generation <= generation then
    redis.call('HSET', KEYS[3], interval, ARGV[at + 3])
    for i = 1, states do
      local state = ARGV[at + 3 + i]
      if state ~= '' then redis.call('HSET', KEYS[3 + i], interval, state) end
    end
  end
end
if ARGV[1] == '' then return false end
local revision = redis.call('HGET', KEYS[1], 'revision') or '0'
local count = math.max(tonumber(string.match(revision, '^%d+')) + 1, tonumber(ARGV[1]))
revision = count .. '.' .. ARGV[2]
redis.call('HSET', KEYS[1], 'revision', revision)
return revision
