/**
 * The language of a Redis store's scripts: what they have in common, and how one is made of a body and named arguments.
 *
 * | key        | kind       | holds                                                                                 |
 * | ---------- | ---------- | ------------------------------------------------------------------------------------- |
 * | (a record) | hash       | `m`: metadata; `d`: data; `e`: the epoch that it was made in; `w`: the latest writes  |
 * |            |            | or `to`: the shard where the record of this key is, if it was moved from there        |
 * | `ids`      | sorted set | for each record: namespace, id, store key, in the order of ids                        |
 * | `subjects` | sorted set | for each record that has a subject: namespace, subject, store key                     |
 * | `ends`     | sorted set | for each record: store key, namespace, id, subject, by its end                        |
 * | `epochs`   | hash       | `now`: the epoch; for each namespace and subject: the epoch of its last revocation    |
 * | `outlived` | sorted set | for each of those: the end of the last record that it can concern                     |
 * | `places`   | sorted set | in a Cluster, for each id that begins with the shard's tag: in which shard it is      |
 * | `due`      | sorted set | for each of those: when to look whether it still is                                   |
 *
 * Redis may let a record go by itself (expired a minute ago, or evicted). Its entries stay in the sorted sets until its
 * end has come: who reads them asks for the record too.
 */
import { sha1 } from "@noble/hashes/legacy.js"
import * as Encoding from "effect/Encoding"
import { clockSlack } from "../../SessionRecord.js"
import { positions } from "./record.js"

/** A script, and the name that the server gives it. */
export interface Script {
  readonly text: string
  readonly sha: string
}

