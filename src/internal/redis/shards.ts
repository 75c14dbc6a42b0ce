/**
 * The shards of a Redis store, and what is where. The keys of a shard are always on one node. On a single node there is
 * one shard; in a Cluster there are 64.
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
import { spell } from "./record.js"
import * as Scripts from "./scripts.js"

type Result<A> = Effect.Effect<A, SessionStoreError>

/** The names of a shard's keys. */
export interface Shard {
  /** The text in braces, by which a Cluster finds the node. */
  readonly tag: string
  readonly record: (key: string) => string
  readonly ids: string
  readonly subjects: string
  readonly ends: string
  readonly epochs: string
  readonly outlived: string
  /** In a Cluster only. */
  readonly places: string
  readonly due: string
}

/** The characters that a store key, or an id, can begin with, in the order in which Redis and JavaScript sort them. */
const characters = [..."-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"]

export interface Shards {
  readonly all: readonly [Shard, ...ReadonlyArray<Shard>]
  /** Where the record of a key is, unless it was moved there; and where the place of an id is noted. */
  readonly of: (name: string) => Shard
  readonly tagged: (tag: string | undefined) => Shard | undefined
}

/** The shards of a store. On one node everything is together, so that one script sees it all. */
export const shards = (prefix: string, cluster: boolean): Shards => {
  const one = shard(prefix, "all")
  if (!cluster) return { all: [one], of: () => one, tagged: () => one }
  const byTag = new Map(characters.map((tag) => [tag, shard(prefix, tag)]))
  const [first = one, ...others] = byTag.values()
  return {
    all: [first, ...others],
    of: (name) => byTag.get(name.charAt(0)) ?? first,
    tagged: (tag = "") => byTag.get(tag)
  }
}

const shard = (prefix: string, tag: string): Shard => {
  const name = (rest: string) => `${prefix}{${tag}}:${rest}`
  return {
    tag,
    record: name,
    ids: name("ids"),
    subjects: name("subjects"),
    ends: name("ends"),
    epochs: name("epochs"),
    outlived: name("outlived"),
    places: name("places"),
    due: name("due")
  }
}

const utf8 = new TextEncoder()

/** What begins every index entry of a namespace. Its length in bytes keeps it apart from what follows. */
export const scopeOf = (namespace: string): string => lengthPrefixed(spell(namespace))

/** What names a subject among the epochs. */
export const subjectScopeOf = (namespace: string, subject: string): string => `${scopeOf(namespace)}:${spell(subject)}`

/** What begins every index entry of a subject. */
export const subjectPrefixOf = (namespace: string, subject: string): string =>
  `${scopeOf(namespace)}${lengthPrefixed(spell(subject))}`

/** What names an id in indexes; a space and its place follow. */
export const idOf = (namespace: string, id: SessionId): string => `${scopeOf(namespace)}${id}`

const lengthPrefixed = (text: string) => `${utf8.encode(text).length}:${text}`

// Homes: in which shard the record of a key is. It is the key's own shard, unless the record was rotated from another. A
// record never leaves its shard, so that one script sees all of a rotation; where the new key belongs to another shard, that
// one notes where the record is. An engine that heeds `colocated` has no use for such notes.

export interface Homes {
  /** Does something in the shard where the record is, and says which one that was. */
  readonly at: (
    key: StoreKey,
    run: (shard: Shard) => Result<Reply>
  ) => Result<{ readonly home: Shard; readonly reply: Reply }>
  /** Makes a key lead to a shard, until the record's deadline at the most. `false` if something has the key already. */
  readonly lead: (
    calls: Calls,
    key: StoreKey,
    home: Shard,
    deadline: number | undefined,
    now: number
  ) => Result<boolean>
  /** A key leads to a shard no longer. That it fails is no harm: nothing is there. */
  readonly leave: (calls: Calls, key: string, home: Shard) => Effect.Effect<void>
}

export const homes = (shards: Shards): Homes => ({
  at: (key, run) => {
    const own = shards.of(key)
    return Effect.flatMap(run(own), (reply) => {
      const home = reply[0] === "elsewhere" ? shards.tagged(reply[1]) ?? own : own
      return home === own ? Effect.succeed({ home, reply }) : Effect.map(run(home), (reply) => ({ home, reply }))
    })
  },

  lead: (calls, key, home, deadline, now) => {
    const own = shards.of(key)
    return home === own
      ? Effect.succeed(true)
      : Effect.map(
        calls.run(Scripts.point, [own.record(key)], [home.tag, deadline ?? "", now]),
        ([word]) => word === "pointed"
      )
  },

  leave: (calls, key, home) => {
    const own = shards.of(key)
    return home === own ? Effect.void : Effect.ignore(calls.run(Scripts.unpoint, [own.record(key)], [home.tag]))
  }
})

