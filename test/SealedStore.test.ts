import { it } from "@effect/vitest"
import { Effect, Layer, Option, Redacted } from "effect"
import { MemoryEngine, MemoryStore, StoredEngine } from "effect-session"
import * as CacheEngine from "effect-session/CacheEngine"
import type { Stored } from "effect-session/Fixtures"
import { aRecord, day, freshKey, hour, isAlive, isDead, minute, start, stored } from "effect-session/Fixtures"
import * as Keyring from "effect-session/Keyring"
import * as SealedStore from "effect-session/SealedStore"
import { SessionDirectory } from "effect-session/SessionDirectory"
import { SessionEngine } from "effect-session/SessionEngine"
import type { SessionRecord } from "effect-session/SessionRecord"
import { SessionStore } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import { engineLaws, storedEngineLaws, storeLaws } from "effect-session/testing"
import * as TieredStore from "effect-session/TieredStore"
import { assert, describe } from "vitest"
import { recordsIn } from "./support/scanPages.js"

const secret = (seed: number) =>
  Redacted.make(
    Buffer.from(Array.from({ length: 32 }, (_, i) => (seed * 41 + i * 97 + i * i * 29) % 256)).toString("base64url")
  )
const ring = Keyring.layer([{ id: "k1", secret: secret(1) }])

const layer = () => SealedStore.layer.pipe(Layer.provide(MemoryStore.layer), Layer.provide(ring))

for (const { law, name } of storeLaws) {
  it.live(name, () => Effect.provide(law, layer()))
}

const setUp = Effect.gen(function*() {
  const memory = MemoryStore.make()
  const store = yield* Effect.provide(SealedStore.make(memory), ring)
  return { memory, store }
})

/** Checks that `load` and `find` fail with `corrupt`, and that `scan` returns the record as corrupt. */
const isCorrupt = (store: Store, { key, record: { id, namespace } }: Stored) =>
  Effect.gen(function*() {
    const page = yield* store.scan(namespace, { limit: 10, now: start })
    assert.strictEqual((yield* Effect.flip(store.load(key, start))).reason, "corrupt")
    assert.strictEqual((yield* Effect.flip(store.find(namespace, id, start))).reason, "corrupt")
    const corrupt = page.flatMap((one) => "error" in one ? [[one.id, one.error.operation, one.error.reason]] : [])
    assert.deepStrictEqual(corrupt, [[id, "scan", "corrupt"]])
  })

