-- Replaces rows of some buckets of one shard, each only by a newer one.
--
-- KEYS[1…] the buckets (hashes)
-- ARGV[1]  epoch of the namespace, 8 bytes
-- ARGV[2]  for each bucket: uint32 count of its rows, at most 1000, and the rows, none twice, each:
--          uint16 key size, uint16 0, uint32 value size, key, value, and zeros up to a multiple of
--          4 bytes; integers are little-endian; a value is a version (25 bytes) and a row, or a
--          version alone for a tombstone
-- returns  the count of rows written; where the bucket KEYS[i] is missing -2i, where its epoch is
--          another -2i - 1, with the buckets before it written
-- cost     O(rows + buckets); Lua unpacks no more than 8000 arguments

-- A version is (generation and end of a publish, event time, ordinal), each unsigned as it is stored.
-- The integers are compared, since string order in Lua follows the locale.
local sub, call = string.sub, redis.call

local function newer(a, b)
  local a1, a2, a3, a4, a5 = struct.unpack('>I4I6I4I4I7', a)
  local b1, b2, b3, b4, b5 = struct.unpack('>I4I6I4I4I7', b)
  if a1 ~= b1 then return a1 > b1 end
  if a2 ~= b2 then return a2 > b2 end
  if a3 ~= b3 then return a3 > b3 end
  if a4 ~= b4 then return a4 > b4 end
  if a5 ~= b5 then return a5 > b5 end
  -- A full tie: the greater bytes win, so that any order of writes ends alike.
  for i = 26, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x > y end
  end
  return #a > #b
end

local epoch, rows = ARGV[1], ARGV[2]
local written, at = 0, 1
for bucket = 1, #KEYS do
  local count
  count, at = struct.unpack('<I4', rows, at)
  local keys, values = { '' }, {}
  for i = 2, count + 1 do
    local keySize, _, valueSize, from = struct.unpack('<I2I2I4', rows, at)
    local middle = from + keySize
    at = middle + valueSize
    keys[i] = sub(rows, from, middle - 1)
    values[i] = sub(rows, middle, at - 1)
    at = at + (1 - at) % 4
  end
  local stored = call('HMGET', KEYS[bucket], unpack(keys))
  if stored[1] ~= epoch then return stored[1] and -2 * bucket - 1 or -2 * bucket end
  local out, size = {}, 0
  for i = 2, count + 1 do
    local old, new = stored[i], values[i]
    if not old or (old ~= new and newer(new, old)) then
      out[size + 1], out[size + 2] = keys[i], new
      size = size + 2
    end
  end
  if size > 0 then call('HSET', KEYS[bucket], unpack(out, 1, size)) end
  written = written + size / 2
end
return written
