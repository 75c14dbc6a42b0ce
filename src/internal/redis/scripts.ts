/**
 * The scripts of the Redis store. Each runs atomically on the server.
 *
 * A script uses keys of one shard only, and declares all of them in `KEYS`: a Cluster routes it by them, and rejects it while they are
 * being migrated.
 */
import { recordScript, script } from "./lua.js"

/** Runs a command on one key. Wrapped in a script it always goes to a primary: clients may send plain reads to replicas. */
export const command = script("key", "name", `return redis.call(name, key, unpack(ARGV, 2))`)

/**
 * Inserts a record. A limit (`max`, `onFull`) is enforced in the same step, on one node; see `surplus` for its other keys and arguments.
 * In a Cluster the caller has a lock until `deadline`, in milliseconds of the server's clock: `late` means that only the time was wrong.
 */
export const create = script(
  "record, epochs, ids, subjects, expiryIndex, ended",
  "key, now, call, meta, data, deadline, max, onFull",
  `
if redis.call("EXISTS", record) == 1 then
  if isDone(record, call) then return doneReply(record, call, "created") end
  return { "exists", "key" }
end
local m = cjson.decode(meta)
if isIdTaken(m, key, ids) then return { "exists", "id" } end
if isLate(deadline) then return { "late" } end
local oldest, refused = surplus(m, key, now, max, onFull, subjects, epochs, 6, 8)
if refused then return refused end
bounded(m, now)
insertEntries(m, key, ids, subjects, expiryIndex)
redis.call("HSET", record, "m", cjson.encode(m), "d", data, "e", redis.call("HGET", epochs, "now") or 0, "w", call)
setTimeToLive(record, m[ENDS], now)
redis.call("DEL", ended)
return evict(oldest, record, call, { "created" }, ids, subjects, expiryIndex)`
)

export const load = recordScript(
  "record, epochs",
  "now",
  `
if not isAlive(m, epoch, epochs, now) then return { "none" } end
return found`,
  "d"
)

/** Loads the record of an index entry; `moved` if the entry is no longer in the index. */
export const loadByEntry = script(
  "record, epochs, index",
  "now, entry",
  `
if not redis.call("ZSCORE", index, entry) then return { "moved" } end
local ok, m, epoch, found = pcall(read, record, "d")
if not ok then return { "corrupt" } end
if not isAlive(m, epoch, epochs, now) then return { "none" } end
return found`
)

/**
 * Loads the metadata of the records of subject entries: for each entry one text, a word and, after a space, the metadata. The other
 * keys are the records.
 */
export const loadInfosByEntries = script(
  "index, epochs",
  "now",
  `
local found = {}
for i = 2, #ARGV do
  local ok, m, epoch, reply = pcall(read, KEYS[i + 1])
  if not redis.call("ZSCORE", index, ARGV[i]) then found[i - 1] = "moved"
  elseif not ok then found[i - 1] = "corrupt"
  elseif not isAlive(m, epoch, epochs, now) then found[i - 1] = "none"
  else found[i - 1] = "record " .. reply[2] end
end
return found`
)

