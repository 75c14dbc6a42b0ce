/**
 * The size limit of stored sessions.
 */
import { NodeContext } from "@effect/platform-node"
import { it } from "@effect/vitest"
import { Effect, Layer, Option, Schema } from "effect"
import { FileEngine, MemoryEngine, MemoryStore, Session, StoredEngine } from "effect-session"
import * as CachedSqlEngine from "effect-session/CachedSqlEngine"
import * as CacheEngine from "effect-session/CacheEngine"
import { start } from "effect-session/Fixtures"
import { SessionDirectory } from "effect-session/SessionDirectory"
import * as SqlEngine from "effect-session/SqlEngine"
import * as SqlMigrations from "effect-session/SqlMigrations"
import { FaultyStore } from "effect-session/testing"
import { assert, describe } from "vitest"
import { engineOf, opened, record, written } from "./support/engines.js"
import { sqliteClient } from "./support/localStores.js"
import { visit } from "./support/requestWithoutHttp.js"
import { ofRedis, redisClient } from "./support/serverClients.js"
import { temporaryDirectory } from "./support/temporaryDirectories.js"

const kib64 = 65_536

describe("an engine over a store", () => {
  const data = (bytes: number) => "x".repeat(bytes)

  it.effect("accepts 65,536 bytes and rejects one more in every write, without a store call", () =>
    Effect.gen(function*() {
      const { calls, store } = FaultyStore.recorded(MemoryStore.make())
      const engine = yield* engineOf(store)
      const { record: first, value } = yield* written(engine, { _tag: "Create", record: record({ data: data(kib64) }) })
      const before = calls.length
      const large = { ...first, data: data(kib64 + 1), version: 2 }
      for (
        const write of [
          { _tag: "Create", record: record({ data: large.data }) },
          { _tag: "Save", value, record: large, expectedVersion: 1 },
          { _tag: "Rotate", value, record: large, expectedVersion: 1 }
        ] as const
      ) {
        const error = yield* Effect.flip(engine.write(write, start))
        assert.deepStrictEqual([error.operation, error.reason], [write._tag.toLowerCase(), "size"])
      }
      assert.strictEqual(calls.length, before)
      assert.deepStrictEqual(yield* opened(engine, value), first)
    }))

  it.effect("counts bytes of UTF-8, not characters", () =>
    Effect.gen(function*() {
      const engine = yield* engineOf(MemoryStore.make(), { maxSessionBytes: 30 })
      yield* written(engine, { _tag: "Create", record: record({ data: "\u6f22".repeat(10) }) })
      yield* written(engine, { _tag: "Create", record: record({ data: "x".repeat(30) }) })
      const error = yield* Effect.flip(
        engine.write({ _tag: "Create", record: record({ data: "\u6f22".repeat(10) + "x" }) }, start)
      )
      assert.strictEqual(error.reason, "size")
    }))

  it.effect("counts sealed data by its stored size", () =>
    Effect.gen(function*() {
      const store = MemoryStore.make()
      const engine = yield* engineOf(store, { seal: "token" })
      // A prefix of 3 characters, and base64url of layout, nonce, data and tag.
      const most = Math.floor((kib64 - 3) * 3 / 4) - 1 - 24 - 16
      yield* written(engine, { _tag: "Create", record: record({ data: data(most) }) })
      const error = yield* Effect.flip(
        engine.write({ _tag: "Create", record: record({ data: data(most + 1) }) }, start)
      )
      assert.strictEqual(error.reason, "size")
    }))

  it.effect("opens a record that is already larger, and writes it as long as it does not grow", () =>
    Effect.gen(function*() {
      const store = MemoryStore.make()
      const generous = yield* engineOf(store, { maxSessionBytes: 2 * kib64 })
      const { record: first, value } = yield* written(generous, {
        _tag: "Create",
        record: record({ data: data(100_000) })
      })
      const engine = yield* engineOf(store)
      const open = Effect.map(engine.open(value, start), Option.getOrThrow)
      const sizeAfter = (bytes: number, tag: "Save" | "Rotate" = "Save") =>
        Effect.flatMap(open, ({ record: { version }, value }) =>
          Effect.either(engine.write({
            _tag: tag,
            value,
            record: { ...first, data: data(bytes), version: version + 1 },
            expectedVersion: version
          }, start)))
      assert.strictEqual((yield* sizeAfter(100_001))._tag, "Left")
      assert.strictEqual((yield* sizeAfter(100_000))._tag, "Right")
      assert.strictEqual((yield* sizeAfter(80_000))._tag, "Right")
      assert.strictEqual((yield* sizeAfter(80_001))._tag, "Left")
      assert.strictEqual((yield* open).record.data.length, 80_000)
      assert.strictEqual((yield* sizeAfter(1000))._tag, "Right")
      assert.strictEqual((yield* sizeAfter(kib64 + 1))._tag, "Left")
      assert.strictEqual((yield* sizeAfter(kib64, "Rotate"))._tag, "Right")
    }))

  it.effect("rejects a limit that is not a whole number of bytes", () =>
    Effect.forEach([0, -1, 1.5, Number.NaN, Infinity], (maxSessionBytes) =>
      Effect.map(
        Effect.flip(engineOf(MemoryStore.make(), { maxSessionBytes })),
        ({ message }) => assert.include(message, "maxSessionBytes must be a whole number of bytes, 1 or more")
      ), { discard: true }))
})

