import { it } from "@effect/vitest"
import { Effect, Layer, Option, Redacted } from "effect"
import { MemoryEngine, MemoryStore, SessionDirectory, SessionEngine, SessionStore, StoredEngine } from "effect-session"
import * as CacheEngine from "effect-session/CacheEngine"
import * as Keyring from "effect-session/Keyring"
import * as SealedStore from "effect-session/SealedStore"
import { engineLaws, storedEngineLaws, storeLaws } from "effect-session/testing"
import { assert, describe } from "vitest"
import { aRecord, freshKey, isAlive, start, stored } from "../src/internal/testing/records.js"

const secret = (seed: number) =>
  Redacted.make(
    Buffer.from(Array.from({ length: 32 }, (_, i) => (seed * 41 + i * 97 + i * i * 29) % 256)).toString("base64url")
  )
const ring = Keyring.layer([{ id: "k1", secret: secret(1) }])

const layer = () => SealedStore.layer().pipe(Layer.provide(MemoryStore.layer()), Layer.provide(ring))

for (const { law, name } of storeLaws) {
  it.live(name, () => Effect.provide(law, layer()))
}

const setUp = Effect.gen(function*() {
  const memory = MemoryStore.make()
  const store = yield* Effect.provide(SealedStore.make(memory), ring)
  return { memory, store }
})

describe("what a sealed store keeps", () => {
  it.effect("tells nothing of the data", () =>
    Effect.gen(function*() {
      const { memory, store } = yield* setUp
      const one = yield* stored(store, { data: `{"card":"4242"}` })
      const kept = Option.getOrThrow(yield* memory.load(one.key, start))
      assert.match(kept.data, /^e1\.k1\./)
      yield* isAlive(store, one, start)
    }))

  it.effect("cannot be swapped: a row under another key, or of another version, is corrupt and left alone", () =>
    Effect.gen(function*() {
      const { memory, store } = yield* setUp
      const victim = yield* stored(store)
      const thief = yield* stored(store)
      const kept = Option.getOrThrow(yield* memory.load(victim.key, start))
      const key = freshKey()
      yield* memory.create(key, { ...kept, id: aRecord().id }, start)
      assert.strictEqual((yield* Effect.flip(store.load(key, start))).reason, "corrupt")
      yield* memory.save(thief.key, { ...thief.record, data: kept.data }, 1, start)
      assert.strictEqual((yield* Effect.flip(store.load(thief.key, start))).reason, "corrupt")
      // An older state of its own, brought back under the version of now.
      yield* store.save(victim.key, victim.record, 1, start)
      yield* memory.save(victim.key, kept, 2, start)
      assert.strictEqual((yield* Effect.flip(store.load(victim.key, start))).reason, "corrupt")
    }))

  it.effect("that was never sealed, or with a key that is gone, is corrupt", () =>
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
  const engine = () => StoredEngine.layer({ seal: "token" }).pipe(Layer.provide(MemoryStore.layer()))
  for (const { law, name } of [...engineLaws, ...storedEngineLaws]) {
    it.live(name, () => Effect.provide(law, engine()))
  }

  it.effect("leaves a store that cannot read, also not with all of it", () =>
    Effect.gen(function*() {
      const { bind } = yield* SessionEngine
      const bound = yield* bind({ namespace: "laws", cookieName: "c" })
      const written = yield* bound.write({ _tag: "Create", record: aRecord({ data: `{"card":"4242"}` }) }, start)
      const [kept] = yield* Effect.flatMap(SessionStore, (store) => store.scan("laws", undefined, 10, start))
      assert.match(kept?.data ?? "", /^t1\.[A-Za-z0-9_-]+$/)
      assert.notInclude(Buffer.from(kept?.data.slice(3) ?? "", "base64url").toString("latin1"), "4242")
      assert.strictEqual(written._tag, "Written")
    }).pipe(Effect.provide(StoredEngine.layer({ seal: "token" }).pipe(Layer.provideMerge(MemoryStore.layer())))))
})

describe("every engine in memory seals with the token when it is told to, and keeps its own options", () => {
  const engines = {
    MemoryEngine: () => MemoryEngine.layer({ seal: "token", timeout: "1 second", capacity: 1 }),
    CacheEngine: () => CacheEngine.layer({ seal: "token", timeout: "1 second", maxEntries: 1 })
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
        const kept = yield* directory.scan("laws", undefined, 10, start)
        assert.deepStrictEqual(kept.map(({ data }) => data.slice(0, 3)), ["t1."])
      }).pipe(Effect.provide(engine())))
  }
})
