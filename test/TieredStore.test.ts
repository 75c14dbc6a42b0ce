import { it } from "@effect/vitest"
import { Effect, Exit, Fiber, FiberRef, Option } from "effect"
import { MemoryStore } from "effect-session"
import {
  aRecord,
  freshId,
  freshKey,
  hour,
  isAlive,
  isDead,
  isThere,
  minute,
  start,
  type Stored,
  stored
} from "effect-session/Fixtures"
import type { InvalidationEvent } from "effect-session/SessionInvalidation"
import { SessionInvalidation } from "effect-session/SessionInvalidation"
import { SessionStoreError } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import { FaultyStore } from "effect-session/testing"
import * as TieredStore from "effect-session/TieredStore"
import { assert, describe } from "vitest"
import { everyOrder, type Scene, someOrders } from "../src/internal/testing/interleave.js"
import { equal } from "../src/internal/testing/law.js"
import { range, together } from "./support/concurrency.js"
import { farExpiry } from "./support/migrationRaces.js"

const lease = 5000

const newest = { max: 1, onFull: "oldest" } as const

/** A login within a limit of one session: it evicts the session of `stored`, which is of the same subject. */
const evictingCreate = (store: Store) => store.create(freshKey(), aRecord({ createdAt: start + 1 }), start, newest)

/** A login that rotates an anonymous session, within the same limit. */
const evictingRotate = (store: Store) =>
  Effect.gen(function*() {
    const { key, record } = yield* Effect.orDie(stored(store, { subject: undefined, createdAt: start + 1 }))
    const next = { ...record, id: freshId(), subject: "ann" }
    return yield* store.rotate(key, freshKey(), next, { expectedVersion: 1, now: start, limit: newest })
  })

const tiersOf = (cache: Store, origin: Store) => TieredStore.make(cache, origin, { lease })

const setUp = Effect.gen(function*() {
  const cache = FaultyStore.controlled(MemoryStore.make())
  const origin = FaultyStore.controlled(MemoryStore.make())
  const tiers = yield* tiersOf(cache.store, origin.store)
  const one = yield* stored(tiers)
  return { cache, origin, tiers, one }
})

describe("reads", () => {
  it.live("the second read of a session does not reach the origin until the lease has passed", () =>
    Effect.gen(function*() {
      const { origin, one, tiers } = yield* setUp
      origin.calls.length = 0
      yield* isThere(tiers, one.key, start)
      yield* isThere(tiers, one.key, start + lease - 1)
      assert.deepStrictEqual(origin.calls, ["load"])
      yield* isThere(tiers, one.key, start + lease)
      assert.deepStrictEqual(origin.calls, ["load", "load"])
    }))

  for (const later of [lease, lease + minute - 1, lease + minute, 10 * minute]) {
    it.live(`an expired entry is replaced by a new one (after ${later} ms)`, () =>
      Effect.gen(function*() {
        const { origin, one, tiers } = yield* setUp
        yield* isThere(tiers, one.key, start)
        yield* origin.store.save(one.key, { ...one.record, data: `"new"`, writeId: "new" }, {
          expectedVersion: 1,
          now: start
        })
        const now = start + later
        const expected = Option.getOrUndefined(yield* tiers.load(one.key, now))
        assert.strictEqual(expected?.data, `"new"`)
        origin.calls.length = 0
        assert.deepStrictEqual(Option.getOrUndefined(yield* tiers.load(one.key, now)), expected)
        assert.deepStrictEqual(origin.calls, [])
      }))
  }

  it.live("an entry has every field of the record, and expires with it", () =>
    Effect.gen(function*() {
      const { one, tiers } = yield* setUp
      for (const _ of ["from the origin", "from the cache"]) yield* isAlive(tiers, one, start)
      const end = one.record.expiry.at
      yield* isThere(tiers, one.key, end - 1)
      assert.isFalse(yield* isThere(tiers, one.key, end))
    }))

  it.live("a fresh read bypasses the cache", () =>
    Effect.gen(function*() {
      const { origin, one, tiers } = yield* setUp
      yield* tiers.load(one.key, start)
      origin.calls.length = 0
      yield* tiers.load(one.key, start, "fresh")
      assert.deepStrictEqual(origin.calls, ["load"])
    }))

  it.live("concurrent reads of a session cause one read of the origin", () =>
    Effect.gen(function*() {
      const { origin, one, tiers } = yield* setUp
      origin.calls.length = 0
      const found = yield* together(range(100).map(() => tiers.load(one.key, start)))
      assert.strictEqual(found.filter(Option.isSome).length, 100)
      assert.deepStrictEqual(origin.calls, ["load"])
    }))

  it.live("if the in-flight load is interrupted, the reads that wait for it still succeed", () =>
    Effect.gen(function*() {
      const { origin, one, tiers } = yield* setUp
      origin.controls.fault = "hang"
      const first = yield* Effect.fork(tiers.load(one.key, start))
      yield* Effect.yieldNow()
      const second = yield* Effect.fork(tiers.load(one.key, start))
      yield* Effect.yieldNow()
      origin.controls.fault = undefined
      yield* Fiber.interrupt(first)
      assert.isTrue(Option.isSome(yield* Fiber.join(second)))
    }))

  it.live("an absent session is not cached: once it is created, the next read finds it", () =>
    Effect.gen(function*() {
      const { tiers } = yield* setUp
      const key = freshKey()
      assert.isFalse(yield* isThere(tiers, key, start))
      yield* stored(tiers, {}, key)
      assert.isTrue(yield* isThere(tiers, key, start))
    }))
})

