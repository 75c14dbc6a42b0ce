/**
 * The shards of a Redis store, the forwarding entries of rotated records, and the id directory. All keys of a shard are on one node. A
 * single node has one shard, a Cluster has 64.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { SessionId } from "../../SessionId.js"
import { parse } from "../../SessionId.js"
import type { SessionStoreError } from "../../SessionStore.js"
import type { StoreKey } from "../../StoreKey.js"
import { filled } from "../store/corrupt.js"
import type { Calls, Reply } from "./calls.js"
import { encodeText } from "./record.js"
import * as Scripts from "./scripts.js"

type Result<A> = Effect.Effect<A, SessionStoreError>

/** The names of a shard's keys. See the table in `lua.ts`. */
export interface Shard {
  /** The hash tag: the text in braces that determines the node in a Cluster. */
  readonly tag: string
  readonly record: (key: string) => string
  readonly ended: (key: string) => string
  readonly ids: string
  readonly subjects: string
  readonly expiryIndex: string
  readonly epochs: string
  readonly revocationGc: string
  /** Cluster only. */
  readonly idDirectory: string
  /** Cluster only. */
  readonly recheckQueue: string
  /** Cluster only. */
  readonly lock: (subject: string) => string
}

/** The possible first characters of a store key or an id, in the order in which Redis and JavaScript sort them. */
const characters = [..."-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"]

export interface Shards {
  readonly all: readonly [Shard, ...ReadonlyArray<Shard>]
  /** The shard of a store key (its record, or a forwarding entry), or of the directory entry of an id. */
  readonly of: (keyOrId: string) => Shard
  readonly byTag: (tag: string | undefined) => Shard | undefined
}

/** Makes the shards of a store. On one node there is a single shard, so that one script can use all keys. */
export const shards = (prefix: string, cluster: boolean): Shards => {
  const one = shard(prefix, "all")
  if (!cluster) return { all: [one], of: () => one, byTag: () => one }
  const tagged = new Map(characters.map((tag) => [tag, shard(prefix, tag)]))
  const [first = one, ...others] = tagged.values()
  return {
    all: [first, ...others],
    of: (keyOrId) => tagged.get(keyOrId.charAt(0)) ?? first,
    byTag: (tag = "") => tagged.get(tag)
  }
}

const shard = (prefix: string, tag: string): Shard => {
  const name = (rest: string) => `${prefix}{${tag}}:${rest}`
  return {
    tag,
    record: name,
    ended: (key) => name(`ended:${key}`),
    ids: name("ids"),
    subjects: name("subjects"),
    expiryIndex: name("ends"),
    epochs: name("epochs"),
    revocationGc: name("outlived"),
    idDirectory: name("places"),
    recheckQueue: name("due"),
    lock: (subject) => name(`lock:${subject}`)
  }
}

const utf8 = new TextEncoder()

/** The prefix of every index entry of a namespace. Its length in bytes separates it from what follows. */
export const scopeOf = (namespace: string): string => lengthPrefixed(encodeText(namespace))

/** The field of a subject in the hash of epochs. */
export const subjectScopeOf = (namespace: string, subject: string): string =>
  `${scopeOf(namespace)}:${encodeText(subject)}`

/** The prefix of every index entry of a subject. */
export const subjectPrefixOf = (namespace: string, subject: string): string =>
  `${scopeOf(namespace)}${lengthPrefixed(encodeText(subject))}`

/** An id qualified with its namespace, as in index entries. A space, and the store key or the shard's tag, follow. */
export const idOf = (namespace: string, id: SessionId): string => `${scopeOf(namespace)}${id}`

const lengthPrefixed = (text: string) => `${utf8.encode(text).length}:${text}`

// Forwarding. A record is in the shard of its key, unless it was rotated from a key of another shard: a record never changes its shard,
// so that one script does all of a rotation, and the shard of the new key gets a forwarding entry. An engine that uses `colocated`
// draws new keys of the same shard, and never needs one.

/** Why a session has ended, and until when this is kept; empty if it is not known. */
export type KeptReason = readonly [] | readonly [reason: string, at: string]