describe("a record in a sealed store", () => {
  it.effect("does not reveal its data", () =>
    Effect.gen(function*() {
      const { memory, store } = yield* setUp
      const one = yield* stored(store, { data: `{"card":"4242"}` })
      const row = Option.getOrThrow(yield* memory.load(one.key, start))
      assert.match(row.data, /^e1\.k1\./)
      yield* isAlive(store, one, start)
    }))

  it.effect("cannot be swapped: a row copied to another key or version is corrupt", () =>
    Effect.gen(function*() {
      const { memory, store } = yield* setUp
      const victim = yield* stored(store)
      const attacker = yield* stored(store)
      const row = Option.getOrThrow(yield* memory.load(victim.key, start))
      const key = freshKey()
      yield* memory.create(key, { ...row, id: aRecord().id }, start)
      assert.strictEqual((yield* Effect.flip(store.load(key, start))).reason, "corrupt")
      yield* memory.save(attacker.key, { ...attacker.record, data: row.data }, { expectedVersion: 1, now: start })
      assert.strictEqual((yield* Effect.flip(store.load(attacker.key, start))).reason, "corrupt")
      // An older state of the same row, restored with the current version.
      yield* store.save(victim.key, victim.record, { expectedVersion: 1, now: start })
      yield* memory.save(victim.key, row, { expectedVersion: 2, now: start })
      assert.strictEqual((yield* Effect.flip(store.load(victim.key, start))).reason, "corrupt")
    }))

  it.effect("cannot be swapped: with the data of another row, load, find and scan report it as corrupt", () =>
    Effect.gen(function*() {
      const { memory, store } = yield* setUp
      const ann = yield* stored(store, { subject: "ann" })
      const bob = yield* stored(store, { subject: "bob" })
      const row = Option.getOrThrow(yield* memory.load(ann.key, start))
      yield* memory.destroy(bob.key)
      yield* memory.create(bob.key, { ...bob.record, data: row.data }, start)
      yield* isCorrupt(store, bob)
      // Other sessions are not affected, and the corrupt one can be ended.
      yield* isAlive(store, ann, start)
      assert.isTrue(yield* store.revoke("laws", bob.record.id))
      yield* isDead(store, bob, start)
    }))

  const edits: ReadonlyArray<readonly [string, (record: SessionRecord) => Partial<SessionRecord>]> = [
    ["subject", () => ({ subject: "bob" })],
    ["subject, removed", () => ({ subject: undefined })],
    ["id", () => ({ id: aRecord().id })],
    ["namespace", () => ({ namespace: "another" })],
    ["deadline", ({ expiry }) => ({ expiry: { ...expiry, deadline: start + 365 * day } })],
    ["deadline, removed", ({ expiry }) => ({ expiry: { ...expiry, deadline: undefined } })],
    ["creation time", () => ({ createdAt: start + minute })],
    ["authentication time", () => ({ authenticatedAt: start + minute })],
    ["schema version", () => ({ schemaVersion: 2 })],
    ["version", () => ({ version: 2 })]
  ]
  for (const [column, edit] of edits) {
    it.effect(`is bound to its ${column}: if that is edited, the record is corrupt, and a save fails`, () =>
      Effect.gen(function*() {
        const { memory } = yield* setUp
        const sealed = Effect.provide(SealedStore.make(memory), ring)
        const { key, record } = yield* stored(yield* sealed)
        const row = Option.getOrThrow(yield* memory.load(key, start))
        const edited = { ...row, ...edit(row) }
        yield* memory.destroy(key)
        yield* memory.create(key, edited, start)
        // Another process, which has not cached the original row.
        const store = yield* sealed
        yield* isCorrupt(store, { key, record: edited })
        assert.strictEqual(
          (yield* Effect.flip(store.save(key, record, { expectedVersion: edited.version, now: start }))).reason,
          "corrupt"
        )
      }))
  }

  it.effect("ends at its deadline, also if a later expiry was written to its row", () =>
    Effect.gen(function*() {
      const { memory, store } = yield* setUp
      const { key, record } = yield* stored(store)
      const other = yield* stored(store, { expiry: { at: start + 9 * day, deadline: undefined, lifetime: undefined } })
      const row = Option.getOrThrow(yield* memory.load(key, start))
      yield* memory.destroy(key)
      yield* memory.create(key, { ...row, expiry: { ...row.expiry, at: start + 9 * day } }, start)
      assert.isTrue(Option.isSome(yield* store.load(key, start + day - 1)))
      assert.isTrue(Option.isNone(yield* store.load(key, start + day)))
      assert.isTrue(Option.isNone(yield* store.find(record.namespace, record.id, start + day)))
      // An omitted record does not shorten the page.
      const page = yield* store.scan(record.namespace, { limit: 1, now: start + day })
      assert.deepStrictEqual(page.map(({ id }) => id), [other.record.id])
    }))

  it.effect("is saved without a load by a process that has loaded it, and with one load by any other", () =>
    Effect.gen(function*() {
      const { memory } = yield* setUp
      let loads = 0
      const counted = {
        ...memory,
        load: (...args: Parameters<typeof memory.load>) => Effect.suspend(() => (loads++, memory.load(...args)))
      }
      const sealed = Effect.provide(SealedStore.make(counted), ring)
      const { key, record } = yield* stored(yield* sealed)
      const store = yield* sealed
      assert.strictEqual(yield* store.save(key, record, { expectedVersion: 1, now: start }), "saved")
      assert.strictEqual(loads, 1)
      assert.strictEqual(yield* store.save(key, record, { expectedVersion: 2, now: start }), "saved")
      assert.strictEqual(loads, 1)
      const elsewhere = yield* sealed
      const found = Option.getOrThrow(yield* elsewhere.load(key, start))
      assert.strictEqual(yield* elsewhere.save(key, found, { expectedVersion: 3, now: start }), "saved")
      assert.strictEqual(loads, 2)
      assert.strictEqual(yield* store.save(key, record, { expectedVersion: 3, now: start }), "conflict")
    }))

  it.live("can be an entry or a tombstone of a cache", () =>
    Effect.gen(function*() {
      const cache = yield* Effect.provide(SealedStore.make(MemoryStore.make()), ring)
      const origin = MemoryStore.make()
      const store = yield* TieredStore.make(cache, origin, { lease: "5 seconds" })
      const now = Date.now()
      const { key, record } = yield* stored(store, {
        expiry: { at: now + hour, deadline: now + day, lifetime: undefined }
      })
      for (const version of [1, 2, 3]) {
        const data = `"${version}"`
        yield* store.load(key, now)
        assert.strictEqual(yield* store.save(key, { ...record, data }, { expectedVersion: version, now }), "saved")
        assert.strictEqual(Option.getOrThrow(yield* cache.load(key, now)).data, "")
        assert.strictEqual(Option.getOrThrow(yield* store.load(key, now)).data, data)
      }
    }))

  it.effect("that was never sealed, or was sealed with a removed key, is corrupt", () =>
    Effect.gen(function*() {
      const { memory, store } = yield* setUp
      const plain = yield* stored(memory)
      assert.strictEqual((yield* Effect.flip(store.load(plain.key, start))).reason, "corrupt")
      const one = yield* stored(store)
      const other = yield* Effect.provide(
        SealedStore.make(memory),
        Keyring.layer([{ id: "k2", secret: secret(2) }])
      )
      assert.strictEqual((yield* Effect.flip(other.load(one.key, start))).reason, "corrupt")
    }))
})

