/**
 * Finds and ends sessions by the secondary indexes: by id, by subject or namespace, by expiry. An index entry is a hint, and the record
 * is authoritative. A session that was rotated between the reads of the two is looked up again.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type { SessionId } from "../../SessionId.js"
import type { SessionInfo, SessionRecord } from "../../SessionRecord.js"
import type { Corrupt, EndReason, Located, Page, SessionStoreError } from "../../SessionStore.js"
import { checkClock, pageOf, pageSize } from "../../SessionStore.js"
import type { StoreKey } from "../../StoreKey.js"
import { parse as parseKey } from "../../StoreKey.js"
import { orCorruptEntry, orLeftOut } from "../store/corrupt.js"
import type { Calls, Reply } from "./calls.js"
import { decoded, outcome } from "./calls.js"
import { decodeInfo, decodeRecord } from "./record.js"
import * as Scripts from "./scripts.js"
import type { Forwarding, IdDirectory, QualifiedId, Shard, Shards } from "./shards.js"
import { entryOf, idOf, keptReasonIn, qualified, qualifiedIdIn, subjectPrefixOf, suffixOf } from "./shards.js"

type Result<A> = Effect.Effect<A, SessionStoreError>

/** Decodes the record in a script's reply, if there is one; fails with `corrupt` if the script could not read it. */
const decodeReply = <A>(
  calls: Calls,
  [word, metadata = "", data]: Reply,
  decode: (metadata: string, data?: string) => A
) =>
  word === "record" || word === "corrupt"
    ? Effect.asSome(decoded(calls, () => {
      if (word === "corrupt") throw new TypeError("the key does not hold a record")
      return decode(metadata, data)
    }))
    : Effect.succeedNone

/** Decodes the record in the reply of `load` or `loadByEntry`, if there is one. */
export const recordIn = (calls: Calls, reply: Reply): Result<Option.Option<SessionRecord>> =>
  decodeReply(calls, reply, (metadata, data) => {
    if (data === undefined) throw new TypeError("the record has no data")
    return decodeRecord(metadata, data)
  })

/** An entry of the index by id. */
interface IdEntry {
  readonly shard: Shard
  /** The Redis key of the record. */
  readonly record: string
  readonly key: StoreKey
  readonly text: string
}

/** An entry of the index by subject. If the record is corrupt or gone, `id` is empty and `createdAt` is `NaN`. */
interface SubjectEntry {
  readonly shard: Shard
  readonly text: string
  readonly createdAt: number
  readonly id: string
}

const together = { concurrency: "unbounded" } as const

/** Number of records that one script reads. Limited, because a script blocks the server. */
const recordsPerRead = 200

/** Number of records that one script deletes. Limited, because a script blocks the server. */
const recordsPerDelete = 500

/** Number of entries that one `prune` checks. */
const sampleSize = 32

/** Splits a text of a word and, after a space, its value. */
const splitWord = (text: string): Reply => {
  const space = text.indexOf(" ")
  return space < 0 ? [text] : [text.slice(0, space), text.slice(space + 1)]
}

