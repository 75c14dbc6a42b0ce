/**
 * The Lua function library of the Redis store, and the builder that makes a script of a body and named arguments.
 *
 * | key        | kind       | holds                                                                                      |
 * | ---------- | ---------- | ------------------------------------------------------------------------------------------ |
 * | (a record) | hash       | `m`: metadata; `d`: data; `e`: the epoch of its creation; `w`: the names of the last       |
 * |            |            | writes; `v`: the name of the last write that a limit applied to, and the ids that it ended |
 * |            |            | Or a forwarding entry, `to`: the shard that a rotation to this key left the record in      |
 * | `ended:…`  | hash       | for a store key whose session has ended: `r`: the reason; `u`: when the session would have |
 * |            |            | expired                                                                                    |
 * | `ids`      | sorted set | index by id: for each record namespace, id, store key, in lexical order                    |
 * | `subjects` | sorted set | index by subject: for each record with a subject: namespace, subject, store key            |
 * | `ends`     | sorted set | expiry index: for each record store key, namespace, id, subject, scored by its expiry time |
 * | `epochs`   | hash       | `now`: the current epoch; for each namespace and subject: the epoch of its last revocation |
 * | `outlived` | sorted set | garbage collection of revocations: each of those namespaces and subjects, scored by the    |
 * |            |            | expiry time of the last record that it can have ended                                      |
 * | `places`   | sorted set | Cluster only, id directory: for each id that begins with the shard's tag, its shard        |
 * | `due`      | sorted set | Cluster only, recheck queue: each of those entries, scored by the time of its next check   |
 * | `lock:…`   | hash       | Cluster only, the lock of a subject: `h`: the call that holds it; `u`: the time until      |
 * |            |            | which that call may write                                                                  |
 *
 * Redis may delete a record by itself (a minute after its expiry, or by eviction). The entries stay in the sorted sets until
 * the expiry time, so a reader of an index must look at the record, too.
 */
import { sha1 } from "@noble/hashes/legacy.js"
import * as Encoding from "effect/Encoding"
import { clockSlack } from "../../SessionRecord.js"
import { positions } from "./record.js"

/** A script, and the hash by which the server caches it. */
export interface Script {
  readonly text: string
  readonly sha: string
}

