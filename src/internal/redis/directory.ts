/**
 * Finding and ending sessions by what is not their key: by id, by subject or namespace, by expiry. An entry of an index is
 * a hint, and the record is authoritative. Where a session was rotated between the two, it is looked up again.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type { SessionId } from "../../SessionId.js"
import type { SessionInfo, SessionRecord } from "../../SessionRecord.js"
import type { Corrupt, Located, Page, SessionStoreError } from "../../SessionStore.js"
import { checkClock, pageOf, pageSize } from "../../SessionStore.js"
import type { StoreKey } from "../../StoreKey.js"
import { parse as parseKey } from "../../StoreKey.js"
import { orCorruptEntry, orLeftOut } from "../store/corrupt.js"
import type { Calls, Reply } from "./calls.js"
import { decoded, outcome } from "./calls.js"
import { decodeInfo, decodeRecord } from "./record.js"
import * as Scripts from "./scripts.js"
import type { Homes, Ids, Named, Shard, Shards } from "./shards.js"
import { entryOf, idOf, named, namedIn, placeIn, subjectPrefixOf } from "./shards.js"

type Result<A> = Effect.Effect<A, SessionStoreError>

/** What is in the reply of a script, if there is a record. */
const inReply = <A>(calls: Calls, [word, metadata = "", data]: Reply, decode: (metadata: string, data?: string) => A) =>
  word === "record" || word === "damaged"
    ? Effect.asSome(decoded(calls, () => {
      if (word === "damaged") throw new TypeError("the key does not hold a record")
      return decode(metadata, data)
    }))
    : Effect.succeedNone

/** The record in the reply of a script, if there is one. */
export const recordIn = (calls: Calls, reply: Reply): Result<Option.Option<SessionRecord>> =>
  inReply(calls, reply, (metadata, data) => {
    if (data === undefined) throw new TypeError("a record without data")
    return decodeRecord(metadata, data)
  })

/** Where an id leads to at this moment. */
interface Entry {
  readonly shard: Shard
  /** The name of the record's key. */
  readonly record: string
  readonly key: StoreKey
  readonly text: string
}

/** Where a session of a subject may be. Of a record that cannot be read, or is gone, the age and the id are not known. */
interface Place {
  readonly shard: Shard
  readonly entry: string
  readonly createdAt: number
  readonly id: string
}

const together = { concurrency: "unbounded" } as const

/** How many records one script looks at: others wait for it. */
const entriesPerScript = 200

/** How many records one script deletes: others wait for it. */
const batchSize = 500

/** How many entries are looked at when a session is created. */
const sampleSize = 32

/** A reply of one text: a word and, after a space, what there is. */
const wordAndRest = (text: string): Reply => {
  const space = text.indexOf(" ")
  return space < 0 ? [text] : [text.slice(0, space), text.slice(space + 1)]
}