/** Reads the reason from a script's reply, where it begins at `position`. */
export const keptReasonIn = (reply: Reply, position: number): KeptReason => {
  const [reason, at] = reply.slice(position)
  return reason === undefined || at === undefined || reason === "" ? [] : [reason, at]
}

export interface Forwarding {
  /** Runs a script in the shard of the record, and returns that shard, too. */
  readonly runAtRecord: (
    key: StoreKey,
    run: (shard: Shard) => Result<Reply>
  ) => Result<{ readonly shard: Shard; readonly reply: Reply }>
  /** Forwards a key to a shard, at the latest until the record's deadline. `false` if the key is taken. */
  readonly add: (
    calls: Calls,
    key: StoreKey,
    target: Shard,
    deadline: number | undefined,
    now: number
  ) => Result<boolean>
  /**
   * Removes the forwarding entry of a key, and keeps why its record has ended. Failures are ignored: an entry without a record is harmless.
   */
  readonly remove: (calls: Calls, key: string, target: Shard, end?: KeptReason) => Effect.Effect<void>
}

export const forwarding = (shards: Shards): Forwarding => ({
  runAtRecord: (key, run) => {
    const own = shards.of(key)
    return Effect.flatMap(run(own), (reply) => {
      const shard = reply[0] === "relocated" ? shards.byTag(reply[1]) ?? own : own
      return shard === own ? Effect.succeed({ shard, reply }) : Effect.map(run(shard), (reply) => ({ shard, reply }))
    })
  },

  add: (calls, key, target, deadline, now) => {
    const own = shards.of(key)
    return target === own
      ? Effect.succeed(true)
      : Effect.map(
        calls.run(Scripts.addForwarding, [own.record(key), own.ended(key)], [target.tag, deadline ?? "", now]),
        ([word]) => word === "added"
      )
  },

  remove: (calls, key, target, end = []) => {
    const own = shards.of(key)
    return target === own
      ? Effect.void
      : Effect.ignore(calls.run(Scripts.removeForwarding, [own.record(key), own.ended(key)], [target.tag, ...end]))
  }
})

// The id directory: which shard has the session of an id. In a Cluster the record's shard cannot be derived from the id, so the shard
// of the id has a directory entry, from before the record is created until after it is deleted.

/** An id, and its name in index entries. */
export interface QualifiedId {
  readonly name: string
  readonly id: SessionId
}

export interface IdDirectory {
  /** Reserves an id for a shard: `new` if it was free, `known` if the shard has it, `taken` if another shard has it. */
  readonly reserve: (
    calls: Calls,
    shard: Shard,
    id: QualifiedId,
    expiresAt: number
  ) => Result<"known" | "new" | "taken">
  /** Releases ids. Failures are ignored: `recheck` removes entries without a record later. */
  readonly release: (calls: Calls, shard: Shard, all: ReadonlyArray<QualifiedId>) => Effect.Effect<void>
  readonly locate: (calls: Calls, id: QualifiedId) => Result<Shard | undefined>
  /** Returns ids of a namespace in their order. Some may have no record. */
  readonly page: (
    calls: Calls,
    namespace: string,
    after: string | undefined,
    limit: number
  ) => Result<ReadonlyArray<SessionId>>
  /** Removes entries without a record. */
  readonly recheck: (calls: Calls, now: number) => Result<void>
}

export const qualified = (namespace: string, id: SessionId): QualifiedId => ({ name: idOf(namespace, id), id })

/** Reads the qualified id at the end of a script's reply; empty if the reply has none. */
export const qualifiedIdIn = ([, name, id]: Reply): ReadonlyArray<QualifiedId> =>
  name === undefined || id === undefined ? [] : Option.toArray(Option.map(parse(id), (id) => ({ name, id })))

/** Loads the entry of an id from an index. */
export const entryOf = (calls: Calls, index: string, { name }: QualifiedId): Result<string | undefined> =>
  Effect.map(calls.command("zrangebylex", index, `[${name} `, `(${name}!`), ([entry]) => entry)

/** The part of an entry after the qualified id: a store key, or a shard's tag. */
export const suffixOf = (entry: string): string => entry.slice(entry.lastIndexOf(" ") + 1)

