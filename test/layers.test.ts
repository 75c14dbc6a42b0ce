/**
 * Conventions of the layers: `layer` is a value, `layerWith` takes options, `layerConfig` reads them.
 */
import { it } from "@effect/vitest"
import { Config, ConfigProvider, Context, Duration, Effect, Exit, Layer, Option, Redacted } from "effect"
import {
  CookieEngine,
  Keyring,
  MemoryEngine,
  MemoryStore,
  ObservedStore,
  SealedStore,
  StoredEngine
} from "effect-session"
import * as CacheEngine from "effect-session/CacheEngine"
import * as CacheStore from "effect-session/CacheStore"
import { SessionDirectory } from "effect-session/SessionDirectory"
import { SessionEngine } from "effect-session/SessionEngine"
import { SessionStore } from "effect-session/SessionStore"
import { Fixtures } from "effect-session/testing"
import { assert, describe } from "vitest"

const withConfig = (entries: Readonly<Record<string, string>>) =>
  Layer.setConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(entries))))

describe("layers", () => {
  for (const [name, layer] of [["MemoryStore", MemoryStore.layer], ["CacheStore", CacheStore.layer]] as const) {
    it.scoped(`${name}.layer, used twice in one program, gives one store`, () =>
      Effect.gen(function*() {
        class A extends Context.Tag("A")<A, Context.Tag.Service<SessionStore>>() {}
        class B extends Context.Tag("B")<B, Context.Tag.Service<SessionStore>>() {}
        const built = yield* Layer.build(Layer.merge(
          Layer.provide(Layer.effect(A, SessionStore), layer),
          Layer.provide(Layer.effect(B, SessionStore), layer)
        ))
        assert.strictEqual(Context.get(built, A), Context.get(built, B))
      }))

    it.scoped(`${name}.layer, built in two programs, gives two stores`, () =>
      Effect.gen(function*() {
        const [a, b] = yield* Effect.all([Layer.build(layer), Layer.build(layer)])
        assert.notStrictEqual(Context.get(a, SessionStore), Context.get(b, SessionStore))
      }))
  }

  for (const [name, layer] of [["MemoryEngine", MemoryEngine.layer], ["CacheEngine", CacheEngine.layer]] as const) {
    it.scoped(`${name}.layer, used twice in one program, gives one engine`, () =>
      Effect.gen(function*() {
        class A extends Context.Tag("A")<A, Context.Tag.Service<SessionEngine>>() {}
        const built = yield* Layer.build(Layer.merge(Layer.provide(Layer.effect(A, SessionEngine), layer), layer))
        assert.strictEqual(Context.get(built, A), Context.get(built, SessionEngine))
        assert.isDefined(Context.get(built, SessionDirectory))
      }))
  }

  const keyring = (id: string) =>
    Layer.effect(
      Keyring.Keyring,
      Effect.flatMap(Keyring.generate({ id }), (key) =>
        Keyring.make([{ id, secret: Redacted.make(Redacted.value(key).slice(id.length + 1)) }]))
    )

  /** Provides one store to a part of a program. */
  const on = (store: Context.Tag.Service<SessionStore>) => Layer.provide(Layer.succeed(SessionStore, store))

  it.scoped("StoredEngine.layer over two stores in one program gives each its own engine", () =>
    Effect.gen(function*() {
      class A extends Context.Tag("A")<A, Context.Tag.Service<SessionDirectory>>() {}
      class B extends Context.Tag("B")<B, Context.Tag.Service<SessionDirectory>>() {}
      const [first, second] = [MemoryStore.make(), MemoryStore.make()]
      const built = yield* Layer.build(Layer.merge(
        Layer.effect(A, SessionDirectory).pipe(Layer.provide(StoredEngine.layer), on(first)),
        Layer.effect(B, SessionDirectory).pipe(Layer.provide(StoredEngine.layer), on(second))
      ))
      const [key, record] = [Fixtures.freshKey(), Fixtures.aRecord()]
      yield* second.create(key, record, Fixtures.start)
      assert.isTrue(Option.isNone(yield* Context.get(built, A).find(Fixtures.namespace, record.id, Fixtures.start)))
      assert.isTrue(Option.isSome(yield* Context.get(built, B).find(Fixtures.namespace, record.id, Fixtures.start)))
    }))

  it.scoped("a decorator mentioned twice does not skip the store between its two places", () =>
    Effect.gen(function*() {
      const inner = MemoryStore.make()
      const built = yield* Layer.build(ObservedStore.layer.pipe(
        Layer.provide(SealedStore.layer),
        Layer.provide(ObservedStore.layer),
        on(inner),
        Layer.provide(keyring("k"))
      ))
      const [key, record] = [Fixtures.freshKey(), Fixtures.aRecord()]
      yield* Context.get(built, SessionStore).create(key, record, Fixtures.start)
      const stored = yield* Effect.flatten(inner.load(key, Fixtures.start))
      assert.notStrictEqual(stored.data, record.data)
    }))

  it.scoped("CookieEngine.layer over two keyrings in one program uses each", () =>
    Effect.gen(function*() {
      class A extends Context.Tag("A")<A, Context.Tag.Service<SessionEngine>>() {}
      class B extends Context.Tag("B")<B, Context.Tag.Service<SessionEngine>>() {}
      const built = yield* Layer.build(Layer.merge(
        Layer.effect(A, SessionEngine).pipe(Layer.provide(CookieEngine.layer), Layer.provide(keyring("a"))),
        Layer.effect(B, SessionEngine).pipe(Layer.provide(CookieEngine.layer), Layer.provide(keyring("b")))
      ))
      const scope = { namespace: Fixtures.namespace, cookieName: "session" }
      const [a, b] = yield* Effect.all([Context.get(built, A).bind(scope), Context.get(built, B).bind(scope)])
      const written = yield* a.write({ _tag: "Create", record: Fixtures.aRecord() }, Fixtures.start)
      if (written._tag !== "Written") return assert.fail(written._tag)
      assert.isTrue(Option.isSome(yield* a.open(written.value, Fixtures.start)))
      assert.isTrue(Option.isNone(yield* b.open(written.value, Fixtures.start)))
    }))

  it.scoped("layerConfig reads options when the layer is built", () =>
    Effect.gen(function*() {
      const layer = CacheStore.layerConfig({ maxEntries: Config.integer("MAX_SESSIONS") })
      assert.isTrue(
        Exit.isSuccess(yield* Effect.exit(Layer.build(Layer.provide(layer, withConfig({ MAX_SESSIONS: "5" })))))
      )
      const invalid = yield* Effect.flip(Layer.build(Layer.provide(layer, withConfig({ MAX_SESSIONS: "0" }))))
      assert.include(String(invalid), "maxEntries")
      const missing = yield* Effect.flip(Layer.build(Layer.provide(layer, withConfig({}))))
      assert.include(String(missing), "MAX_SESSIONS")
    }))

  it.scoped("layerConfig takes a duration as a Config of a Duration", () =>
    Effect.gen(function*() {
      const layer = StoredEngine.layerConfig({
        timeout: Config.withDefault(Config.duration("SESSION_TIMEOUT"), Duration.seconds(1))
      })
      const built = yield* Layer.build(Layer.provide(layer, MemoryStore.layer))
      assert.isDefined(Context.get(built, SessionEngine))
    }))
})