/** What scripts have in common, by name. Each may use those before it; a script gets what it uses. */
const library: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    Array.from(positions, ([name, position]) => [name, `local ${name} = ${position}`])
  ),

  // How far clocks may differ. Redis only clears away what nobody has cleared before.
  SLACK: `local SLACK = ${clockSlack}`,

  isInteger: `local function isInteger(text) return type(text) == "string" and string.match(text, "^-?%d+$") end`,

  // The record under a key, its epoch, and what else is asked for; nothing if there is none. Last, where it is, if it
  // was moved elsewhere.
  read: `
local function read(key, field)
  local kept = redis.call("HMGET", key, "m", "e", "to", field or "m")
  local epoch = tonumber(kept[2] or "")
  if not kept[1] and (kept[3] or redis.call("EXISTS", key) == 0) then return nil, nil, nil, kept[3] end
  local ok, m = pcall(cjson.decode, kept[1])
  local isRecord = ok and epoch and type(m) == "table" and type(m[NAMESPACE]) == "string" and
    type(m[ID]) == "string" and (type(m[SUBJECT]) == "string" or m[SUBJECT] == cjson.null) and
    isInteger(m[VERSION]) and isInteger(m[MODIFIED]) and isInteger(m[SEEN]) and isInteger(m[ENDS])
  if not isRecord then error("CORRUPT") end
  return m, epoch, { "record", kept[1], kept[4] }
end`,

  // The length keeps the parts apart, whatever they contain.
  scopeOf: `local function scopeOf(m) return #m[NAMESPACE] .. ":" .. m[NAMESPACE] end`,
  subjectScopeOf: `local function subjectScopeOf(m) return scopeOf(m) .. ":" .. m[SUBJECT] end`,
  idOf: `local function idOf(m) return scopeOf(m) .. m[ID] end`,
  idEntry: `local function idEntry(m, key) return idOf(m) .. " " .. key end`,
  subjectEntry: `local function subjectEntry(m, key) return scopeOf(m) .. #m[SUBJECT] .. ":" .. m[SUBJECT] .. key end`,
  endEntry: `local function endEntry(m, key) return cjson.encode({ key, m[NAMESPACE], m[ID], m[SUBJECT] }) end`,

  // Whether nothing was revoked since the record's epoch that concerns it.
  isCurrent: `
local function isCurrent(m, epoch, epochs)
  local scope = scopeOf(m)
  local raised = redis.call("HMGET", epochs, scope, m[SUBJECT] == cjson.null and scope or subjectScopeOf(m))
  return epoch >= tonumber(raised[1] or 0) and epoch >= tonumber(raised[2] or 0)
end`,
  isAlive: `
local function isAlive(m, epoch, epochs, now)
  return m and tonumber(m[ENDS]) > tonumber(now) and isCurrent(m, epoch, epochs)
end`,

  later: `local function later(a, b) if tonumber(b) > tonumber(a) then return b else return a end end`,
  earlier: `local function earlier(a, b) if tonumber(b) < tonumber(a) then return b else return a end end`,

  // The clock of this server, in milliseconds since the epoch.
  clock: `
local function clock()
  local time = redis.call("TIME")
  return time[1] * 1000 + math.floor(time[2] / 1000)
end`,

  // What the functions of the same names in SessionStore.ts do. Before: the end that the record had, if there was one.
  boundedEnd: `
local function boundedEnd(at, now, seen, before)
  local clock = clock()
  local ahead = math.max(0, tonumber(at) - math.max(clock, tonumber(now), tonumber(seen)))
  local reach = string.format("%.0f", clock + SLACK + ahead)
  return earlier(at, before and later(before, reach) or reach)
end`,
  boundedSeen: `local function boundedSeen(at) return earlier(at, string.format("%.0f", clock() + SLACK)) end`,
  bounded: `
local function bounded(m, now, before)
  local isMoment = type(m[LIFETIME]) == "string" and string.sub(m[LIFETIME], 1, 5) == "Until"
  if not isMoment then m[ENDS] = boundedEnd(m[ENDS], now, m[SEEN], before) end
  m[SEEN], m[MODIFIED] = boundedSeen(m[SEEN]), boundedSeen(m[MODIFIED])
end`,

  // Times are those of the caller, where that one is not ahead: only the distance between them means something here.
  clearAway: `
local function clearAway(key, at, now)
  local left = math.max(tonumber(at) - math.min(tonumber(now), clock()), 0)
  redis.call("PEXPIRE", key, string.format("%.0f", left + SLACK))
end`,

  // Entries come before the record and go after it: what is not whole can be found, and is no record.
  enter: `
local function enter(m, key, ids, subjects, ends)
  redis.call("ZADD", ids, 0, idEntry(m, key))
  if m[SUBJECT] ~= cjson.null then redis.call("ZADD", subjects, 0, subjectEntry(m, key)) end
  redis.call("ZADD", ends, m[ENDS], endEntry(m, key))
end`,
  leave: `
local function leave(m, key, ids, subjects, ends)
  redis.call("ZREM", ids, idEntry(m, key))
  if m[SUBJECT] ~= cjson.null then redis.call("ZREM", subjects, subjectEntry(m, key)) end
  redis.call("ZREM", ends, endEntry(m, key))
end`,

  // Drivers send a command again when its reply was lost. A call that has already been done is answered as it was.
  isDone: `
local function isDone(key, call)
  return string.find(redis.call("HGET", key, "w") or "", call, 1, true) ~= nil
end`,
  callsOf: `
local function callsOf(key, call)
  return call .. string.sub(redis.call("HGET", key, "w") or "", 1, 7 * #call)
end`,

  // A server whose memory is full refuses a script whose first write needs memory. This one needs none, so that users
  // whose sessions are only looked at stay, and those who are to go, go.
  insist: `local function insist(key) redis.call("HDEL", key, "") end`,

  // What an index has of an id: one entry at the most.
  entriesOf: `
local function entriesOf(id, index) return redis.call("ZRANGEBYLEX", index, "[" .. id .. " ", "(" .. id .. "!") end`,

  // Whether another key than this one has the id.
  isTaken: `
local function isTaken(m, key, ids)
  for _, entry in ipairs(entriesOf(idOf(m), ids)) do
    if entry ~= idEntry(m, key) then return true end
  end
  return false
end`
}

const withLibrary = (body: string): string =>
  Object.entries(library).reduceRight(
    (text, [name, piece]) => new RegExp(`\\b${name}\\b`).test(text) ? `${piece.trim()}\n${text}` : text,
    body
  )

/**
 * Ends every script with a write that changes nothing, for which a replica refuses it: no answer of a replica decides anything,
 * wherever a client sends a script. Its other failures (a key of another type, a full disk) mean nothing here.
 */
const onPrimary = `
local reply = main()
local probe = redis.pcall("HDEL", KEYS[1], "")
if type(probe) == "table" and string.find(probe.err or "", "READONLY", 1, true) then
  return redis.error_reply("READONLY the server is a replica")
end
return reply`.trim()

/** A script whose keys and arguments have these names. */
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

/** A script about the record of a key, which must be in this shard; `kept` is a reply with a field of the record. */
export const recordScript = (keys: string, args: string, body: string, field = "m"): Script =>
  script(
    keys,
    args,
    `
local m, epoch, kept, elsewhere = read(record, "${field}")
if elsewhere then return { "elsewhere", elsewhere } end${body}`
  )