/** Definitions by name. Each may use those before it; a script contains only the ones that it uses. */
const library: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    Array.from(positions, ([name, position]) => [name, `local ${name} = ${position}`])
  ),

  // Milliseconds by which clocks may differ. Redis deletes an expired record this much later.
  SLACK: `local SLACK = ${clockSlack}`,

  isInteger: `local function isInteger(text) return type(text) == "string" and string.match(text, "^-?%d+$") end`,

  // Returns the metadata under a key, the epoch, and a reply with the metadata and the given field; nil if there is no
  // record. The fourth value is the shard of a forwarding entry.
  read: `
local function read(key, field)
  local stored = redis.call("HMGET", key, "m", "e", "to", field or "m")
  local epoch = tonumber(stored[2] or "")
  if not stored[1] and (stored[3] or redis.call("EXISTS", key) == 0) then return nil, nil, nil, stored[3] end
  local ok, m = pcall(cjson.decode, stored[1])
  local isRecord = ok and epoch and type(m) == "table" and type(m[NAMESPACE]) == "string" and
    type(m[ID]) == "string" and (type(m[SUBJECT]) == "string" or m[SUBJECT] == cjson.null) and
    isInteger(m[VERSION]) and isInteger(m[MODIFIED]) and isInteger(m[SEEN]) and isInteger(m[ENDS])
  if not isRecord then error("CORRUPT") end
  return m, epoch, { "record", stored[1], stored[4] }
end`,

  // Length prefixes keep the parts of an entry apart, whatever they contain.
  scopeOf: `local function scopeOf(m) return #m[NAMESPACE] .. ":" .. m[NAMESPACE] end`,
  subjectScopeOf: `local function subjectScopeOf(m) return scopeOf(m) .. ":" .. m[SUBJECT] end`,
  idOf: `local function idOf(m) return scopeOf(m) .. m[ID] end`,
  idEntry: `local function idEntry(m, key) return idOf(m) .. " " .. key end`,
  subjectEntry: `local function subjectEntry(m, key) return scopeOf(m) .. #m[SUBJECT] .. ":" .. m[SUBJECT] .. key end`,
  expiryEntry: `local function expiryEntry(m, key) return cjson.encode({ key, m[NAMESPACE], m[ID], m[SUBJECT] }) end`,

  // The revocation since the record's epoch that applies to it, as an end reason; nil if there is none.
  revocationOf: `
local function revocationOf(m, epoch, epochs)
  local scope = scopeOf(m)
  local revoked = redis.call("HMGET", epochs, scope, m[SUBJECT] == cjson.null and scope or subjectScopeOf(m))
  if epoch < tonumber(revoked[1] or 0) then return "allRevoked" end
  if epoch < tonumber(revoked[2] or 0) then return "subjectRevoked" end
end`,
  isCurrent: `local function isCurrent(m, epoch, epochs) return revocationOf(m, epoch, epochs) == nil end`,
  isAlive: `
local function isAlive(m, epoch, epochs, now)
  return m and tonumber(m[ENDS]) > tonumber(now) and isCurrent(m, epoch, epochs)
end`,

  later: `local function later(a, b) if tonumber(b) > tonumber(a) then return b else return a end end`,
  earlier: `local function earlier(a, b) if tonumber(b) < tonumber(a) then return b else return a end end`,

  // The server's clock, in milliseconds since 1970.
  clock: `
local function clock()
  local time = redis.call("TIME")
  return time[1] * 1000 + math.floor(time[2] / 1000)
end`,

  // The same as `bounded` and `boundedTouch` of SessionRecord.ts. `before`: the expiry time that the record had, if any.
  boundedEnd: `
local function boundedEnd(at, now, seen, before)
  local serverTime = clock()
  local ahead = math.max(0, tonumber(at) - math.max(serverTime, tonumber(now), tonumber(seen)))
  local latest = string.format("%.0f", serverTime + SLACK + ahead)
  return earlier(at, before and later(before, latest) or latest)
end`,
  boundedSeen: `local function boundedSeen(at) return earlier(at, string.format("%.0f", clock() + SLACK)) end`,
  bounded: `
local function bounded(m, now, before)
  local isMoment = type(m[LIFETIME]) == "string" and string.sub(m[LIFETIME], 1, 5) == "Until"
  if not isMoment then m[ENDS] = boundedEnd(m[ENDS], now, m[SEEN], before) end
  m[SEEN], m[MODIFIED] = boundedSeen(m[SEEN]), boundedSeen(m[MODIFIED])
end`,

  // Lets Redis delete the key after the record's expiry. Both times are the caller's, so only their distance counts; if the
  // caller's clock is ahead, the server's time replaces `now`.
  setTimeToLive: `
local function setTimeToLive(key, at, now)
  local left = math.max(tonumber(at) - math.min(tonumber(now), clock()), 0)
  redis.call("PEXPIRE", key, string.format("%.0f", left + SLACK))
end`,

  // Entries are inserted before the record is written and removed after it is deleted: an interrupted script leaves
  // entries without a record, and never a record without entries.
  insertEntries: `
local function insertEntries(m, key, ids, subjects, expiryIndex)
  redis.call("ZADD", ids, 0, idEntry(m, key))
  if m[SUBJECT] ~= cjson.null then redis.call("ZADD", subjects, 0, subjectEntry(m, key)) end
  redis.call("ZADD", expiryIndex, m[ENDS], expiryEntry(m, key))
end`,
  removeEntries: `
local function removeEntries(m, key, ids, subjects, expiryIndex)
  redis.call("ZREM", ids, idEntry(m, key))
  if m[SUBJECT] ~= cjson.null then redis.call("ZREM", subjects, subjectEntry(m, key)) end
  redis.call("ZREM", expiryIndex, expiryEntry(m, key))
end`,

  // Keeps why the session of a store key has ended, after its record was deleted: so a server whose memory is full accepts the
  // writes. A failure never fails the script, because the session has ended. The reason is kept until the session would have expired;
  // that of a rotation for a day at most, because a session may rotate often.
  keepReason: `
local function keepReason(ended, reason, at)
  pcall(function()
    local time = clock()
    redis.call("HSET", ended, "r", reason, "u", at)
    setTimeToLive(ended, reason == "rotated" and math.min(tonumber(at), time + 86400000) or at, time)
  end)
end`,

  // Drivers resend a command whose reply was lost. A call that is already done gets its first reply again.
  isDone: `
local function isDone(key, call)
  return string.find(redis.call("HGET", key, "w") or "", call, 1, true) ~= nil
end`,
  lastCalls: `
local function lastCalls(key, call)
  return call .. string.sub(redis.call("HGET", key, "w") or "", 1, 7 * #call)
end`,
  // The reply of a call that is already done: `word`, or the ids of the sessions that a limit ended for it. An outcome of five
  // texts, of which a rotation uses the others, and the ids.
  doneReply: `
local function doneReply(key, call, word)
  local limited = redis.call("HGET", key, "v") or ""
  if string.sub(limited, 1, #call) ~= call then return { word } end
  local reply = { "evicted", "", "", "", "" }
  for id in string.gmatch(string.sub(limited, #call + 1), "%S+") do reply[#reply + 1] = id end
  return reply
end`,

  // A server whose memory is full rejects a script whose first write needs memory. HDEL needs none, so a touch or a
  // revocation that begins with it succeeds.
  allowWhenFull: `local function allowWhenFull(key) redis.call("HDEL", key, "") end`,

  // The entries of an id in an index: at most one.
  entriesOfId: `
local function entriesOfId(id, index) return redis.call("ZRANGEBYLEX", index, "[" .. id .. " ", "(" .. id .. "!") end`,

  // Whether the caller's lock may be another one's by now.
  isLate: `local function isLate(deadline) return deadline and deadline ~= "" and clock() > tonumber(deadline) end`,

  // Whether the id belongs to a record under another key.
  isIdTaken: `
local function isIdTaken(m, key, ids)
  for _, entry in ipairs(entriesOfId(idOf(m), ids)) do
    if entry ~= idEntry(m, key) then return true end
  end
  return false
end`,

  // The live sessions of the subject of a new record that a limit ends, oldest first; none without a limit. After the named keys and
  // arguments of the script come the subject's index entries: two keys (record, end reason) and one argument for each. If the index
  // has others, or the limit denies the record, the first value is nil and the second one is the reply. `key`: of the record that the
  // new one replaces.
  surplus: `
local function surplus(new, key, now, max, onFull, subjects, epochs, keysBefore, argsBefore)
  if not max or new[SUBJECT] == cjson.null then return {} end
  local positions = {}
  for i = argsBefore + 1, #ARGV do positions[ARGV[i]] = keysBefore + 2 * (i - argsBefore) - 1 end
  local prefix = subjectEntry(new, "")
  local entries = redis.call("ZRANGEBYLEX", subjects, "[" .. prefix, "(" .. prefix .. "\\127")
  local others = {}
  for _, entry in ipairs(entries) do
    local position, otherKey = positions[entry], string.sub(entry, #prefix + 1)
    if not position then
      table.insert(entries, 1, "moved")
      return nil, entries
    end
    local ok, m, epoch = pcall(read, KEYS[position])
    local counts = otherKey ~= key and ok and isAlive(m, epoch, epochs, now) and m[ID] ~= new[ID] and
      m[SUBJECT] ~= cjson.null and subjectEntry(m, otherKey) == entry
    if counts then others[#others + 1] = { m = m, key = otherKey, record = KEYS[position], ended = KEYS[position + 1] } end
  end
  local excess = #others + 1 - tonumber(max)
  if excess <= 0 then return {} end
  if onFull == "deny" then return nil, { "full" } end
  table.sort(others, function(a, b)
    local first, second = tonumber(a.m[CREATED]), tonumber(b.m[CREATED])
    if first == second then return a.m[ID] < b.m[ID] end
    return first < second
  end)
  local oldest = {}
  for i = 1, math.min(excess, #others) do oldest[i] = others[i] end
  return oldest
end`,
  // Ends the sessions of `surplus`, after `target` was written, which needs memory. Appends their ids to the reply.
  evict: `
local function evict(surplus, target, call, reply, ids, subjects, expiryIndex)
  if #surplus == 0 then return reply end
  local limited = { call }
  reply[1] = "evicted"
  for i = 2, 5 do reply[i] = reply[i] or "" end
  for i, other in ipairs(surplus) do
    redis.call("DEL", other.record)
    keepReason(other.ended, "limit", other.m[ENDS])
    removeEntries(other.m, other.key, ids, subjects, expiryIndex)
    reply[#reply + 1], limited[i + 1] = other.m[ID], other.m[ID]
  end
  redis.call("HSET", target, "v", table.concat(limited, " "))
  return reply
end`
}