describe("writes", () => {
  for (
    const [name, write] of [
      [
        "a save",
        (store: Store, one: Stored) =>
          store.save(one.key, { ...one.record, data: `"new"` }, { expectedVersion: 1, now: start })
      ],
      [
        "a touch",
        (store: Store, one: Stored) =>
          store.touch(one.key, { lastSeenAt: start + minute, expiresAt: start + 90 * minute, now: start })
      ],
      ["a destroy", (store: Store, one: Stored) => store.destroy(one.key)],
      ["a revocation by id", (store: Store, one: Stored) => store.revoke("laws", one.record.id)],
      ["a revocation by id and subject", (store: Store, one: Stored) => store.revoke("laws", one.record.id, "ann")],
      ["an eviction by a create", evictingCreate],
      ["an eviction by a rotation", evictingRotate],
      ["a revocation of the subject", (store: Store) => store.revokeSubject("laws", "ann")],
      ["a revocation of all sessions", (store: Store) => store.revokeAll("laws")]
    ] as const
  ) {
    it.live(`${name} is visible at once on this node and on another node with the same cache`, () =>
      Effect.gen(function*() {
        const { origin, cache, one, tiers } = yield* setUp
        const other = yield* tiersOf(cache.store, origin.store)
        yield* together([tiers.load(one.key, start), other.load(one.key, start)])
        yield* write(tiers, one)
        const expected = yield* origin.store.load(one.key, start)
        assert.deepStrictEqual(yield* tiers.load(one.key, start), expected)
        assert.deepStrictEqual(yield* other.load(one.key, start), expected)
      }))

    it.live(`${name} on a node with another cache is visible once the lease has passed`, () =>
      Effect.gen(function*() {
        const { origin, one, tiers } = yield* setUp
        const elsewhere = yield* tiersOf(MemoryStore.make(), origin.store)
        yield* tiers.load(one.key, start)
        yield* write(elsewhere, one)
        assert.deepStrictEqual(
          yield* tiers.load(one.key, start + lease),
          yield* origin.store.load(one.key, start + lease)
        )
      }))
  }

  it.live("after a conflict, the next read returns the record of the origin", () =>
    Effect.gen(function*() {
      const { origin, one, tiers } = yield* setUp
      yield* tiers.load(one.key, start)
      yield* origin.store.save(one.key, { ...one.record, data: `"elsewhere"` }, { expectedVersion: 1, now: start })
      assert.strictEqual(yield* tiers.save(one.key, one.record, { expectedVersion: 1, now: start }), "conflict")
      assert.strictEqual(Option.getOrUndefined(yield* tiers.load(one.key, start))?.version, 2)
    }))
})

