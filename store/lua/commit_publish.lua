-- Ends a publish: what is published and the latest snapshot move together or not at all.
--
-- KEYS[1]  pointers of the view (hash)
-- KEYS[2]  snapshots of the view (hash)
-- ARGV[1]  publishing field
-- ARGV[2]  generation of the publish
-- ARGV[3]  table field
-- ARGV[4]  the table record that the entities were written under
-- ARGV[5]  ids of the Redis processes that they were written to, with "," between
-- ARGV[6]  published field
-- ARGV[7]  what is published
-- ARGV[8]  snapshot id, or "" for none
-- ARGV[9]  snapshot body
-- ARGV[10] latest field, which holds "<as of, ms> <snapshot id> <body>"
-- ARGV[11] as of, ms
-- returns  published   all is written
--          fenced      a later publish has begun
--          forgotten   Redis does not know the publish or its table: it was emptied or is an older copy
--          restarted   this Redis is another process than those that were written to
--          overwrite   the snapshot id exists with another body
-- cost     O(bytes)

local begun = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0)
local generation, snapshot = tonumber(ARGV[2]), ARGV[8]
if begun > generation then return 'fenced' end
if begun < generation or redis.call('HGET', KEYS[1], ARGV[3]) ~= ARGV[4] then return 'forgotten' end
local id = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
if not string.find(ARGV[5], id, 1, true) then return 'restarted' end
local body = snapshot ~= '' and redis.call('HGET', KEYS[2], snapshot)
if body and body ~= ARGV[9] then return 'overwrite' end

if snapshot ~= '' then
  redis.call('HSET', KEYS[2], snapshot, ARGV[9])
  redis.call('HSET', KEYS[1], ARGV[10], ARGV[11] .. ' ' .. snapshot .. ' ' .. ARGV[9])
end
redis.call('HSET', KEYS[1], ARGV[6], ARGV[7])
return 'published'
