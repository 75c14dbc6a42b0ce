import { it } from "@effect/vitest"
import { Effect } from "effect"
import { MemoryStore } from "effect-session"
import {
  aRecord,
  freshKey,
  isAlive,
  isDead,
  keyOf,
  namespace,
  start,
  type Stored,
  stored
} from "effect-session/Fixtures"
import * as MigratingStore from "effect-session/MigratingStore"
import { RedisClient } from "effect-session/RedisClient"
import type { Store } from "effect-session/SessionStore"
import { assert, describe } from "vitest"
import { equal } from "../src/internal/testing/law.js"
import { range } from "./support/concurrency.js"
import { freshPrefix } from "./support/localStores.js"
import { storeOn } from "./support/redisClients.js"
import { ofRedis, redisClient, redisClusterClient } from "./support/serverClients.js"

/** Draws a key of another shard in a Cluster. */
const keyApart = (key: Stored["key"]) => keyOf((key.startsWith("a") ? "b" : "a") + freshKey().slice(1))

/**
 * A store, and a function that makes another one on the same keys, which runs `act` before its command number `at` to the shard of a
 * session.
 */
const opened = Effect.gen(function*() {
  const client = yield* RedisClient
  const prefix = freshPrefix()
  const store = yield* storeOn(client, { prefix })
  const interrupted = (key: Stored["key"], at: number, act: Effect.Effect<unknown, unknown>) => {
    const tag = client.cluster ? `{${key.charAt(0)}}` : ""
    const done = { act: false }
    let commands = 0
    return Effect.map(
      storeOn({
        ...client,
        send: async (name, command) => {
          if (name.includes(tag) && commands++ === at) {
            done.act = true
            await Effect.runPromise(act)
          }
          return client.send(name, command)
        }
      }, { prefix }),
      (store) => ({ store, done })
    )
  }
  return { store, interrupted }
})

const sparing = (store: Store, { record }: Stored) => store.revokeSubject(namespace, "ann", record.id)

/** A concurrent change of the spared session. */
interface Change {
  readonly name: string
  /** Prepares the store. */
  readonly before: (store: Store, one: Stored) => Effect.Effect<unknown, unknown>
  /** The change, and the session after it. */
  readonly act: (store: Store, one: Stored) => readonly [Effect.Effect<unknown, unknown>, Stored]
}

/** Prepares the spared session, and creates another one of its subject. */
const bothOf = (store: Store, before: Change["before"]) =>
  Effect.gen(function*() {
    const one = { key: freshKey(), record: aRecord() }
    yield* before(store, one)
    return { one, other: yield* stored(store) }
  })

const created = (store: Store, { key, record }: Stored) =>
  Effect.flatMap(store.create(key, record, start), (outcome) => equal("create", outcome, "created"))

const rotated = (keyFor: (key: Stored["key"]) => Stored["key"]): Change["act"] => (store, { key, record }) => {
  const newKey = keyFor(key)
  return [
    Effect.flatMap(
      store.rotate(key, newKey, record, { expectedVersion: 1, now: start }),
      (outcome) => equal("rotate", outcome, "saved")
    ),
    { key: newKey, record: { ...record, version: 2 } }
  ]
}

const changes: ReadonlyArray<Change> = [
  { name: "is created", before: () => Effect.void, act: (store, one) => [created(store, one), one] },
  { name: "rotates", before: created, act: rotated((key) => keyOf(key.charAt(0) + freshKey().slice(1))) },
  { name: "rotates to another shard", before: created, act: rotated(keyApart) }
]

for (const [name, client] of ofRedis(["redis", redisClient] as const, ["redis-cluster", redisClusterClient] as const)) {
  describe(`${name}: the session that revokeSubject spares`, () => {
    for (const { act, before, name } of changes) {
      it.scopedLive(`${name} before any command of the revocation: it is alive, and others are ended`, () =>
        Effect.gen(function*() {
          const { interrupted, store } = yield* opened
          for (const at of range(4)) {
            const { one, other } = yield* bothOf(store, before)
            const [change, changed] = act(store, one)
            const { done, store: revoking } = yield* interrupted(one.key, at, change)
            yield* sparing(revoking, one)
            if (!done.act) yield* change
            assert.isTrue(done.act || at > 0)
            yield* isAlive(store, changed, start)
            yield* isDead(store, other, start)
          }
        }).pipe(Effect.provide(client)))

      it.scopedLive(`${name}, with the revocation before any command of the change: it is alive, and others are ended`, () =>
        Effect.gen(function*() {
          const { interrupted, store } = yield* opened
          for (const at of range(4)) {
            const { one, other } = yield* bothOf(store, before)
            const { done, store: changing } = yield* interrupted(one.key, at, sparing(store, one))
            const [change, changed] = act(changing, one)
            yield* change
            assert.isTrue(done.act || at > 0)
            yield* isAlive(store, changed, start)
            if (done.act) yield* isDead(store, other, start)
          }
        }).pipe(Effect.provide(client)))
    }

    it.scopedLive("migrates from another store before any command of the revocation: it is alive", () =>
      Effect.gen(function*() {
        const { interrupted, store: to } = yield* opened
        for (const at of range(6)) {
          const from = MemoryStore.make()
          const one = yield* stored(from)
          const other = yield* stored(from)
          const moving = MigratingStore.make(from, to, { phase: "move" })
          const { done, store } = yield* interrupted(one.key, at, moving.load(one.key, start))
          yield* sparing(MigratingStore.make(from, store, { phase: "move" }), one)
          assert.isTrue(done.act || at > 1)
          yield* isAlive(moving, one, start)
          yield* isDead(moving, other, start)
        }
      }).pipe(Effect.provide(client)))

    it.scopedLive("is not another session that was created under its key after Redis deleted it", () =>
      Effect.gen(function*() {
        const client = yield* RedisClient
        const prefix = freshPrefix()
        const store = yield* storeOn(client, { prefix })
        const gone = yield* stored(store)
        const name = `${prefix}{${client.cluster ? gone.key.charAt(0) : "all"}}:${gone.key}`
        yield* Effect.promise(() => client.send(name, ["del", name]))
        const other = yield* stored(store, {}, gone.key)
        yield* sparing(store, gone)
        yield* isDead(store, other, start)
      }).pipe(Effect.provide(client)))
  })
}