describe("no read that races with a write caches the old record", () => {
  interface Race {
    readonly name: string
    readonly write: (store: Store, one: Stored) => Effect.Effect<unknown, SessionStoreError>
  }
  const races: ReadonlyArray<Race> = [
    {
      name: "a save",
      write: (store, { key, record }) =>
        store.save(key, { ...record, data: `"new"` }, { expectedVersion: 1, now: start })
    },
    {
      name: "a rotation",
      write: (store, { key, record }) => store.rotate(key, freshKey(), record, { expectedVersion: 1, now: start })
    },
    { name: "a destroy", write: (store, { key }) => store.destroy(key) },
    { name: "a revocation of the subject", write: (store) => store.revokeSubject("laws", "ann") },
    { name: "a revocation by id", write: (store, { record }) => store.revoke("laws", record.id) }
  ]

  /** Intercepts the store calls of the request that a fiber belongs to. */
  const around = FiberRef.unsafeMake<FaultyStore.Interception>((_, call) => call)
  const parked = (store: Store) =>
    FaultyStore.intercept(
      store,
      (operation, call, args) => Effect.flatMap(FiberRef.get(around), (around) => around(operation, call, args))
    )

  /** A write and reads, on one node or on one node each, whose calls to cache and origin are parked one by one. */
  const scene = (
    { write }: Race,
    readers: number,
    nodes: "one node" | "several",
    where: "an empty cache" | "an old entry",
    /** The number of calls after which another write, a touch, is interrupted. */
    cut?: number
  ): Effect.Effect<Scene<unknown>, unknown> =>
    Effect.gen(function*() {
      const cache = MemoryStore.make()
      const origin = MemoryStore.make()
      const one = yield* stored(origin)
      if (where === "an old entry") yield* (yield* tiersOf(cache, origin)).load(one.key, start - lease)
      const node = tiersOf(parked(cache), parked(origin))
      const only = yield* node
      const on = nodes === "one node" ? Effect.succeed(only) : node
      const request = (act: (tiers: Store) => Effect.Effect<unknown, unknown>) => (parking: FaultyStore.Interception) =>
        Effect.locally(Effect.flatMap(on, act), around, parking)
      return {
        requests: [
          request((tiers) => write(tiers, one)),
          ...cut === undefined
            ? []
            : [cutOff(
              cut,
              request((tiers) => tiers.touch(one.key, { lastSeenAt: start, expiresAt: start + hour, now: start }))
            )],
          ...range(readers).map(() => request((tiers) => tiers.load(one.key, start)))
        ],
        check: Effect.gen(function*() {
          const expected = Option.getOrUndefined(yield* origin.load(one.key, start))
          for (const tiers of [only, yield* tiersOf(cache, origin)]) {
            yield* equal("the next read", Option.getOrUndefined(yield* tiers.load(one.key, start)), expected)
          }
        })
      }
    })

  /** A request that is interrupted after this number of calls. */
  const cutOff =
    (after: number, request: Scene<unknown>["requests"][number]) => (parking: FaultyStore.Interception) => {
      let left = after
      return Effect.exit(request((...call) => left-- > 0 ? parking(...call) : Effect.interrupt))
    }

  const seed = Number(process.env["SEED"] ?? Date.now() % 1e6)

  for (const nodes of ["one node", "several"] as const) {
    for (const race of races) {
      // A revocation does not know its keys; other nodes that share a cache see it once the lease has passed.
      if (nodes === "several" && race.name.startsWith("a revocation")) continue
      for (const where of ["an empty cache", "an old entry"] as const) {
        it.live(`${race.name} and a read on ${nodes} over ${where}, with their calls in every order`, () =>
          Effect.map(everyOrder(scene(race, 1, nodes, where)), (orders) => assert.isAbove(orders, 5)))

        // On one node the second read waits for the first, and there is nothing to order.
        if (nodes === "one node") continue
        it.live(`${race.name} and two reads on ${nodes} over ${where}, in 300 random orders, seed ${seed}`, () =>
          someOrders(scene(race, 2, nodes, where), 300, seed))
        it.live(`${race.name}, a read, and another write that is interrupted, on ${nodes} over ${where}, seed ${seed}`, () =>
          Effect.forEach(range(4), (cut) => someOrders(scene(race, 1, nodes, where, cut), 150, seed)))
      }
    }
  }
})

