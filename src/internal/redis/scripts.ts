/**
 * What a Redis store has its server do: one script per function, which runs alone and whole.
 *
 * A script sees keys of one shard only, and every key that it uses is among its `KEYS`: a Cluster runs it where they
 * are, and refuses it while they are being moved.
 */
import { recordScript, script } from "./lua.js"

/** A command about one key. As a script it is no read for the client, which would send reads to replicas if told so. */
export const plain = script("key", "name", `return redis.call(name, key, unpack(ARGV, 2))`)

export const create = script(
  "record, epochs, ids, subjects, ends",
  "key, now, call, meta, data",
  `
if redis.call("EXISTS", record) == 1 then
  return { isDone(record, call) and "created" or "exists", "key" }
end
local m = cjson.decode(meta)
if isTaken(m, key, ids) then return { "exists", "id" } end
bounded(m, now)
enter(m, key, ids, subjects, ends)
redis.call("HSET", record, "m", cjson.encode(m), "d", data, "e", redis.call("HGET", epochs, "now") or 0, "w", call)
clearAway(record, m[ENDS], now)
return { "created" }`
)

export const load = recordScript(
  "record, epochs",
  "now",
  `
if not isAlive(m, epoch, epochs, now) then return { "none" } end
return kept`,
  "d"
)

/** The record that an index entry leads to, unless that is not there any more. */
export const follow = script(
  "record, epochs, index",
  "now, entry",
  `
if not redis.call("ZSCORE", index, entry) then return { "moved" } end
local ok, m, epoch, kept = pcall(read, record, "d")
if not ok then return { "damaged" } end
if not isAlive(m, epoch, epochs, now) then return { "none" } end
return kept`
)

/**
 * The metadata of the records that entries of subjects lead to: for each entry one text, of a word and, after a space, the
 * metadata. The further keys are the records.
 */
export const followAll = script(
  "index, epochs",
  "now",
  `
local found = {}
for i = 2, #ARGV do
  local ok, m, epoch, kept = pcall(read, KEYS[i + 1])
  if not redis.call("ZSCORE", index, ARGV[i]) then found[i - 1] = "moved"
  elseif not ok then found[i - 1] = "damaged"
  elseif not isAlive(m, epoch, epochs, now) then found[i - 1] = "none"
  else found[i - 1] = "record " .. kept[2] end
end
return found`
)

/** How old records are: for each key the time of its birth and its id, or nothing. */
export const ages = script(
  "",
  "",
  `
local found = {}
for i, record in ipairs(KEYS) do
  local ok, m = pcall(function() return cjson.decode(redis.call("HGET", record, "m") or "") end)
  local isRecord = ok and type(m) == "table" and isInteger(m[CREATED]) and type(m[ID]) == "string"
  found[i] = isRecord and m[CREATED] .. " " .. m[ID] or ""
end
return found`
)

export const save = recordScript(
  "record, epochs, ends",
  "key, now, call, meta, data, expected",
  `
if not isAlive(m, epoch, epochs, now) then return { "gone" } end
if m[VERSION] ~= expected then return { isDone(record, call) and "saved" or "conflict" } end
local new = cjson.decode(meta)
bounded(new, now, m[ENDS])
m[SCHEMA], m[WRITE], m[ATTRIBUTES] = new[SCHEMA], new[WRITE], new[ATTRIBUTES]
m[VERSION] = string.format("%.0f", tonumber(expected) + 1)
m[MODIFIED] = later(m[MODIFIED], new[MODIFIED])
m[SEEN] = later(m[SEEN], new[SEEN])
if m[LIFETIME] == new[LIFETIME] then new[ENDS] = later(m[ENDS], new[ENDS]) end
m[ENDS], m[LIFETIME] = new[ENDS], new[LIFETIME]
redis.call("ZADD", ends, m[ENDS], endEntry(m, key))
redis.call("HSET", record, "m", cjson.encode(m), "d", data, "w", callsOf(record, call))
clearAway(record, m[ENDS], now)
return { "saved" }`
)

export const touch = recordScript(
  "record, epochs, ends",
  "key, now, seen, at",
  `
if not isAlive(m, epoch, epochs, now) then return { "gone" } end
insist(record)
local deadline = tonumber(m[DEADLINE])
if deadline and deadline < tonumber(at) then at = m[DEADLINE] end
m[SEEN], m[ENDS] = later(m[SEEN], boundedSeen(seen)), later(m[ENDS], boundedEnd(at, now, seen))
redis.call("ZADD", ends, m[ENDS], endEntry(m, key))
redis.call("HSET", record, "m", cjson.encode(m))
clearAway(record, m[ENDS], now)
return { "touched" }`
)

/** Gives the name and the id that the record had before. */
export const rotate = recordScript(
  "record, epochs, ids, subjects, ends, target",
  "key, targetKey, now, call, meta, data, expected",
  `
if not isAlive(m, epoch, epochs, now) then
  return { isDone(target, call) and "saved" or "gone" }
end
local new = cjson.decode(meta)
if m[VERSION] ~= expected or redis.call("EXISTS", target) == 1 or isTaken(new, key, ids) then return { "conflict" } end
-- Nothing that was revoked until now concerns a record that is alive; with its subject it also keeps its epoch.
if m[SUBJECT] ~= new[SUBJECT] then epoch = redis.call("HGET", epochs, "now") or 0 end
new[VERSION] = string.format("%.0f", tonumber(expected) + 1)
bounded(new, now, m[ENDS])
enter(new, targetKey, ids, subjects, ends)
redis.call("HSET", target, "m", cjson.encode(new), "d", data, "e", epoch, "w", callsOf(record, call))
clearAway(target, new[ENDS], now)
redis.call("DEL", record)
leave(m, key, ids, subjects, ends)
return { "saved", idOf(m), m[ID] }`
)