export const directory = (shards: Shards, ids: Ids, homes: Homes) => {
  /** Follows an id to its entry. */
  const locate = (calls: Calls, named: Named): Result<Entry | undefined> =>
    Effect.gen(function*() {
      const shard = yield* ids.locate(calls, named)
      const text = shard === undefined ? undefined : yield* entryOf(calls, shard.ids, named)
      if (shard === undefined || text === undefined) return undefined
      const key = parseKey(placeIn(text))
      return Option.isNone(key)
        ? undefined
        : { shard, key: key.value, record: shard.record(key.value), text }
    })

  const located = (calls: Calls, named: Named, now: number): Result<Option.Option<Located>> =>
    Effect.gen(function*() {
      const entry = yield* locate(calls, named)
      if (entry === undefined) return Option.none()
      const { key, record, shard, text } = entry
      const reply = yield* calls.run(Scripts.follow, [record, shard.epochs, shard.ids], [now, text])
      if (reply[0] === "moved") return yield* located(calls, named, now)
      const found = yield* recordIn(calls, reply)
      // Where Redis let a record go, another may have come under its key.
      return Option.filterMap(found, (record) =>
        idOf(record.namespace, record.id) === named.name ? Option.some({ ...record, key }) : Option.none())
    })

  const find = (calls: Calls, named: Named, now: number): Result<Option.Option<SessionRecord>> =>
    Effect.map(located(calls, named, now), Option.map(({ key: _, ...record }) => record))

  /** Where the subject's sessions may be in one shard, and how old they are. */
  const placesIn = (calls: Calls, shard: Shard, prefix: string): Result<ReadonlyArray<Place>> =>
    Effect.gen(function*() {
      const found = yield* calls.command("zrangebylex", shard.subjects, `[${prefix}`, `(${prefix}\u007f`)
      const entries = found.flatMap((entry) => entry === undefined ? [] : [entry])
      const ages = yield* Effect.forEach(
        Arr.chunksOf(entries, entriesPerScript),
        (some) => {
          const [first = "", ...others] = some.map((entry) => shard.record(entry.slice(prefix.length)))
          return calls.run(Scripts.ages, [first, ...others], [])
        },
        { concurrency: 4 }
      )
      return Arr.zipWith(entries, ages.flat(), (entry, age = "") => {
        const [createdAt, id = ""] = age.split(" ")
        return { shard, entry, createdAt: Number(createdAt), id }
      })
    })

  /** What is at these places, in their order; nothing where there is nothing any more. */
  const followed = (calls: Calls, prefix: string, places: ReadonlyArray<Place>, now: number): Result<Reply> =>
    Effect.map(
      Effect.forEach(
        shards.all.filter((shard) => places.some((place) => place.shard === shard)),
        (shard) => {
          const own = places.filter((place) => place.shard === shard)
          return Effect.map(
            calls.run(
              Scripts.followAll,
              [shard.subjects, shard.epochs, ...own.map(({ entry }) => shard.record(entry.slice(prefix.length)))],
              [now, ...own.map(({ entry }) => entry)]
            ),
            (replies) => Arr.zip(own, replies)
          )
        },
        together
      ),
      (replies) => {
        const found = new Map(replies.flat())
        return places.map((place) => found.get(place))
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
      const places = yield* Effect.forEach(shards.all, (shard) => placesIn(calls, shard, prefix), together)
      const [known, unknown] = Arr.partition(places.flat(), ({ id }) => id === "")
      const all = [...unknown, ...pageOf(known, { after, limit: Infinity })]
      const page = new Map<SessionId, SessionInfo>()
      for (let next = 0; next < all.length && page.size < limit;) {
        const some = all.slice(next, next += Math.min(limit - page.size, entriesPerScript))
        const replies = yield* followed(calls, prefix, some, now)
        // Rotated meanwhile: it has another entry now.
        if (replies.includes("moved") && tries > 1) {
          return yield* list(calls, namespace, subject, now, { after, limit }, tries - 1)
        }
        const found = yield* Effect.forEach(
          replies,
          (reply = "") => orLeftOut(namespace)(inReply(calls, wordAndRest(reply), decodeInfo))
        )
        for (const info of Arr.getSomes(found)) {
          // One that was rotated between two looks may have been seen under both keys.
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
          (id) => orCorruptEntry(id)(located(calls, named(namespace, id), now)),
          { concurrency: 100 }
        )
        page.push(...Arr.getSomes(records))
        last = found.at(-1)
        if (found.length < wanted) break
      }
      return page
    })

  const revoke = (calls: Calls, named: Named): Result<boolean> =>
    Effect.gen(function*() {
      const entry = yield* locate(calls, named)
      if (entry === undefined) return false
      const { key, record, shard, text } = entry
      const reply = yield* calls.run(
        Scripts.revoke,
        [record, shard.ids, shard.subjects, shard.ends],
        [key, text]
      )
      switch (yield* outcome(calls, "revoked", "none", "moved")(reply)) {
        case "moved":
          return yield* revoke(calls, named)
        case "none":
          return false
        case "revoked":
          yield* ids.release(calls, shard, [named])
          yield* homes.leave(calls, key, shard)
          return true
      }
    })

  /**
   * Ends what is in scope in one shard. If the spared session is there, one script spares it and ends the others, so that
   * it is alive at every moment. Until it is told the entry of that session as it is, it does nothing but say it.
   */
  const raiseIn = (calls: Calls, scope: string, shard: Shard, except?: Named, entry?: string): Result<void> => {
    const told = entry === undefined ? [] : [entry]
    return Effect.flatMap(
      calls.run(
        Scripts.raise,
        [shard.epochs, shard.outlived, shard.ends, shard.ids, ...told.map((entry) => shard.record(placeIn(entry)))],
        [scope, ...(except === undefined ? [] : [except.name]), ...told]
      ),
      ([word, there]) => word === "moved" ? raiseIn(calls, scope, shard, except, there) : Effect.void
    )
  }

  /** Ends what is in scope in every shard. It is confirmed when all of them have confirmed it. */
  const raise = (calls: Calls, scope: string, except?: Named): Result<void> =>
    Effect.forEach(shards.all, (shard) => raiseIn(calls, scope, shard, except), { ...together, discard: true })

  /** Deletes what these entries lead to, if it has expired, and those of them that lead nowhere. Says how many. */
  const remove = (calls: Calls, shard: Shard, entries: Reply, now: number): Result<number> =>
    Effect.gen(function*() {
      const reply = yield* calls.run(
        Scripts.remove,
        [shard.ids, shard.subjects, shard.ends, ...entries.map((entry) => shard.record(keyIn(entry)))],
        [now, ...entries.map((entry) => entry ?? "")]
      )
      const removed = reply.flatMap((name = "", i) =>
        i % 3 === 0 ? [[reply[i + 2] ?? "", name, reply[i + 1]] as const] : []
      )
      yield* ids.release(calls, shard, removed.flatMap(namedIn))
      yield* Effect.forEach(removed, ([key]) => homes.leave(calls, key, shard), { discard: true })
      return removed.length
    })

  /**
   * Looks at some entries anywhere, and drops those that lead nowhere. Redis lets sessions go by itself, expired ones
   * and those that it evicts: their entries would fill its memory in their place.
   */
  const prune = (calls: Calls, shard: Shard): Result<void> =>
    Effect.gen(function*() {
      const [size] = yield* calls.command("zcard", shard.ends)
      const from = yield* Random.nextIntBetween(0, Math.max(Number(size), 1))
      const entries = yield* calls.command("zrange", shard.ends, from, from + sampleSize - 1)
      if (entries.length > 0) yield* remove(calls, shard, entries, 0)
    })

  const removeExpired = (calls: Calls, now: number, limit: number): Result<number> =>
    Effect.gen(function*() {
      const counts = yield* Effect.forEach(
        shards.all,
        ({ ends, epochs, outlived }) => calls.run(Scripts.expired, [ends, epochs, outlived], [now]),
        together
      )
      yield* Effect.forEach(counts, ([, clock]) => checkClock(now, Number(clock)))
      let removed = 0
      for (const [i, shard] of shards.all.entries()) {
        let more = counts[i]?.[0] !== "0"
        while (more && removed < limit) {
          const size = Math.min(limit - removed, batchSize)
          const entries = yield* calls.command("zrangebyscore", shard.ends, "-inf", now, "LIMIT", 0, size)
          if (entries.length > 0) removed += yield* remove(calls, shard, entries, now)
          more = entries.length === size
        }
      }
      yield* ids.sweep(calls, now)
      return removed
    })

  return { find, list, prune, raise, removeExpired, revoke, scan }
}

/** The key in an entry; of one that cannot be read, a key that no record has. */
const keyIn = (entry = ""): string => {
  try {
    const parts: unknown = JSON.parse(entry)
    return Array.isArray(parts) ? String(parts[0]) : ""
  } catch {
    return ""
  }
}
