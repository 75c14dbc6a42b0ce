/**
 * How a Redis store finds sessions by what is not their key: an index says where to look, and the record has the last
 * word. Where a session moved on between the two, it is looked for again.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { SessionId } from "../SessionId.js"
import type { SessionInfo, SessionRecord } from "../SessionRecord.js"
import type { Damaged, Located, SessionStoreError } from "../SessionStore.js"
import type { StoreKey } from "../StoreKey.js"
import { orDamaged, orLeftOut } from "./damaged.js"
import type { Calls, Reply } from "./redisCalls.js"
import { decoded } from "./redisCalls.js"
import type { Ids, Named } from "./redisIds.js"
import { entryOf, named, placeIn } from "./redisIds.js"
import { decodeInfo, decodeRecord } from "./redisRecord.js"
import * as Scripts from "./redisScripts.js"
import type { Shard, Shards } from "./redisShard.js"
import { idOf, subjectPrefixOf } from "./redisShard.js"

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
export interface Entry {
  readonly shard: Shard
  /** The name of the record's key. */
  readonly record: string
  readonly key: StoreKey
  readonly text: string
}

/** Follows an id to its entry. */
export const locate = (ids: Ids, calls: Calls, named: Named): Result<Entry | undefined> =>
  Effect.gen(function*() {
    const shard = yield* ids.locate(calls, named)
    const text = shard === undefined ? undefined : yield* entryOf(calls, shard.ids, named)
    if (shard === undefined || text === undefined) return undefined
    const key = placeIn(text) as StoreKey
    return { shard, key, record: shard.record(key), text }
  })

export const directory = (shards: Shards, ids: Ids) => {
  const located = (calls: Calls, named: Named, now: number): Result<Option.Option<Located>> =>
    Effect.gen(function*() {
      const entry = yield* locate(ids, calls, named)
      if (entry === undefined) return Option.none()
      const { key, record, shard, text } = entry
      const reply = yield* calls.run(Scripts.follow, [record, shard.epochs, shard.ids], [now, text, "d"])
      if (reply[0] === "moved") return yield* located(calls, named, now)
      const found = yield* recordIn(calls, reply)
      // Where Redis let a record go, another may have come under its key.
      return Option.filterMap(found, (record) =>
        idOf(record.namespace, record.id) === named.name ? Option.some({ ...record, key }) : Option.none())
    })

  const find = (calls: Calls, named: Named, now: number): Result<Option.Option<SessionRecord>> =>
    Effect.map(located(calls, named, now), Option.map(({ key: _, ...record }) => record))

  /** The subject's sessions in one shard, but for those that were seen. */
  const listIn = (
    calls: Calls,
    shard: Shard,
    namespace: string,
    subject: string,
    now: number,
    seen: ReadonlySet<string> = new Set()
  ): Result<ReadonlyArray<SessionInfo>> =>
    Effect.gen(function*() {
      const prefix = subjectPrefixOf(namespace, subject)
      const entries = yield* calls.command("zrangebylex", shard.subjects, `[${prefix}`, `(${prefix}\u007f`)
      const fresh = entries.flatMap((entry) => entry === undefined || seen.has(entry) ? [] : [entry])
      const replies = yield* Effect.forEach(
        fresh,
        (entry) =>
          calls.run(
            Scripts.follow,
            [shard.record(entry.slice(prefix.length)), shard.epochs, shard.subjects],
            [now, entry, "m"]
          ),
        { concurrency: 100 }
      )
      const found = yield* Effect.forEach(replies, (reply) => orLeftOut(namespace)(inReply(calls, reply, decodeInfo)))
      const infos = Arr.getSomes(found)
      return replies.some(([word]) => word === "moved")
        ? [...infos, ...(yield* listIn(calls, shard, namespace, subject, now, new Set([...seen, ...fresh])))]
        : infos
    })

  const list = (calls: Calls, namespace: string, subject: string, now: number): Result<ReadonlyArray<SessionInfo>> =>
    Effect.map(
      Effect.forEach(
        shards.all,
        (shard) => listIn(calls, shard, namespace, subject, now),
        { concurrency: "unbounded" }
      ),
      (lists) => {
        const own = lists.flat().filter((info) => info.namespace === namespace && info.subject === subject)
        // One that was rotated meanwhile may have been seen under both keys.
        return [...new Map(own.map((info) => [info.id, info])).values()]
          .sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1))
      }
    )

  const scan = (
    calls: Calls,
    namespace: string,
    after: SessionId | undefined,
    limit: number,
    now: number
  ): Result<ReadonlyArray<Located | Damaged>> =>
    Effect.gen(function*() {
      const page: Array<Located | Damaged> = []
      let last = after
      while (page.length < limit) {
        const wanted = limit - page.length
        const found = yield* ids.page(calls, namespace, last, wanted)
        const records = yield* Effect.forEach(
          found,
          (id) => orDamaged(id)(located(calls, named(namespace, id), now)),
          { concurrency: 100 }
        )
        page.push(...Arr.getSomes(records))
        last = found.at(-1)
        if (found.length < wanted) break
      }
      return page
    })

  return { find, list, scan }
}