/** Gives the name and the id that the record had. What is no record goes as well. */
export const destroy = script(
  "record, ids, subjects, ends",
  "key",
  `
local ok, m, _, _, elsewhere = pcall(read, record)
if ok and elsewhere then return { "elsewhere", elsewhere } end
redis.call("DEL", record)
if not ok or not m then return { "destroyed" } end
leave(m, key, ids, subjects, ends)
return { "destroyed", idOf(m), m[ID] }`
)

/** Destroys what an id leads to, also what is no record, unless the entry is not there any more. */
export const revoke = script(
  "record, ids, subjects, ends",
  "key, entry",
  `
if not redis.call("ZSCORE", ids, entry) then return { "moved" } end
local ok, m = pcall(read, record)
if ok and (not m or idEntry(m, key) ~= entry) then return { "none" } end
redis.call("DEL", record)
if ok then leave(m, key, ids, subjects, ends) else redis.call("ZREM", ids, entry) end
return { "revoked" }`
)

/**
 * Ends what is in scope. The record of the spared id stays, if it was alive and in scope: it is the one that the id's entry
 * leads to. Where there is an entry, and not the one that was told, nothing is done, and the reply has it.
 */
export const raise = script(
  "epochs, outlived, ends, ids, record",
  "scope, except, entry",
  `
local spared = false
local there = except and entriesOf(except, ids)[1]
if there and there ~= entry then return { "moved", there } end
if there then
  local ok, m, epoch = pcall(read, record)
  spared = ok and m and idOf(m) == except and m[SUBJECT] ~= cjson.null and subjectScopeOf(m) == scope and
    isCurrent(m, epoch, epochs)
end
insist(epochs)
local now = redis.call("HINCRBY", epochs, "now", 1)
redis.call("HSET", epochs, scope, now)
redis.call("ZADD", outlived, redis.call("ZREVRANGE", ends, 0, 0, "WITHSCORES")[2] or 0, scope)
if spared then redis.call("HSET", record, "e", now) end
return { "raised" }`
)

/**
 * Says how many records have expired, and the server's clock; of a caller who is ahead of it, nothing but that. Where there
 * are none, revocations are forgotten that no record is left for: what
 * they ended could not be prolonged any more.
 */
export const expired = script(
  "ends, epochs, outlived",
  "now",
  `
local time = string.format("%.0f", clock())
if tonumber(now) > time + SLACK then return { "0", time } end
local count = redis.call("ZCOUNT", ends, "-inf", now)
if count > 0 then return { tostring(count), time } end
for _, scope in ipairs(redis.call("ZRANGEBYSCORE", outlived, "-inf", now, "LIMIT", 0, 1000)) do
  redis.call("HDEL", epochs, scope)
  redis.call("ZREM", outlived, scope)
end
return { "0", time }`
)

/**
 * Of the given records, deletes those that have expired, and the entries of those that Redis has let go: gives name,
 * id and key of each. The further keys are the records.
 */
export const remove = script(
  "ids, subjects, ends",
  "now",
  `
local removed = {}
for i = 2, #ARGV do
  local entry, record = ARGV[i], KEYS[i + 2]
  local at = redis.call("ZSCORE", ends, entry)
  local isEntry, parts = pcall(cjson.decode, entry)
  if at and not isEntry then
    redis.call("ZREM", ends, entry)
  elseif at then
    local m = { [NAMESPACE] = parts[2], [ID] = parts[3], [SUBJECT] = parts[4] }
    local ok, there = pcall(read, record)
    -- Another record may have come under the key of one that was let go: it stays, and so do its entries.
    local isOther = ok and there and endEntry(there, parts[1]) ~= entry
    if tonumber(at) <= tonumber(now) or isOther or (ok and not there) then
      if not isOther then redis.call("DEL", record) end
      leave(m, parts[1], ids, subjects, ends)
      if isOther then enter(there, parts[1], ids, subjects, ends) end
      for _, text in ipairs({ idOf(m), m[ID], parts[1] }) do removed[#removed + 1] = text end
    end
  end
end
return removed`
)

/** In a Cluster: notes in which shard an id is, unless it is in another. */
export const claim = script(
  "places, due",
  "id, tag, at",
  `
local entry = id .. " " .. tag
for _, other in ipairs(entriesOf(id, places)) do
  return { other == entry and "known" or "taken" }
end
redis.call("ZADD", places, 0, entry)
redis.call("ZADD", due, at, entry)
return { "new" }`
)

/** In a Cluster: forgets where ids were. */
export const release = script(
  "places, due",
  "",
  `
for _, entry in ipairs(ARGV) do
  redis.call("ZREM", places, entry)
  redis.call("ZREM", due, entry)
end
return {}`
)

/** In a Cluster: notes at the place of a key that its record is in another shard, unless something is there. */
export const point = script(
  "record",
  "tag, deadline, now",
  `
if redis.call("EXISTS", record) == 1 then return { "taken" } end
redis.call("HSET", record, "to", tag)
if deadline ~= "" then clearAway(record, deadline, now) end
return { "pointed" }`
)

/** In a Cluster: takes that note back. */
export const unpoint = script(
  "record",
  "tag",
  `
if redis.call("HGET", record, "to") == tag then redis.call("DEL", record) end
return {}`
)