export const directory = (shards: Shards, ids: IdDirectory, forwarding: Forwarding) => {
  /** Finds the index entry of an id. */
  const locate = (calls: Calls, id: QualifiedId): Result<IdEntry | undefined> =>
    Effect.gen(function*() {
      const shard = yield* ids.locate(calls, id)
      const text = shard === undefined ? undefined : yield* entryOf(calls, shard.ids, id)
      if (shard === undefined || text === undefined) return undefined
      const key = parseKey(suffixOf(text))
      return Option.isNone(key)
        ? undefined
        : { shard, key: key.value, record: shard.record(key.value), text }
    })

  const loadLocated = (calls: Calls, id: QualifiedId, now: number): Result<Option.Option<Located>> =>
    Effect.gen(function*() {
      const entry = yield* locate(calls, id)
      if (entry === undefined) return Option.none()
      const { key, record, shard, text } = entry
      const reply = yield* calls.run(Scripts.loadByEntry, [record, shard.epochs, shard.ids], [now, text])
      if (reply[0] === "moved") return yield* loadLocated(calls, id, now)
      const found = yield* recordIn(calls, reply)
      // Redis may have deleted the record by itself, and a new one may have been created under its key.
      return Option.filterMap(
        found,
        (record) => idOf(record.namespace, record.id) === id.name ? Option.some({ ...record, key }) : Option.none()
      )
    })

  const find = (calls: Calls, id: QualifiedId, now: number): Result<Option.Option<SessionRecord>> =>
    Effect.map(loadLocated(calls, id, now), Option.map(({ key: _, ...record }) => record))

  /** Lists the subject's entries in one shard, with the creation times of their records. */
  const subjectEntriesIn = (calls: Calls, shard: Shard, prefix: string): Result<ReadonlyArray<SubjectEntry>> =>
    Effect.gen(function*() {
      const found = yield* calls.command("zrangebylex", shard.subjects, `[${prefix}`, `(${prefix}\u007f`)
      const texts = found.flatMap((text) => text === undefined ? [] : [text])
      const times = yield* Effect.forEach(
        Arr.chunksOf(texts, recordsPerRead),
        (chunk) => {
          const [first = "", ...others] = chunk.map((text) => shard.record(text.slice(prefix.length)))
          return calls.run(Scripts.creationTimes, [first, ...others], [])
        },
        { concurrency: 4 }
      )
      return Arr.zipWith(texts, times.flat(), (text, time = "") => {
        const [createdAt, id = ""] = time.split(" ")
        return { shard, text, createdAt: Number(createdAt), id }
      })
    })

  /** Loads the metadata of the records of these entries, in their order. */
  const loadInfos = (
    calls: Calls,
    prefix: string,
    entries: ReadonlyArray<SubjectEntry>,
    now: number
  ): Result<Reply> =>
    Effect.map(
      Effect.forEach(
        shards.all.filter((shard) => entries.some((entry) => entry.shard === shard)),
        (shard) => {
          const own = entries.filter((entry) => entry.shard === shard)
          return Effect.map(
            calls.run(
              Scripts.loadInfosByEntries,
              [shard.subjects, shard.epochs, ...own.map(({ text }) => shard.record(text.slice(prefix.length)))],
              [now, ...own.map(({ text }) => text)]
            ),
            (replies) => Arr.zip(own, replies)
          )
        },
        together
      ),
      (replies) => {
        const found = new Map(replies.flat())
        return entries.map((entry) => found.get(entry))
      }
    )

  const list = (
    calls: Calls,
    namespace: string,
    subject: string,
    now: number,
    { after, limit = pageSize }: Page,
    tries = 5
  ): Result<ReadonlyArray<SessionInfo>> =>
    Effect.gen(function*() {
      const prefix = subjectPrefixOf(namespace, subject)
      const entries = yield* Effect.forEach(shards.all, (shard) => subjectEntriesIn(calls, shard, prefix), together)
      const [known, unknown] = Arr.partition(entries.flat(), ({ id }) => id === "")
      const all = [...unknown, ...pageOf(known, { after, limit: Infinity })]
      const page = new Map<SessionId, SessionInfo>()
      for (let next = 0; next < all.length && page.size < limit;) {
        const chunk = all.slice(next, next += Math.min(limit - page.size, recordsPerRead))
        const replies = yield* loadInfos(calls, prefix, chunk, now)
        // A session that was rotated meanwhile has another entry now.
        if (replies.includes("moved") && tries > 1) {
          return yield* list(calls, namespace, subject, now, { after, limit }, tries - 1)
        }
        const found = yield* Effect.forEach(
          replies,
          (reply = "") => orLeftOut(namespace)(decodeReply(calls, splitWord(reply), decodeInfo))
        )
        for (const info of Arr.getSomes(found)) {
          // A session that was rotated between two reads may have been read under both keys.
          if (info.namespace === namespace && info.subject === subject) page.set(info.id, info)
        }
      }
      return pageOf([...page.values()], { after, limit })
    })

  const scan = (
    calls: Calls,
    namespace: string,
    after: string | undefined,
    limit: number,
    now: number
  ): Result<ReadonlyArray<Located | Corrupt>> =>
    Effect.gen(function*() {
      const page: Array<Located | Corrupt> = []
      let last = after
      while (page.length < limit) {
        const wanted = limit - page.length
        const found = yield* ids.page(calls, namespace, last, wanted)
        const records = yield* Effect.forEach(
          found,
          (id) => orCorruptEntry(id)(loadLocated(calls, qualified(namespace, id), now)),
          { concurrency: 100 }
        )
        page.push(...Arr.getSomes(records))
        last = found.at(-1)
        if (found.length < wanted) break
      }
      return page
    })

  /** Ends the session of an id for a reason. `owner`: only if it belongs to this subject. */
  const revoke = (
    calls: Calls,
    id: QualifiedId,
    reason: Extract<EndReason, "revoked" | "limit">,
    owner?: { readonly namespace: string; readonly subject: string }
  ): Result<boolean> =>
    Effect.gen(function*() {
      const entry = yield* locate(calls, id)
      if (entry === undefined) return false
      const { key, record, shard, text } = entry
      const ownerEntry = owner === undefined ? [] : [subjectPrefixOf(owner.namespace, owner.subject) + key]
      const reply = yield* calls.run(
        Scripts.revoke,
        [record, shard.epochs, shard.ids, shard.subjects, shard.expiryIndex, shard.ended(key)],
        [key, text, reason, ...ownerEntry]
      )
      switch (yield* outcome(calls, "revoked", "none", "moved")(reply)) {
        case "moved":
          return yield* revoke(calls, id, reason, owner)
        case "none":
          return false
        case "revoked":
          yield* ids.release(calls, shard, [id])
          yield* forwarding.remove(calls, key, shard, keptReasonIn(reply, 1))
          return true
      }
    })

  /**
   * Ends the sessions of a scope in one shard. One script spares the session `except` and ends the others, so that the spared session is
   * alive at every moment. The script needs the index entry of that session, and replies with it if `entry` is another one.
   */
  const revokeScopeIn = (
    calls: Calls,
    scope: string,
    shard: Shard,
    except?: QualifiedId,
    entry?: string
  ): Result<void> => {
    const entries = entry === undefined ? [] : [entry]
    return Effect.flatMap(
      calls.run(
        Scripts.revokeScope,
        [
          shard.epochs,
          shard.revocationGc,
          shard.expiryIndex,
          shard.ids,
          ...entries.map((entry) => shard.record(suffixOf(entry)))
        ],
        [scope, ...(except === undefined ? [] : [except.name]), ...entries]
      ),
      ([word, current]) => word === "moved" ? revokeScopeIn(calls, scope, shard, except, current) : Effect.void
    )
  }

  /** Ends the sessions of a scope in every shard. Succeeds when every shard has confirmed it. */
  const revokeScope = (calls: Calls, scope: string, except?: QualifiedId): Result<void> =>
    Effect.forEach(shards.all, (shard) => revokeScopeIn(calls, scope, shard, except), { ...together, discard: true })

  /** Deletes the records of these entries that have expired, and the entries without a record. Returns how many. */
  const cleanUp = (calls: Calls, shard: Shard, entries: Reply, now: number): Result<number> =>
    Effect.gen(function*() {
      const reply = yield* calls.run(
        Scripts.cleanUp,
        [shard.ids, shard.subjects, shard.expiryIndex, ...entries.map((entry) => shard.record(keyIn(entry)))],
        [now, ...entries.map((entry) => entry ?? "")]
      )
      const removed = reply.flatMap((name = "", i) =>
        i % 3 === 0 ? [[reply[i + 2] ?? "", name, reply[i + 1]] as const] : []
      )
      yield* ids.release(calls, shard, removed.flatMap(qualifiedIdIn))
      yield* Effect.forEach(removed, ([key]) => forwarding.remove(calls, key, shard), { discard: true })
      return removed.length
    })

  /**
   * Checks a random sample of entries, and removes those without a record. Redis deletes expired and evicted sessions by itself, and
   * their entries would fill its memory.
   */
  const prune = (calls: Calls, shard: Shard): Result<void> =>
    Effect.gen(function*() {
      const [size] = yield* calls.command("zcard", shard.expiryIndex)
      const from = yield* Random.nextIntBetween(0, Math.max(Number(size), 1))
      const entries = yield* calls.command("zrange", shard.expiryIndex, from, from + sampleSize - 1)
      if (entries.length > 0) yield* cleanUp(calls, shard, entries, 0)
    })

  const removeExpired = (calls: Calls, now: number, limit: number): Result<number> =>
    Effect.gen(function*() {
      const counts = yield* Effect.forEach(
        shards.all,
        ({ epochs, expiryIndex, revocationGc }) =>
          calls.run(Scripts.countExpired, [expiryIndex, epochs, revocationGc], [now]),
        together
      )
      yield* Effect.forEach(counts, ([, clock]) => checkClock(now, Number(clock)))
      let removed = 0
      for (const [i, shard] of shards.all.entries()) {
        let more = counts[i]?.[0] !== "0"
        while (more && removed < limit) {
          const size = Math.min(limit - removed, recordsPerDelete)
          const entries = yield* calls.command("zrangebyscore", shard.expiryIndex, "-inf", now, "LIMIT", 0, size)
          if (entries.length > 0) removed += yield* cleanUp(calls, shard, entries, now)
          more = entries.length === size
        }
      }
      yield* ids.recheck(calls, now)
      return removed
    })

  return { find, list, prune, removeExpired, revoke, revokeScope, scan }
}

/** Reads the key from an entry of the expiry index; of an entry that is corrupt, a key that no record has. */
const keyIn = (entry = ""): string => {
  try {
    const parts: unknown = JSON.parse(entry)
    return Array.isArray(parts) ? String(parts[0]) : ""
  } catch {
    return ""
  }
}