describe("an engine that seals with the token", () => {
  const engine = () => StoredEngine.layerWith({ seal: "token" }).pipe(Layer.provide(MemoryStore.layer))
  for (const { law, name } of [...engineLaws, ...storedEngineLaws]) {
    it.live(name, () => Effect.provide(law, engine()))
  }

  it.effect("stores no readable data", () =>
    Effect.gen(function*() {
      const { bind } = yield* SessionEngine
      const bound = yield* bind({ namespace: "laws", cookieName: "c" })
      const written = yield* bound.write({ _tag: "Create", record: aRecord({ data: `{"card":"4242"}` }) }, start)
      const [row] = yield* Effect.flatMap(SessionStore, (store) =>
        Effect.map(store.scan("laws", { limit: 10, now: start }), recordsIn))
      assert.match(row?.data ?? "", /^t1\.[A-Za-z0-9_-]+$/)
      assert.notInclude(Buffer.from(row?.data.slice(3) ?? "", "base64url").toString("latin1"), "4242")
      assert.strictEqual(written._tag, "Written")
    }).pipe(Effect.provide(StoredEngine.layerWith({ seal: "token" }).pipe(Layer.provideMerge(MemoryStore.layer)))))
})

describe("an engine in memory with `seal: \"token\"` seals its records, and its other options apply too", () => {
  const engines = {
    MemoryEngine: () => MemoryEngine.layerWith({ seal: "token", timeout: "1 second", capacity: 1 }),
    CacheEngine: () => CacheEngine.layerWith({ seal: "token", timeout: "1 second", maxEntries: 1 })
  }
  for (const [name, engine] of Object.entries(engines)) {
    it.effect(name, () =>
      Effect.gen(function*() {
        const bound = yield* Effect.flatMap(
          SessionEngine,
          ({ bind }) => bind({ namespace: "laws", cookieName: "c" })
        )
        const directory = yield* SessionDirectory
        yield* bound.write({ _tag: "Create", record: aRecord() }, start)
        yield* bound.write({ _tag: "Create", record: aRecord({ data: `{"card":"4242"}` }) }, start)
        const row = recordsIn(yield* directory.scan("laws", { limit: 10, now: start }))
        assert.deepStrictEqual(row.map(({ data }) => data.slice(0, 3)), ["t1."])
      }).pipe(Effect.provide(engine())))
  }
})