describe("a read that began before an eviction does not keep the evicted session in the cache", () => {
  const local = Effect.gen(function*() {
    const cache = FaultyStore.controlled(MemoryStore.make(), false)
    const origin = FaultyStore.controlled(MemoryStore.make(), false)
    const tiers = yield* tiersOf(cache.store, origin.store)
    const one = yield* stored(tiers)
    return { cache, origin, tiers, one, begun: yield* Effect.makeLatch(false), release: yield* Effect.makeLatch(false) }
  })

  for (const [operation, login] of [["create", evictingCreate], ["rotation", evictingRotate]] as const) {
    it.live(`if it has loaded the session from the origin (${operation})`, () =>
      Effect.gen(function*() {
        const { begun, one, origin, release, tiers } = yield* local
        origin.controls.after = (called) => called === "load" ? Effect.zipRight(begun.open, release.await) : Effect.void
        const read = yield* Effect.fork(tiers.load(one.key, start))
        yield* begun.await
        origin.controls.after = () => Effect.void
        yield* login(tiers)
        yield* release.open
        assert.isTrue(Option.isSome(yield* Fiber.join(read)))
        assert.isFalse(yield* isThere(tiers, one.key, start))
      }))

    it.live(`if it is filling the cache (${operation})`, () =>
      Effect.gen(function*() {
        const { begun, cache, one, release, tiers } = yield* local
        cache.controls.before = (called) =>
          called === "create" ? Effect.zipRight(begun.open, release.await) : Effect.void
        const read = yield* Effect.fork(tiers.load(one.key, start))
        yield* begun.await
        cache.controls.before = () => Effect.void
        const evicting = yield* Effect.fork(login(tiers))
        yield* Effect.yieldNow()
        yield* release.open
        yield* Fiber.join(read)
        yield* Fiber.join(evicting)
        assert.isFalse(yield* isThere(tiers, one.key, start))
      }))
  }
})

describe("a cache that is down, slow or wiped", () => {
  it.live("down: reads and writes use the origin, and no error is reported", () =>
    Effect.gen(function*() {
      const { cache, one, tiers } = yield* setUp
      cache.controls.fault = "failBefore"
      assert.isTrue(yield* isThere(tiers, one.key, start))
      assert.strictEqual(yield* tiers.save(one.key, one.record, { expectedVersion: 1, now: start }), "saved")
      yield* tiers.revokeSubject("laws", "bob")
      yield* tiers.destroy(one.key)
      yield* isDead(tiers, one, start)
    }))

  it.live("hanging: one read waits for its timeout, and later reads bypass it", () =>
    Effect.gen(function*() {
      const { cache, one, tiers } = yield* setUp
      cache.controls.fault = "hang"
      cache.calls.length = 0
      yield* Effect.forEach(range(10), () => tiers.load(one.key, start))
      assert.strictEqual(cache.calls.length, 1)
    }))

  it.live("down at a logout: its old entries are not used when it is up again", () =>
    Effect.gen(function*() {
      const { cache, one, tiers } = yield* setUp
      yield* tiers.load(one.key, start)
      cache.controls.fault = "failBefore"
      yield* tiers.destroy(one.key)
      cache.controls.fault = undefined
      for (const later of [0, 1, lease - 1, lease, 2 * lease]) {
        assert.isFalse(yield* isThere(tiers, one.key, start + later), `after ${later} ms`)
      }
    }))

  it.live("wiped: reads are slower and correct", () =>
    Effect.gen(function*() {
      const { origin, cache, one, tiers } = yield* setUp
      yield* tiers.load(one.key, start)
      yield* cache.store.revokeAll("laws")
      origin.calls.length = 0
      yield* isAlive(tiers, one, start)
      assert.include(origin.calls, "load")
    }))
})