class Shop extends Session.Tag<Shop>()("test/Size", {
  carryOver: "all",
  schema: Schema.Struct({ note: Schema.optional(Schema.String), basket: Schema.optional(Schema.String) })
}) {}

const count = Effect.flatMap(
  SessionDirectory,
  (directory) => Effect.map(directory.scan("test/Size", { limit: 10, now: 0 }), (page) => page.length)
)

const largeNote = Shop.set("note", "x".repeat(kib64))

const isTooLarge = (error: unknown) => {
  assert.deepInclude(error, {
    _tag: "SessionTooLarge",
    fields: [{ name: "note", length: kib64 + 2 }, { name: "basket", length: 6 }]
  })
}

describe("a request whose session grows too large", () => {
  const memory = Layer.provideMerge(Shop.layer, MemoryEngine.layer)

  it.effect("fails with SessionTooLarge, which names the large fields, and nothing is written", () =>
    Effect.gen(function*() {
      const { cookie, error, setCookie } = yield* visit(Shop, Effect.zipRight(Shop.set("basket", "full"), largeNote))
      isTooLarge(error)
      assert.deepStrictEqual([cookie, setCookie, yield* count], [undefined, undefined, 0])
      const service = yield* Shop.service
      isTooLarge(yield* Effect.flip(service.create({ note: "x".repeat(kib64), basket: "full" })))
      assert.strictEqual(yield* count, 0)
    }).pipe(Effect.provide(memory)))

  for (const [what, first] of [["a save", Effect.void], ["a login", Shop.authenticate("ann")]] as const) {
    it.effect(`keeps the previous session after ${what} that is too large`, () =>
      Effect.gen(function*() {
        const { cookie } = yield* visit(Shop, Shop.set("basket", "full"))
        const { error, setCookie } = yield* visit(Shop, Effect.zipRight(first, largeNote), cookie)
        isTooLarge(error)
        assert.isUndefined(setCookie)
        assert.strictEqual((yield* visit(Shop, Shop.get("basket"), cookie)).result, "full")
      }).pipe(Effect.provide(memory)))
  }

  it.effect("keeps the session that it would have replaced", () =>
    Effect.gen(function*() {
      const { cookie } = yield* visit(Shop, Shop.set("basket", "full"))
      const replaced = yield* visit(Shop, Effect.all([Shop.destroy, largeNote, Shop.set("basket", "next")]), cookie)
      isTooLarge(replaced.error)
      assert.strictEqual((yield* visit(Shop, Shop.get("basket"), cookie)).result, "full")
      assert.strictEqual(yield* count, 1)
    }).pipe(Effect.provide(memory)))
})

describe("each engine over a store has the option maxSessionBytes", () => {
  const maxSessionBytes = 100
  const prefix = "size_"
  const sqlite = Layer.provideMerge(SqlMigrations.layerWith({ prefix }), sqliteClient)
  const engines: ReadonlyArray<readonly [string, Layer.Layer<StoredEngine.Provided, unknown>]> = [
    ["StoredEngine", Layer.provide(StoredEngine.layerWith({ maxSessionBytes }), MemoryStore.layer)],
    ["MemoryEngine", MemoryEngine.layerWith({ maxSessionBytes })],
    ["CacheEngine", CacheEngine.layerWith({ maxSessionBytes })],
    [
      "FileEngine",
      Layer.unwrapScoped(
        Effect.map(temporaryDirectory("size"), (directory) => FileEngine.layer({ directory, maxSessionBytes }))
      ).pipe(Layer.provide(NodeContext.layer))
    ],
    ["SqlEngine", Layer.provide(SqlEngine.layerWith({ prefix, maxSessionBytes }), sqlite)],
    ["CachedSqlEngine", Layer.provide(CachedSqlEngine.layer({ prefix, lease: "1 second", maxSessionBytes }), sqlite)],
    ...ofRedis(
      [
        "CacheEngine.layerRedis",
        Layer.provide(
          CacheEngine.layerRedisWith({ prefix: "size", maxSessionBytes, timeout: "20 seconds" }),
          redisClient
        )
      ] as const
    )
  ]
  for (const [name, engine] of engines) {
    it.live(name, () =>
      Effect.gen(function*() {
        assert.isUndefined((yield* visit(Shop, Shop.set("note", "x".repeat(80)))).error)
        const { error } = yield* visit(Shop, Shop.set("note", "x".repeat(100)))
        assert.strictEqual(error?._tag, "SessionTooLarge")
      }).pipe(Effect.provide(Layer.provide(Shop.layerWith({ commitTimeout: "20 seconds" }), engine))))
  }
})
