-- Commits a run: coverage, partial states, snapshot, `latest` and head move together or not at all.
--
-- KEYS[1]  pointers of the view (hash)
-- KEYS[2]  generations of the fingerprint (hash)
-- KEYS[3]  coverage of the fingerprint (hash)
-- KEYS[4]  snapshots of the view (hash)
-- KEYS[5…] states, one hash per aggregate
-- ARGV[1]  interval
-- ARGV[2]  generation of the run
-- ARGV[3]  the revision that the caller merged from
-- ARGV[4]  coverage, or "" where the run wrote no rows
-- ARGV[5]  head field
-- ARGV[6]  mark of the run, 12 bytes
-- ARGV[7]  snapshot id, or "" for none
-- ARGV[8]  snapshot body
-- ARGV[9]  latest field, which holds "<as of, ms> <snapshot id> <body>"
-- ARGV[10] as of, ms
-- ARGV[11] what tells the next revision from one of the same count
-- ARGV[12…] the state of each aggregate, in the order of KEYS
-- returns  outcome, revision, generation of the newest run; the outcome is
--          committed   all is written
--          repeated    this very commit was done before; nothing is written
--          fenced      a newer run of the interval has begun
--          forgotten   the ledger does not know the run: it was lost or reset
--          conflict    the revision has moved
--          overwrite   the snapshot id exists with another body
-- cost     O(states + bytes)

local interval, generation = ARGV[1], tonumber(ARGV[2])
local function answer(outcome)
  local revision = redis.call('HGET', KEYS[1], 'revision') or '0'
  return { outcome, revision, redis.call('HGET', KEYS[2], interval) or '0' }
end
local function later(a, b)
  local a1, a2, a3 = struct.unpack('>I4I4I4', a)
  local b1, b2, b3 = struct.unpack('>I4I4I4', b)
  if a1 ~= b1 then return a1 > b1 end
  if a2 ~= b2 then return a2 > b2 end
  return a3 > b3
end

local coverage, snapshot = ARGV[4], ARGV[7]
local body = snapshot ~= '' and redis.call('HGET', KEYS[4], snapshot)
local latest = snapshot ~= '' and redis.call('HGET', KEYS[1], ARGV[9])
local latestAsOf = latest and tonumber(string.match(latest, '^%S+'))
local asOf = tonumber(ARGV[10])

local repeated = coverage == '' or redis.call('HGET', KEYS[3], interval) == coverage
for i = 5, #KEYS do
  repeated = repeated and redis.call('HGET', KEYS[i], interval) == ARGV[i + 7]
end
if snapshot ~= '' then
  repeated = repeated and body == ARGV[8] and latestAsOf and latestAsOf >= asOf
end
-- First: the reply may have been lost, and a newer run have begun since.
if repeated then return answer('repeated') end

local newest = tonumber(redis.call('HGET', KEYS[2], interval) or 0)
if newest > generation then return answer('fenced') end
if newest < generation then return answer('forgotten') end

if (redis.call('HGET', KEYS[1], 'revision') or '0') ~= ARGV[3] then return answer('conflict') end
if body and body ~= ARGV[8] then return answer('overwrite') end

for i = 5, #KEYS do redis.call('HSET', KEYS[i], interval, ARGV[i + 7]) end
if snapshot ~= '' then
  redis.call('HSET', KEYS[4], snapshot, ARGV[8])
  if not latestAsOf or asOf >= latestAsOf then
    redis.call('HSET', KEYS[1], ARGV[9], ARGV[10] .. ' ' .. snapshot .. ' ' .. ARGV[8])
  end
end
if coverage ~= '' then
  redis.call('HSET', KEYS[3], interval, coverage)
  local head = redis.call('HGET', KEYS[1], ARGV[5])
  if not head or later(ARGV[6], head) then redis.call('HSET', KEYS[1], ARGV[5], ARGV[6]) end
end
local count = tonumber(string.match(ARGV[3], '^%d+')) + 1
redis.call('HSET', KEYS[1], 'revision', count .. '.' .. ARGV[11])
return answer('committed')