const withLibrary = (body: string): string =>
  Object.entries(library).reduceRight(
    (text, [name, piece]) => new RegExp(`\\b${name}\\b`).test(text) ? `${piece.trim()}\n${text}` : text,
    body
  )

/**
 * Ends every script with a write that changes nothing, which a replica rejects: so a replica's reply is never used, wherever a client
 * sends a script. Other failures of that write (a key of another type, a full disk) are ignored.
 */
const onPrimary = `
local reply = main()
local probe = redis.pcall("HDEL", KEYS[1], "")
if type(probe) == "table" and string.find(probe.err or "", "READONLY", 1, true) then
  return redis.error_reply("READONLY the server is a replica")
end
return reply`.trim()

/** Makes a script whose body uses keys and arguments by these names. */
export const script = (keys: string, args: string, body: string): Script => {
  const names = (list: string, from: string) =>
    list === "" ? "" : `local ${list} = ${list.split(", ").map((_, i) => `${from}[${i + 1}]`).join(", ")}\n`
  const text = withLibrary(`
${names(keys, "KEYS")}${names(args, "ARGV")}local function main()
${body.trim()}
end
${onPrimary}`.trim())
  return { text, sha: Encoding.encodeHex(sha1(new TextEncoder().encode(text))) }
}

/**
 * Makes a script that first reads the record under the key `record`, and returns if the record is in another shard. `found` is a reply
 * with the metadata and `field` of the record.
 */
export const recordScript = (keys: string, args: string, body: string, field = "m"): Script =>
  script(
    keys,
    args,
    `
local m, epoch, found, relocatedTo = read(record, "${field}")
if relocatedTo then return { "relocated", relocatedTo } end${body}`
  )
