-- Replaces rows of one bucket, each only by a newer one.
--
-- KEYS[1]  the bucket (hash)
-- ARGV[1]  epoch of the namespace, 8 bytes
-- ARGV[2]  mark of the run, 12 bytes, or "" to leave the bucket's mark
-- ARGV[3]  rows, none twice, each: uint16 key size, uint32 value size (big-endian), key, value;
--          a value is a version (19 bytes) and a row, or a version alone for a tombstone
-- returns  the count of rows written; -1 where the bucket is missing; -2 where its epoch is another
-- cost     O(rows); at most 1000 rows a call, since Lua unpacks no more than 8000 arguments

-- A version is (event time with its sign bit flipped, generation, ordinal). The integers are
-- compared, since string order in Lua follows the locale.
local function newer(a, b)
  local a1, a2, a3, a4 = struct.unpack('>I4I4I4I7', a)
  local b1, b2, b3, b4 = struct.unpack('>I4I4I4I7', b)
  if a1 ~= b1 then return a1 > b1 end
  if a2 ~= b2 then return a2 > b2 end
  if a3 ~= b3 then return a3 > b3 end
  if a4 ~= b4 then return a4 > b4 end
  -- A full tie: the greater bytes win, so that any order of writes ends alike.
  for i = 20, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x > y end
  end
  return #a > #b
end

local function later(a, b)
  local a1, a2, a3 = struct.unpack('>I4I4I4', a)
  local b1, b2, b3 = struct.unpack('>I4I4I4', b)
  if a1 ~= b1 then return a1 > b1 end
  if a2 ~= b2 then return a2 > b2 end
  return a3 > b3
end

local rows = ARGV[3]
local keys, values, count, at = { '' }, { '' }, 1, 1
while at <= #rows do
  local keySize, valueSize, from = struct.unpack('>I2I4', rows, at)
  count = count + 1
  keys[count] = string.sub(rows, from, from + keySize - 1)
  at = from + keySize + valueSize
  values[count] = string.sub(rows, from + keySize, at - 1)
end

local stored = redis.call('HMGET', KEYS[1], unpack(keys))
local meta = stored[1]
if not meta then return -1 end
if string.sub(meta, 1, 8) ~= ARGV[1] then return -2 end

local out, size = {}, 0
for i = 2, count do
  local old, new = stored[i], values[i]
  if not old or (old ~= new and newer(new, old)) then
    out[size + 1], out[size + 2] = keys[i], new
    size = size + 2
  end
end
local written = size / 2
if ARGV[2] ~= '' and later(ARGV[2], string.sub(meta, 9, 20)) then
  out[size + 1], out[size + 2] = '', ARGV[1] .. ARGV[2]
  size = size + 2
end
if size > 0 then redis.call('HSET', KEYS[1], unpack(out, 1, size)) end
return written
