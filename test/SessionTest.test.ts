import { it } from "@effect/vitest"
import { Effect, Layer, Option } from "effect"
import { MemoryEngine, StoredEngine } from "effect-session"
import { SessionMaintenance } from "effect-session/SessionMaintenance"
import { SessionTest } from "effect-session/testing"
import { assert, describe, expect } from "vitest"
import { ShopSession } from "./support/shop.js"
import { stores } from "./support/stores.js"

const handler = Effect.gen(function*() {
  yield* ShopSession.update("count", (n) => n + 1)
  return yield* ShopSession.value
})

describe("a handler without HTTP", () => {
  it.effect("reads the given fields and the defaults of the others", () =>
    Effect.gen(function*() {
      const { count, tags, user } = yield* handler
      assert.deepStrictEqual([user, count, tags], ["u1", 8, []])
      expect(yield* ShopSession.subject).toStrictEqual(Option.none())
    }).pipe(Effect.provide(SessionTest.layer(ShopSession, { user: "u1", count: 7 }))))

  it.effect("has the given subject", () =>
    Effect.map(
      Effect.provide(ShopSession.subject, SessionTest.layer(ShopSession, {}, { subject: "ann" })),
      (subject) => expect(subject).toStrictEqual(Option.some("ann"))
    ))

  it.effect("writes its changes on save", () =>
    Effect.gen(function*() {
      const service = yield* ShopSession.service
      const token = Option.getOrThrow(yield* ShopSession.token)
      const stored = Effect.flatMap(service.open(token), (session) => Option.getOrThrow(session).get("count"))
      yield* handler
      assert.strictEqual(yield* stored, 0)
      yield* ShopSession.save
      assert.strictEqual(yield* stored, 1)
    }).pipe(Effect.provide(SessionTest.layer(ShopSession))))

  it.effect("starts with a new session for each layer", () =>
    Effect.gen(function*() {
      const run = () => Effect.provide(handler, SessionTest.layer(ShopSession))
      assert.deepStrictEqual([(yield* run()).count, (yield* run()).count], [1, 1])
    }))

  it.effect("has its own store beside another one in the same program", () =>
    Effect.gen(function*() {
      const { count } = yield* SessionMaintenance
      assert.strictEqual((yield* count(0)).current, 0)
    }).pipe(Effect.provide(Layer.provideMerge(MemoryEngine.layer, SessionTest.layer(ShopSession, {})))))

  it.effect("a given value that is invalid is an error of the layer", () =>
    Effect.map(
      Effect.flip(Effect.provide(handler, SessionTest.layer(ShopSession, { count: Number.NaN }))),
      (error) => assert.strictEqual(error._tag, "SessionInvalid")
    ))

  for (const [name, store] of stores) {
    it.live(`runs on ${name}`, () =>
      Effect.map(handler, ({ count }) => assert.strictEqual(count, 1)).pipe(
        Effect.provide(
          SessionTest.handle(ShopSession).pipe(
            Layer.provide(ShopSession.layer),
            Layer.provide(StoredEngine.layerWith({ timeout: "20 seconds" })),
            Layer.provide(store())
          )
        ),
        Effect.orDie
      ))
  }
})