// Ids: which shard has the session of an id. In a Cluster the record's own shard cannot be told from the id, so it is noted
// in the shard of the id: before the record is made, and until after it is gone.

/** An id as it is in indexes, and as it is. */
export interface Named {
  readonly name: string
  readonly id: SessionId
}

export interface Ids {
  /** Makes sure that no other shard has the id. `new` if nobody had it. */
  readonly claim: (calls: Calls, shard: Shard, named: Named, end: number) => Result<"known" | "new" | "taken">
  /** Gives up what was claimed. That it fails is no harm: an id that leads nowhere is cleared away later. */
  readonly release: (calls: Calls, shard: Shard, all: ReadonlyArray<Named>) => Effect.Effect<void>
  readonly locate: (calls: Calls, named: Named) => Result<Shard | undefined>
  /** Ids of a namespace in their order. Some may lead nowhere. */
  readonly page: (
    calls: Calls,
    namespace: string,
    after: string | undefined,
    limit: number
  ) => Result<ReadonlyArray<SessionId>>
  /** Clears away what leads nowhere. */
  readonly sweep: (calls: Calls, now: number) => Result<void>
}

export const named = (namespace: string, id: SessionId): Named => ({ name: idOf(namespace, id), id })

/** The id at the end of a script's reply, behind its name. */
export const namedIn = ([, name, id]: Reply): ReadonlyArray<Named> =>
  name === undefined || id === undefined ? [] : Option.toArray(Option.map(parse(id), (id) => ({ name, id })))

/** The entry of an id in an index. */
export const entryOf = (calls: Calls, index: string, { name }: Named): Result<string | undefined> =>
  Effect.map(calls.command("zrangebylex", index, `[${name} `, `(${name}!`), ([entry]) => entry)

/** What an entry says behind the name. */
export const placeIn = (entry: string): string => entry.slice(entry.lastIndexOf(" ") + 1)

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

export const onOneNode = ({ all: [shard] }: Shards): Ids => ({
  claim: () => Effect.succeed("known"),
  release: () => Effect.void,
  locate: () => Effect.succeed(shard),
  page: (calls, namespace, after, limit) => idsIn(calls, shard.ids, namespace, after, limit),
  sweep: () => Effect.void
})

const together = { concurrency: "unbounded" } as const
const day = 86_400_000

export const inCluster = (shards: Shards): Ids => {
  const release: Ids["release"] = (calls, shard, all) => {
    const byPlace = new Map<Shard, Array<string>>()
    for (const { id, name } of all) {
      const place = shards.of(id)
      byPlace.set(place, [...(byPlace.get(place) ?? []), `${name} ${shard.tag}`])
    }
    return Effect.forEach(
      byPlace,
      ([{ due, places }, entries]) => Effect.ignore(calls.run(Scripts.release, [places, due], entries)),
      { ...together, discard: true }
    )
  }

  const shardIn = (entry: string) => shards.tagged(placeIn(entry))

  return {
    claim: (calls, shard, { id, name }, end) => {
      const { due, places } = shards.of(id)
      return Effect.map(
        calls.run(Scripts.claim, [places, due], [name, shard.tag, end]),
        ([answer]) => answer === "new" || answer === "known" ? answer : "taken"
      )
    },

    release,

    locate: (calls, named) =>
      Effect.map(
        entryOf(calls, shards.of(named.id).places, named),
        (entry) => entry === undefined ? undefined : shardIn(entry)
      ),

    // Most pages end in the shard where they begin. Where there are few sessions, ever more shards are asked at once.
    page: (calls, namespace, after, limit) =>
      Effect.gen(function*() {
        const found: Array<SessionId> = []
        let next = after === undefined ? 0 : shards.all.indexOf(shards.of(after))
        for (let width = 1; next < shards.all.length && found.length < limit; width *= 2) {
          const pages = yield* Effect.forEach(
            shards.all.slice(next, next + width),
            ({ places }) => idsIn(calls, places, namespace, after, limit),
            together
          )
          for (const ids of pages) found.push(...ids)
          next += width
        }
        return found.slice(0, limit)
      }),

    sweep: (calls, now) =>
      Effect.forEach(shards.all, ({ due, places }) =>
        Effect.gen(function*() {
          const entries = yield* calls.command("zrangebyscore", due, "-inf", now, "LIMIT", 0, 100)
          for (const entry of entries) {
            const shard = entry === undefined ? undefined : shardIn(entry)
            if (entry === undefined || shard === undefined) continue
            const name = entry.slice(0, entry.lastIndexOf(" "))
            const [there] = yield* calls.command("zrangebylex", shard.ids, `[${name} `, `(${name}!`)
            // The session may have been prolonged since: it is looked at again.
            if (there === undefined) yield* calls.run(Scripts.release, [places, due], [entry])
            else yield* calls.command("zadd", due, "XX", now + day, entry)
          }
        }), { ...together, discard: true })
  }
}
