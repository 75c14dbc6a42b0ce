import { it } from "@effect/vitest"
import { Effect, Layer, Metric, Option, Redacted, Schema, TestClock } from "effect"
import { Expiry, MemoryStore, Session, SessionMetrics } from "effect-session"
import * as CookieEngine from "effect-session/CookieEngine"
import * as Keyring from "effect-session/Keyring"
import { assert, describe, expect } from "vitest"
import { visit } from "./support/requestWithoutHttp.js"

const keyOf = (id: string, seed: number): Keyring.Key => ({
  id,
  secret: Redacted.make(
    Buffer.from(Array.from({ length: 32 }, (_, i) => (seed * 41 + i * 97 + i * i * 17) % 256)).toString("base64url")
  )
})

class Tea extends Session.Tag<Tea>()("test/Rejected", {
  schema: Schema.Struct({ count: Schema.optionalWith(Schema.Number, { default: () => 0 }) }),
  expiry: Expiry.earliest(Expiry.idle("20 minutes"), Expiry.absolute("8 hours"))
}) {}

const server = (ring: ReadonlyArray<Keyring.Key>, options: CookieEngine.CookieEngineOptions = {}) =>
  Tea.layer.pipe(Layer.provide(CookieEngine.layerWith(options)), Layer.provide(Keyring.layer(ring)))

/** Runs an effect, and returns its result and the rejections counted meanwhile. */
const counted = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const before = new Map((yield* Metric.value(SessionMetrics.rejections)).occurrences)
    const result = yield* effect
    const after = (yield* Metric.value(SessionMetrics.rejections)).occurrences
    const reasons = [...after].flatMap(([reason, count]) => Array(count - (before.get(reason) ?? 0)).fill(reason))
    return { reasons, result }
  })

const tea = visit(Tea, Tea.set("count", 1))
const flipped = (cookie: string) => cookie.slice(0, -10) + (cookie.at(-10) === "A" ? "B" : "A") + cookie.slice(-9)

describe("every rejected cookie gets the same response, and its reason is counted", () => {
  for (
    const [reason, presented, laterOn = "0 millis"] of [
      ["malformed", () => "nonsense"],
      ["malformed", (cookie) => cookie.slice(0, 30)],
      ["unknown_key", (cookie) => cookie.replace(".k1.", ".k9.")],
      ["forged", flipped],
      ["expired", (cookie) => cookie, "21 minutes"]
    ] satisfies ReadonlyArray<
      readonly [reason: string, presented: (cookie: string) => string, laterOn?: "0 millis" | "21 minutes"]
    >
  ) {
    it.effect(reason, () =>
      Effect.gen(function*() {
        const { cookie = "" } = yield* tea
        yield* TestClock.adjust(laterOn)
        const { reasons, result } = yield* counted(visit(Tea, Tea.id, presented(cookie)))
        assert.deepStrictEqual(reasons, [reason])
        expect(result.result).toStrictEqual(Option.none())
        assert.isUndefined(result.setCookie)
      }).pipe(Effect.provide(server([keyOf("k1", 1)]))))
  }

  it.effect("an accepted cookie is not counted, also if an older key sealed it", () =>
    Effect.gen(function*() {
      const { cookie } = yield* Effect.provide(tea, server([keyOf("k1", 1)]))
      const rotated = server([keyOf("k2", 2), keyOf("k1", 1)])
      const { reasons, result } = yield* counted(Effect.provide(visit(Tea, Tea.get("count"), cookie), rotated))
      assert.deepStrictEqual([reasons, result.result], [[], 1])
    }))

  it.effect("forged: the cookie of another application with the same secret", () =>
    Effect.gen(function*() {
      const { cookie } = yield* Effect.provide(tea, server([keyOf("k1", 1)], { audience: "one" }))
      const other = server([keyOf("k1", 1)], { audience: "two" })
      const { reasons, result } = yield* counted(Effect.provide(visit(Tea, Tea.get("count"), cookie), other))
      assert.deepStrictEqual([reasons, result.result], [["forged"], 0])
    }))

  it.effect("premature: issued by a server whose clock is more than a minute ahead", () =>
    Effect.gen(function*() {
      const made = yield* Effect.zipRight(TestClock.adjust("2 minutes"), tea)
      yield* TestClock.setTime(0)
      const { reasons, result } = yield* counted(visit(Tea, Tea.get("count"), made.cookie))
      assert.deepStrictEqual([reasons, result.result], [["premature"], 0])
    }).pipe(Effect.provide(server([keyOf("k1", 1)]))))

  it.effect("ended: after a logout, with a ledger", () =>
    Effect.gen(function*() {
      const { cookie } = yield* tea
      yield* visit(Tea, Tea.destroy, cookie)
      const { reasons, result } = yield* counted(visit(Tea, Tea.get("count"), cookie))
      assert.deepStrictEqual([reasons, result.result], [["ended"], 0])
    }).pipe(Effect.provide(
      Tea.layer.pipe(
        Layer.provide(CookieEngine.layerLedger),
        Layer.provide([Keyring.layer([keyOf("k1", 1)]), MemoryStore.layer])
      )
    )))
})