describe("an origin that is down", () => {
  const withEntry = Effect.gen(function*() {
    const all = yield* setUp
    yield* all.tiers.load(all.one.key, start)
    all.origin.controls.fault = "failBefore"
    return { ...all, other: yield* Effect.succeed(freshKey()) }
  })
  const reasonOf = <A>(call: Effect.Effect<A, SessionStoreError>) =>
    Effect.map(Effect.flip(call), ({ reason }) => reason)

  it.live("until a call fails, the cache answers within its lease; from then on reads fail", () =>
    Effect.gen(function*() {
      const { one, other, tiers } = yield* withEntry
      assert.isTrue(yield* isThere(tiers, one.key, start + lease - 1))
      assert.strictEqual(yield* reasonOf(tiers.load(other, start)), "unavailable")
      assert.strictEqual(yield* reasonOf(tiers.load(one.key, start)), "unavailable")
      assert.strictEqual(
        yield* reasonOf(tiers.save(one.key, one.record, { expectedVersion: 1, now: start })),
        "unavailable"
      )
    }))

  it.live("a read that accepts stale data gets the cached record, marked as stale, within its lease", () =>
    Effect.gen(function*() {
      const { one, other, tiers } = yield* withEntry
      yield* Effect.flip(tiers.load(other, start, "stale"))
      const entry = Option.getOrUndefined(yield* tiers.load(one.key, start + lease - 1, "stale"))
      assert.deepStrictEqual(entry, { ...one.record, stale: true })
      assert.strictEqual(yield* reasonOf(tiers.load(one.key, start + lease, "stale")), "unavailable")
    }))

  it.live("a read that accepts stale data does not wait for an origin that hangs", () =>
    Effect.gen(function*() {
      const { origin, one, other, tiers } = yield* withEntry
      origin.controls.fault = "hang"
      yield* Effect.timeoutOption(tiers.load(other, start), "10 millis")
      const calls = origin.calls.length
      assert.isTrue(Option.isSome(yield* tiers.load(one.key, start, "stale")))
      assert.lengthOf(origin.calls, calls)
    }))

  it.live("a fresh read still calls the origin", () =>
    Effect.gen(function*() {
      const { one, tiers } = yield* withEntry
      assert.strictEqual(yield* reasonOf(tiers.load(one.key, start, "fresh")), "unavailable")
    }))

  it.live("once it answers again, the cache is used again, and no record is marked as stale", () =>
    Effect.gen(function*() {
      const { origin, one, other, tiers } = yield* withEntry
      yield* Effect.flip(tiers.load(other, start))
      origin.controls.fault = undefined
      yield* isAlive(tiers, one, start)
      origin.calls.length = 0
      assert.deepStrictEqual(Option.getOrUndefined(yield* tiers.load(one.key, start, "stale")), one.record)
      assert.deepStrictEqual(origin.calls, [])
    }))
})