/** Returns for each key the creation time and the id of its record, or an empty text. */
export const creationTimes = script(
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
  "record, epochs, expiryIndex",
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
redis.call("ZADD", expiryIndex, m[ENDS], expiryEntry(m, key))
redis.call("HSET", record, "m", cjson.encode(m), "d", data, "w", lastCalls(record, call))
setTimeToLive(record, m[ENDS], now)
return { "saved" }`
)

export const touch = recordScript(
  "record, epochs, expiryIndex",
  "key, now, seen, at",
  `
if not isAlive(m, epoch, epochs, now) then return { "gone" } end
allowWhenFull(record)
local deadline = tonumber(m[DEADLINE])
if deadline and deadline < tonumber(at) then at = m[DEADLINE] end
m[SEEN], m[ENDS] = later(m[SEEN], boundedSeen(seen)), later(m[ENDS], boundedEnd(at, now, seen))
redis.call("ZADD", expiryIndex, m[ENDS], expiryEntry(m, key))
redis.call("HSET", record, "m", cjson.encode(m))
setTimeToLive(record, m[ENDS], now)
return { "touched" }`
)

/**
 * Moves a record to another key. Replies with the qualified id and the id that the record had before, the reason for the old key and
 * until when it is kept. For the limit see `create`; `late` comes with the id of the record.
 */
export const rotate = recordScript(
  "record, epochs, ids, subjects, expiryIndex, target, ended, targetEnded",
  "key, targetKey, now, call, meta, data, expected, deadline, max, onFull",
  `
if not isAlive(m, epoch, epochs, now) then
  if isDone(target, call) then return doneReply(target, call, "saved") end
  return { "gone" }
end
local new = cjson.decode(meta)
if m[VERSION] ~= expected or redis.call("EXISTS", target) == 1 or isIdTaken(new, key, ids) then return { "conflict" } end
if isLate(deadline) then return { "late", m[ID] } end
local oldest, refused = surplus(new, key, now, max, onFull, subjects, epochs, 8, 10)
if refused then return refused end
-- The record is alive, so no revocation until now applies to it. Its epoch is that of the revocations of its subject.
if m[SUBJECT] ~= new[SUBJECT] then epoch = redis.call("HGET", epochs, "now") or 0 end
new[VERSION] = string.format("%.0f", tonumber(expected) + 1)
bounded(new, now, m[ENDS])
insertEntries(new, targetKey, ids, subjects, expiryIndex)
redis.call("HSET", target, "m", cjson.encode(new), "d", data, "e", epoch, "w", lastCalls(record, call))
setTimeToLive(target, new[ENDS], now)
redis.call("DEL", record, targetEnded)
keepReason(ended, "rotated", m[ENDS])
removeEntries(m, key, ids, subjects, expiryIndex)
return evict(oldest, target, call, { "saved", idOf(m), m[ID], "rotated", m[ENDS] }, ids, subjects, expiryIndex)`
)

/**
 * Deletes the record, even if it is corrupt. Replies with the qualified id and the id that it had, the reason and until when it is kept.
 */
export const destroy = script(
  "record, epochs, ids, subjects, expiryIndex, ended",
  "key",
  `
local ok, m, epoch, _, relocatedTo = pcall(read, record)
if ok and relocatedTo then return { "relocated", relocatedTo } end
redis.call("DEL", record)
if not ok or not m then return { "destroyed" } end
removeEntries(m, key, ids, subjects, expiryIndex)
local reason = revocationOf(m, epoch, epochs) or "loggedOut"
keepReason(ended, reason, m[ENDS])
return { "destroyed", idOf(m), m[ID], reason, m[ENDS] }`
)

/**
 * Deletes the record of an id's entry, even if it is corrupt; `moved` if the entry is no longer in the index. With `owner`, the entry of
 * the index by subject, only if the record is that subject's. Replies with the reason and until when it is kept.
 */
export const revoke = script(
  "record, epochs, ids, subjects, expiryIndex, ended",
  "key, entry, reason, owner",
  `
if not redis.call("ZSCORE", ids, entry) then return { "moved" } end
local ok, m, epoch = pcall(read, record)
if ok and (not m or idEntry(m, key) ~= entry) then return { "none" } end
local isOwn = not owner
if owner and ok then isOwn = m[SUBJECT] ~= cjson.null and subjectEntry(m, key) == owner end
-- The subject of a record that is corrupt is known from the index only.
if owner and not ok then isOwn = redis.call("ZSCORE", subjects, owner) end
if not isOwn then return { "none" } end
redis.call("DEL", record)
if not ok then
  redis.call("ZREM", ids, entry)
  return { "revoked" }
end
removeEntries(m, key, ids, subjects, expiryIndex)
reason = revocationOf(m, epoch, epochs) or reason
keepReason(ended, reason, m[ENDS])
return { "revoked", reason, m[ENDS] }`
)

/** Replies with the reason why the session of a key has ended; `none` if it is alive or the reason is not known. */
export const endReason = script(
  "record, epochs, ended",
  "now",
  `
local ok, m, epoch, _, relocatedTo = pcall(read, record)
if not ok then return { "none" } end
if relocatedTo then return { "relocated", relocatedTo } end
if m then
  if tonumber(m[ENDS]) <= tonumber(now) then return { "expired" } end
  return { revocationOf(m, epoch, epochs) or "none" }
end
local kept = redis.call("HMGET", ended, "r", "u")
if kept[1] and tonumber(kept[2] or 0) > tonumber(now) then return { kept[1] } end
return { "none" }`
)

/**
 * Ends the sessions of a scope (a subject or a namespace). The record of the id `except` stays alive if it was alive and in scope: it
 * is the record of `entry`, the id's entry in the index. If the index has another entry, nothing is done, and the reply has that entry.
 */
export const revokeScope = script(
  "epochs, revocationGc, expiryIndex, ids, record",
  "scope, except, entry",
  `
local spared = false
local current = except and entriesOfId(except, ids)[1]
if current and current ~= entry then return { "moved", current } end
if current then
  local ok, m, epoch = pcall(read, record)
  spared = ok and m and idOf(m) == except and m[SUBJECT] ~= cjson.null and subjectScopeOf(m) == scope and
    isCurrent(m, epoch, epochs)
end
allowWhenFull(epochs)
local now = redis.call("HINCRBY", epochs, "now", 1)
redis.call("HSET", epochs, scope, now)
redis.call("ZADD", revocationGc, redis.call("ZREVRANGE", expiryIndex, 0, 0, "WITHSCORES")[2] or 0, scope)
if spared then redis.call("HSET", record, "e", now) end
return { "revoked" }`
)

/**
 * Replies with the number of expired records and the server's clock; with no records if the caller's clock is ahead. If no record has
 * expired, deletes the revocations whose records have all expired: none of those could be prolonged any more.
 */
export const countExpired = script(
  "expiryIndex, epochs, revocationGc",
  "now",
  `
local time = string.format("%.0f", clock())
if tonumber(now) > time + SLACK then return { "0", time } end
local count = redis.call("ZCOUNT", expiryIndex, "-inf", now)
if count > 0 then return { tostring(count), time } end
for _, scope in ipairs(redis.call("ZRANGEBYSCORE", revocationGc, "-inf", now, "LIMIT", 0, 1000)) do
  redis.call("HDEL", epochs, scope)
  redis.call("ZREM", revocationGc, scope)
end
return { "0", time }`
)

/**
 * Deletes the records of these entries that have expired, and the entries whose record Redis has deleted by itself. Replies with
 * qualified id, id and key of each. The other keys are the records.
 */
export const cleanUp = script(
  "ids, subjects, expiryIndex",
  "now",
  `
local removed = {}
for i = 2, #ARGV do
  local entry, record = ARGV[i], KEYS[i + 2]
  local at = redis.call("ZSCORE", expiryIndex, entry)
  local isEntry, parts = pcall(cjson.decode, entry)
  if at and not isEntry then
    redis.call("ZREM", expiryIndex, entry)
  elseif at then
    local m = { [NAMESPACE] = parts[2], [ID] = parts[3], [SUBJECT] = parts[4] }
    local ok, current = pcall(read, record)
    -- A new record may have been created under the key of one that Redis deleted: it stays, and so do its entries.
    local isOther = ok and current and expiryEntry(current, parts[1]) ~= entry
    if tonumber(at) <= tonumber(now) or isOther or (ok and not current) then
      if not isOther then redis.call("DEL", record) end
      removeEntries(m, parts[1], ids, subjects, expiryIndex)
      if isOther then insertEntries(current, parts[1], ids, subjects, expiryIndex) end
      for _, text in ipairs({ idOf(m), m[ID], parts[1] }) do removed[#removed + 1] = text end
    end
  end
end
return removed`
)

/** Cluster only: writes the shard of an id to the id directory; `taken` if the id is in another shard. */
export const reserveId = script(
  "idDirectory, recheckQueue",
  "id, tag, at",
  `
local entry = id .. " " .. tag
for _, other in ipairs(entriesOfId(id, idDirectory)) do
  return { other == entry and "known" or "taken" }
end
redis.call("ZADD", idDirectory, 0, entry)
redis.call("ZADD", recheckQueue, at, entry)
return { "new" }`
)

/** Cluster only: removes entries from the id directory. */
export const releaseIds = script(
  "idDirectory, recheckQueue",
  "",
  `
for _, entry in ipairs(ARGV) do
  redis.call("ZREM", idDirectory, entry)
  redis.call("ZREM", recheckQueue, entry)
end
return {}`
)

/** Cluster only: writes a forwarding entry under a free key, whose record is in another shard. */
export const addForwarding = script(
  "record, ended",
  "tag, deadline, now",
  `
if redis.call("EXISTS", record) == 1 then return { "taken" } end
redis.call("HSET", record, "to", tag)
if deadline ~= "" then setTimeToLive(record, deadline, now) end
redis.call("DEL", ended)
return { "added" }`
)

/** Cluster only: removes a forwarding entry, and keeps the reason why its record has ended, if there is one. */
export const removeForwarding = script(
  "record, ended",
  "tag, reason, at",
  `
if redis.call("HGET", record, "to") ~= tag then return {} end
redis.call("DEL", record)
if reason then keepReason(ended, reason, at) end
return {}`
)

/**
 * Cluster only: locks a subject for a call, for at most `lease` milliseconds. Replies with the time until which the call may write,
 * `allowed` milliseconds later by the server's clock; `held` if another call has the lock.
 */
export const acquireLock = script(
  "lock",
  "call, lease, allowed",
  `
local held = redis.call("HMGET", lock, "h", "u")
if held[1] == call then return { "acquired", held[2] } end
if held[1] then return { "held" } end
local deadline = string.format("%.0f", clock() + tonumber(allowed))
redis.call("HSET", lock, "h", call, "u", deadline)
redis.call("PEXPIRE", lock, lease)
return { "acquired", deadline }`
)

/** Cluster only: removes the lock of a call. */
export const releaseLock = script(
  "lock",
  "call",
  `
if redis.call("HGET", lock, "h") == call then redis.call("DEL", lock) end
return {}`
)
