-- Commits a run: coverage and partial states move together or not at all.
--
-- KEYS[1]  pointers of the view (hash)
-- KEYS[2]  generations of the fingerprint (hash)
-- KEYS[3]  coverage of the fingerprint (hash)
-- KEYS[4…] states, one hash per aggregate
-- ARGV[1]  interval
-- ARGV[2]  generation of the run
-- ARGV[3]  the revision that the caller has checked
-- ARGV[4]  coverage, or "" where the run wrote no rows
-- ARGV[5]  what tells the next revision from one of the same count
-- ARGV[6…] the state of each aggregate, in the order of KEYS
-- returns  outcome, revision, generation of the newest run; the outcome is
--          committed   all is written
--          repeated    this very commit was done before; nothing is written
--          fenced      a newer run of the interval has begun
--          forgotten   the ledger does not know the run: it was lost or reset
--          conflict    the revision has moved
-- cost     O(states + bytes)

local interval, generation, coverage = ARGV[1], tonumber(ARGV[2]), ARGV[4]
local function answer(outcome)
  local revision = redis.call('HGET', KEYS[1], 'revision') or '0'
  return { outcome, revision, redis.call('HGET', KEYS[2], interval) or '0' }
end

local repeated = coverage == '' or redis.call('HGET', KEYS[3], interval) == coverage
for i = 4, #KEYS do
  repeated = repeated and redis.call('HGET', KEYS[i], interval) == ARGV[i + 2]
end
-- First: the reply may have been lost, and a newer run have begun since.
if repeated then return answer('repeated') end

local newest = tonumber(redis.call('HGET', KEYS[2], interval) or 0)
if coverage == '' then
  -- States alone go with the rows that are committed, whatever has begun since and not ended.
  local held = redis.call('HGET', KEYS[3], interval)
  if held then newest = cjson.decode(held).generation end
end
if newest > generation then return answer('fenced') end
if newest < generation then return answer('forgotten') end

if (redis.call('HGET', KEYS[1], 'revision') or '0') ~= ARGV[3] then return answer('conflict') end

for i = 4, #KEYS do redis.call('HSET', KEYS[i], interval, ARGV[i + 2]) end
if coverage ~= '' then redis.call('HSET', KEYS[3], interval, coverage) end
local count = tonumber(string.match(ARGV[3], '^%d+')) + 1
redis.call('HSET', KEYS[1], 'revision', count .. '.' .. ARGV[5])
return answer('committed')