describe("nodes that exchange invalidation events", () => {
  /** Two nodes with their own caches and one origin, and the invalidation events that they publish. */
  const two = Effect.gen(function*() {
    const published: Array<InvalidationEvent> = []
    const listeners: Array<(event: InvalidationEvent) => Effect.Effect<void>> = []
    const origin = FaultyStore.controlled(MemoryStore.make())
    const caches = [MemoryStore.make(), MemoryStore.make()] as const
    const node = (me: 0 | 1) =>
      Effect.provideService(
        TieredStore.makeWithInvalidation(caches[me], origin.store, { lease }),
        SessionInvalidation,
        {
          publish: (event) =>
            Effect.suspend(() => {
              published.push(event)
              return Effect.forEach(listeners.filter((_, i) => i !== me), (listener) => listener(event), {
                discard: true
              })
            }),
          subscribe: (listener) => Effect.zipRight(Effect.sync(() => void (listeners[me] = listener)), Effect.never)
        }
      )
    const nodes = [yield* node(0), yield* node(1)] as const
    yield* Effect.yieldNow()
    const one = yield* stored(nodes[0])
    yield* Effect.forEach(nodes, (node) => node.load(one.key, start))
    return { origin, caches, listeners, nodes, one, published }
  })

  for (
    const [name, write, event] of [
      [
        "a save",
        (store, { key, record }) => store.save(key, { ...record, data: `"new"` }, { expectedVersion: 1, now: start }),
        "Key"
      ],
      [
        "a touch",
        (store, { key }) =>
          store.touch(key, { lastSeenAt: start + minute, expiresAt: start + 90 * minute, now: start }),
        "Key"
      ],
      [
        "a rotation",
        (store, { key, record }) => store.rotate(key, freshKey(), record, { expectedVersion: 1, now: start }),
        "Key Key"
      ],
      ["a destroy", (store, { key }) => store.destroy(key), "Key"],
      ["a revocation by id", (store, { record }) => store.revoke("laws", record.id), "Id"],
      ["a revocation by id and subject", (store, { record }) => store.revoke("laws", record.id, "ann"), "Id"],
      ["an eviction by a create", evictingCreate, "Id"],
      ["an eviction by a rotation", evictingRotate, "Key Key Id"],
      ["a revocation of the subject", (store) => store.revokeSubject("laws", "ann"), "Subject"],
      ["a revocation of the others", (store) => store.revokeSubject("laws", "ann", freshId()), "Subject"],
      ["a revocation of all sessions", (store) => store.revokeAll("laws"), "Namespace"]
    ] satisfies ReadonlyArray<
      readonly [string, (store: Store, one: Stored) => Effect.Effect<unknown, SessionStoreError>, string]
    >
  ) {
    it.scopedLive(`${name} is published, and visible at once on the other node`, () =>
      Effect.gen(function*() {
        const { origin, nodes: [a, b], one, published } = yield* two
        yield* write(a, one)
        assert.strictEqual(published.map(({ _tag }) => _tag).join(" "), event)
        assert.deepStrictEqual(yield* b.load(one.key, start), yield* origin.store.load(one.key, start))
        // A received event is not published again.
        assert.strictEqual(published.map(({ _tag }) => _tag).join(" "), event)
      }))
  }

  for (const [operation, login] of [["create", evictingCreate], ["rotate", evictingRotate]] as const) {
    for (
      const [how, lost] of [
        ["fails", (login: Effect.Effect<unknown, unknown>) => login],
        ["is interrupted", (login: Effect.Effect<unknown, unknown>) => Effect.timeout(login, "20 millis")]
      ] as const
    ) {
      it.scopedLive(`a ${operation} within a limit that ${how} after it was executed: no node's cache has the evicted session`, () =>
        Effect.gen(function*() {
          const { origin, nodes: [a, b], one, published } = yield* two
          const end = how === "fails" ? Effect.die("the reply is lost") : Effect.never
          origin.controls.after = (called) => called === operation ? end : Effect.void
          assert.isTrue(Exit.isFailure(yield* Effect.exit(lost(login(a)))))
          assert.deepStrictEqual(published.at(-1), { _tag: "Subject", namespace: "laws", subject: "ann" })
          for (const node of [a, b]) assert.isFalse(yield* isThere(node, one.key, start))
        }))
    }

    it.scopedLive(`a second try of a ${operation} within a limit, after the first was executed: no node's cache has the evicted session`, () =>
      Effect.gen(function*() {
        const { origin, nodes: [a, b], one } = yield* two
        let outcome: unknown
        // The first try bypasses this node, as one that is executed after its timeout.
        const twice = FaultyStore.intercept(
          a,
          (called, call) =>
            called === operation
              ? Effect.tap(call, (result) => void (outcome = result))
              : call
        )
        const first: Store = {
          ...twice,
          create: (...args) =>
            Effect.zipRight(operation === "create" ? origin.store.create(...args) : Effect.void, twice.create(...args)),
          rotate: (...args) => Effect.zipRight(origin.store.rotate(...args), twice.rotate(...args))
        }
        yield* login(first)
        assert.strictEqual(outcome, operation === "create" ? "exists" : "gone")
        for (const node of [a, b]) assert.isFalse(yield* isThere(node, one.key, start))
      }))
  }

  for (
    const [name, limit] of [
      ["that evicts none", { max: 2, onFull: "oldest" }],
      ["that is denied", { max: 1, onFull: "deny" }]
    ] as const
  ) {
    it.scopedLive(`a create within a limit ${name} publishes nothing, and the cached session is still used`, () =>
      Effect.gen(function*() {
        const { origin, nodes: [a], one, published } = yield* two
        const outcome = yield* a.create(freshKey(), aRecord(), start, limit)
        assert.strictEqual(outcome, limit.onFull === "deny" ? "full" : "created")
        assert.deepStrictEqual(published, [])
        origin.calls.length = 0
        assert.isTrue(yield* isThere(a, one.key, start))
        assert.deepStrictEqual(origin.calls, [])
      }))
  }

  it.scopedLive("a write that fails is published too, because it may have been executed", () =>
    Effect.gen(function*() {
      const { origin, nodes: [a], one, published } = yield* two
      origin.controls.fault = "failBefore"
      yield* Effect.flip(a.save(one.key, one.record, { expectedVersion: 1, now: start }))
      assert.deepStrictEqual(published, [{ _tag: "Key", key: one.key }])
    }))

  it.scopedLive("a read during which an invalidation event arrives does not fill the cache", () =>
    Effect.gen(function*() {
      const { origin, listeners, nodes: [, b], one } = yield* two
      yield* listeners[1]?.({ _tag: "Key", key: one.key }) ?? Effect.void
      const latch = yield* Effect.makeLatch(false)
      origin.controls.after = () => latch.await
      const read = yield* Effect.fork(b.load(one.key, start))
      yield* Effect.yieldNow()
      yield* listeners[1]?.({ _tag: "Key", key: one.key }) ?? Effect.void
      origin.controls.after = () => Effect.void
      yield* latch.open
      yield* Fiber.join(read)
      origin.calls.length = 0
      yield* b.load(one.key, start)
      assert.deepStrictEqual(origin.calls, ["load"])
    }))

  it.scopedLive("an invalidation event removes an entry, but not the tombstone of a running write", () =>
    Effect.gen(function*() {
      const { caches: [cache], listeners, nodes: [a], one } = yield* two
      const receive = listeners[0]?.({ _tag: "Key", key: one.key }) ?? Effect.void
      yield* receive
      assert.isFalse(yield* isThere(cache, one.key, start))
      yield* a.save(one.key, one.record, { expectedVersion: 1, now: start })
      yield* receive
      assert.isTrue(yield* isThere(cache, one.key, start))
    }))

  it.scopedLive("after missed events no older entry is used, and new entries are used once the lease has passed", () =>
    Effect.gen(function*() {
      const { origin, listeners, nodes: [, b], one } = yield* two
      yield* listeners[1]?.({ _tag: "Lost" }) ?? Effect.void
      const loads = (now: number) =>
        Effect.suspend(() => {
          origin.calls.length = 0
          return Effect.map(Effect.all([b.load(one.key, now), b.load(one.key, now)]), () => origin.calls.length)
        })
      assert.strictEqual(yield* loads(start), 2)
      assert.strictEqual(yield* loads(start + 2 * lease), 1)
    }))
})

