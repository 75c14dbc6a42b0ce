/**
 * Which shard has the session of an id. On one node there is one shard. In a Cluster the record's own shard cannot be
 * told from the id, so it is noted in another one: before the record is made, and until after it is gone.
 */
import * as Effect from "effect/Effect"
import type { SessionId } from "../../SessionId.js"
import type { SessionStoreError } from "../../SessionStore.js"
import type { Calls, Reply } from "./calls.js"
import * as Scripts from "./scripts.js"
import type { Shard, Shards } from "./shards.js"
import { idOf, scopeOf } from "./shards.js"

type Result<A> = Effect.Effect<A, SessionStoreError>

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
    after: SessionId | undefined,
    limit: number
  ) => Result<ReadonlyArray<SessionId>>
  /** Clears away what leads nowhere. */
  readonly sweep: (calls: Calls, now: number) => Result<void>
}

export const named = (namespace: string, id: SessionId): Named => ({ name: idOf(namespace, id), id })

/** The id at the end of a script's reply, behind its name. */
export const namedIn = ([, name, id]: Reply): ReadonlyArray<Named> =>
  name === undefined || id === undefined ? [] : [{ name, id: id as SessionId }]

/** The entry of an id in an index. */
export const entryOf = (calls: Calls, index: string, { name }: Named): Result<string | undefined> =>
  Effect.map(calls.command("zrangebylex", index, `[${name} `, `(${name}!`), ([entry]) => entry)

/** What an entry says behind the name. */
export const placeIn = (entry: string): string => entry.slice(entry.lastIndexOf(" ") + 1)

const idsIn = (
  calls: Calls,
  index: string,
  namespace: string,
  after: SessionId | undefined,
  limit: number
): Result<ReadonlyArray<SessionId>> => {
  const scope = scopeOf(namespace)
  return Effect.map(
    calls.command(
      "zrangebylex",
      index,
      after === undefined ? `[${scope}` : `[${scope}${after}!`,
      `(${scope}\u007f`,
      "LIMIT",
      0,
      limit
    ),
    (entries) =>
      entries.flatMap((entry) =>
        entry === undefined ? [] : [entry.slice(scope.length, entry.lastIndexOf(" ")) as SessionId]
      )
  )
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
