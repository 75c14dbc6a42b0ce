/**
 * Conventions of the layers: `layer` is a value, `layerWith` takes options, `layerConfig` reads them.
 */
import { it } from "@effect/vitest"
import { Config, ConfigProvider, Context, Duration, Effect, Exit, Layer } from "effect"
import { MemoryEngine, MemoryStore, StoredEngine } from "effect-session"
import * as CacheEngine from "effect-session/CacheEngine"
import * as CacheStore from "effect-session/CacheStore"
import { SessionDirectory } from "effect-session/SessionDirectory"
import { SessionEngine } from "effect-session/SessionEngine"
import { SessionStore } from "effect-session/SessionStore"
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