describe("capabilities and reasons", () => {
  it.live("limits are enforced if the origin enforces them, whatever the cache does", () =>
    Effect.gen(function*() {
      const enforcing = MemoryStore.make()
      const { limitsSubjects: _, ...without } = enforcing.capabilities
      const other: Store = { ...enforcing, capabilities: without }
      assert.isTrue((yield* tiersOf(other, enforcing)).capabilities.limitsSubjects)
      assert.isUndefined((yield* tiersOf(enforcing, other)).capabilities.limitsSubjects)
    }))

  it.live("the reason why a session ended is that of the origin, and its error while the origin is down", () =>
    Effect.gen(function*() {
      const { cache, origin, tiers } = yield* setUp
      const one = yield* stored(tiers, { createdAt: start - 1, expiry: farExpiry })
      yield* tiers.load(one.key, start)
      assert.deepStrictEqual(yield* tiers.endReason(one.key, start), Option.none())
      yield* evictingCreate(tiers)
      cache.calls.length = 0
      assert.deepStrictEqual(yield* tiers.endReason(one.key, start), Option.some("limit"))
      assert.deepStrictEqual(cache.calls, [])
      origin.controls.fault = "failBefore"
      assert.strictEqual((yield* Effect.flip(tiers.endReason(one.key, start))).reason, "unavailable")
    }))
})

it.effect("an invalid lease is rejected with a message", () =>
  Effect.gen(function*() {
    for (const lease of ["0 millis", "2 minutes", "1 day"] as const) {
      const error = yield* Effect.flip(TieredStore.make(MemoryStore.make(), MemoryStore.make(), { lease }))
      assert.match(error.message, /from 1 millisecond to 1 minute/)
    }
  }))