const idsIn = (
  calls: Calls,
  index: string,
  namespace: string,
  after: string | undefined,
  limit: number
): Result<ReadonlyArray<SessionId>> => {
  const scope = scopeOf(namespace)
  const from = after === undefined ? `[${scope}` : `[${scope}${after}!`
  const ids = (limit: number) =>
    Effect.map(
      calls.command("zrangebylex", index, from, `(${scope}\u007f`, "LIMIT", 0, limit),
      Arr.map((entry = "") => parse(entry.slice(scope.length, entry.lastIndexOf(" "))))
    )
  return Effect.map(filled(limit, ids, Option.isSome), (page) => Arr.take(Arr.getSomes(page), limit))
}

/** The directory of a single node, which has one shard and needs no entries. */
export const idsOnOneNode = ({ all: [shard] }: Shards): IdDirectory => ({
  reserve: () => Effect.succeed("known"),
  release: () => Effect.void,
  locate: () => Effect.succeed(shard),
  page: (calls, namespace, after, limit) => idsIn(calls, shard.ids, namespace, after, limit),
  recheck: () => Effect.void
})

const together = { concurrency: "unbounded" } as const
/** In milliseconds. */
const day = 86_400_000

export const idsInCluster = (shards: Shards): IdDirectory => {
  const release: IdDirectory["release"] = (calls, shard, all) => {
    const entriesByShard = new Map<Shard, Array<string>>()
    for (const { id, name } of all) {
      const directory = shards.of(id)
      entriesByShard.set(directory, [...(entriesByShard.get(directory) ?? []), `${name} ${shard.tag}`])
    }
    return Effect.forEach(
      entriesByShard,
      ([{ idDirectory, recheckQueue }, entries]) =>
        Effect.ignore(calls.run(Scripts.releaseIds, [idDirectory, recheckQueue], entries)),
      { ...together, discard: true }
    )
  }

  const shardIn = (entry: string) => shards.byTag(suffixOf(entry))

  return {
    reserve: (calls, shard, { id, name }, expiresAt) => {
      const { idDirectory, recheckQueue } = shards.of(id)
      return Effect.map(
        calls.run(Scripts.reserveId, [idDirectory, recheckQueue], [name, shard.tag, expiresAt]),
        ([word]) => word === "new" || word === "known" ? word : "taken"
      )
    },

    release,

    locate: (calls, id) =>
      Effect.map(
        entryOf(calls, shards.of(id.id).idDirectory, id),
        (entry) => entry === undefined ? undefined : shardIn(entry)
      ),

    // Most pages end in the shard where they begin. If there are few sessions, the number of shards per step doubles.
    page: (calls, namespace, after, limit) =>
      Effect.gen(function*() {
        const found: Array<SessionId> = []
        let next = after === undefined ? 0 : shards.all.indexOf(shards.of(after))
        for (let width = 1; next < shards.all.length && found.length < limit; width *= 2) {
          const pages = yield* Effect.forEach(
            shards.all.slice(next, next + width),
            ({ idDirectory }) => idsIn(calls, idDirectory, namespace, after, limit),
            together
          )
          for (const ids of pages) found.push(...ids)
          next += width
        }
        return found.slice(0, limit)
      }),

    recheck: (calls, now) =>
      Effect.forEach(shards.all, ({ idDirectory, recheckQueue }) =>
        Effect.gen(function*() {
          const entries = yield* calls.command("zrangebyscore", recheckQueue, "-inf", now, "LIMIT", 0, 100)
          for (const entry of entries) {
            const shard = entry === undefined ? undefined : shardIn(entry)
            if (entry === undefined || shard === undefined) continue
            const name = entry.slice(0, entry.lastIndexOf(" "))
            const [found] = yield* calls.command("zrangebylex", shard.ids, `[${name} `, `(${name}!`)
            // A session that was prolonged is checked again a day later.
            if (found === undefined) yield* calls.run(Scripts.releaseIds, [idDirectory, recheckQueue], [entry])
            else yield* calls.command("zadd", recheckQueue, "XX", now + day, entry)
          }
        }), { ...together, discard: true })
  }
}
