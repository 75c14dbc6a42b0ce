/** The time to open a session is limited, for any cookies that a request presents. */
import { it } from "@effect/vitest"
import { Effect, Fiber, Layer, Redacted, Schema, TestClock } from "effect"
import { MemoryStore, Session, StoredEngine } from "effect-session"
import * as CookieEngine from "effect-session/CookieEngine"
import * as Keyring from "effect-session/Keyring"
import { SessionStore } from "effect-session/SessionStore"
import type { Store } from "effect-session/SessionStore"
import { FaultyStore } from "effect-session/testing"
import { randomBytes } from "node:crypto"
import { assert, describe } from "vitest"
import * as Tokens from "../src/internal/crypto/sessionToken.js"
import { visit } from "./support/requestWithoutHttp.js"

class Users extends Session.Tag<Users>()("test/Opening", {
  schema: Schema.Struct({ name: Schema.optional(Schema.String) })
}) {}

const ring = Keyring.layer([{ id: "k", secret: Redacted.make(randomBytes(32).toString("base64url")) }])

/** Unknown tokens, each of which costs a load. */
const invented = Array.from(
  { length: 8 },
  (_, at) => Redacted.value(Tokens.fromBytes(new Uint8Array(Tokens.byteLength).fill(at)))
)

const engines = [
  ["a stored engine", (store: Store) =>
    Effect.map(
      Layer.build(Layer.provide(
        Users.layer,
        Layer.provide(StoredEngine.layer, Layer.succeed(SessionStore, store))
      )),
      (context) => ({ context, values: Effect.succeed(invented) })
    )],
  ["a ledger", (store: Store) =>
    Effect.map(
      Layer.build(Layer.provide(
        Users.layer,
        CookieEngine.layerLedger.pipe(Layer.provide(ring), Layer.provide(Layer.succeed(SessionStore, store)))
      )),
      (context) => ({
        context,
        values: Effect.forEach(invented, () =>
          Effect.map(
            Effect.provide(visit(Users, Effect.zipRight(Users.set("name", "x"), Users.save)), context),
            ({ cookie = "" }) => cookie
          ))
      })
    )]
] as const

describe("a request with eight cookies of our name", () => {
  for (const [name, build] of engines) {
    it.scoped(`${name}: one timeout applies to all loads together`, () =>
      Effect.gen(function*() {
        let isSlow = false
        const { calls, store } = FaultyStore.recorded(
          MemoryStore.make(),
          (operation, call) => isSlow && operation === "load" ? Effect.delay(call, "10 minutes") : call,
          true
        )
        const { context, values } = yield* build(store)
        const cookies = (yield* values).join("; __Host-Http-session=")
        isSlow = true
        const before = calls.length
        const opening = yield* Effect.fork(
          Effect.flip(Effect.provide(visit(Users, Users.get("name"), cookies), context))
        )
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* Fiber.join(opening))._tag, "SessionUnavailable")
        assert.deepStrictEqual(calls.slice(before).map(({ operation }) => operation), invented.map(() => "load"))
      }))

    it.scoped(`${name}: slow loads within the timeout run concurrently`, () =>
      Effect.gen(function*() {
        let isSlow = false
        const { store } = FaultyStore.recorded(
          MemoryStore.make(),
          (operation, call) => isSlow && operation === "load" ? Effect.delay(call, "900 millis") : call,
          true
        )
        const { context, values } = yield* build(store)
        const cookies = (yield* values).join("; __Host-Http-session=")
        isSlow = true
        const opening = yield* Effect.fork(Effect.provide(visit(Users, Users.get("name"), cookies), context))
        yield* TestClock.adjust("900 millis")
        assert.isUndefined((yield* Fiber.join(opening)).result)
      }))
  }
})
