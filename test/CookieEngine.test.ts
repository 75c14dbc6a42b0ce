import { it } from "@effect/vitest"
import { Effect, Layer, Schema, TestClock } from "effect"
import { Expiry, Lifetime, MemoryEngine, ReadOnce, Session, SessionSchema } from "effect-session"
import * as CookieEngine from "effect-session/CookieEngine"
import type { SessionService } from "effect-session/SessionService"
import { engineLaws } from "effect-session/testing"
import { assert, describe } from "vitest"
import { range } from "./support/concurrency.js"
import { firstKey, keyringOf, secondKey } from "./support/keyrings.js"
import { visit } from "./support/requestWithoutHttp.js"

class Tea extends Session.Tag<Tea>()("test/Tea", {
  schema: Schema.Struct({
    user: Schema.optional(Schema.String),
    count: Schema.optionalWith(Schema.Number, { default: () => 0 }),
    notes: Schema.optionalWith(Schema.String, { default: () => "" })
  }),
  expiry: Expiry.earliest(Expiry.idle("20 minutes"), Expiry.absolute("8 hours"))
}) {}

const increment = Tea.update("count", (n) => n + 1)

for (const suite of ["e1", "f1"] as const) {
  for (const { law, name } of engineLaws) {
    it.live(`${suite}: ${name}`, () =>
      Effect.provide(law, Layer.provide(CookieEngine.layerWith({ suite }), keyringOf(firstKey))))
  }
}
class Shown extends Session.Tag<Shown>()("test/Shown", {
  schema: SessionSchema.readable(Schema.Struct({ theme: Schema.optional(Schema.String) }))
}) {}

describe("a signed cookie", () => {
  const signed = Shown.layer.pipe(Layer.provide(CookieEngine.layerSigned(Shown)), Layer.provide(keyringOf(firstKey)))

  it.effect("is readable without a key, and an altered one is not accepted", () =>
    Effect.gen(function*() {
      const { cookie = "" } = yield* visit(Shown, Shown.set("theme", "dark"))
      const [kind, id, payload = "", mac] = cookie.split(".")
      assert.deepStrictEqual([kind, id], ["h1", "k1"])
      const text = Buffer.from(payload, "base64url").toString("latin1")
      assert.include(text, `{"theme":"dark"}`)
      assert.strictEqual((yield* visit(Shown, Shown.get("theme"), cookie)).result, "dark")
      const forged = Buffer.from(text.replace("dark", "pink"), "latin1").toString("base64url")
      assert.isUndefined((yield* visit(Shown, Shown.get("theme"), [kind, id, forged, mac].join("."))).result)
    }).pipe(Effect.provide(signed)))

  it.effect("is rejected for a tag that is not declared readable", () =>
    Effect.gen(function*() {
      const wrong = Tea.layer.pipe(Layer.provide(CookieEngine.layerSigned(Shown)), Layer.provide(keyringOf(firstKey)))
      const error = yield* Effect.flip(Layer.build(wrong))
      assert.include(String(error), "Signed cookies are configured for")
      // @ts-expect-error its schema is not declared readable
      CookieEngine.layerSigned(Tea)
    }).pipe(Effect.scoped))
})

type Node = Layer.Layer<SessionService<Tea>, unknown>

const node = (keys = keyringOf(firstKey), options: CookieEngine.CookieEngineOptions = {}): Node =>
  Tea.layer.pipe(Layer.provide(CookieEngine.layerWith(options)), Layer.provide(keys))

const test = (title: string, body: Effect.Effect<void, unknown, SessionService<Tea>>, layer = node()) =>
  it.effect(title, () => Effect.provide(body, layer))

class Noted extends Session.Tag<Noted>()("test/Noted", {
  schema: Schema.Struct({ notice: ReadOnce.field(Schema.String) })
}) {}

describe("a read-once value in a cookie session", () => {
  it.effect("take dies if the directory belongs to another engine", () =>
    Effect.gen(function*() {
      const { cookie } = yield* visit(Noted, Noted.set("notice", ReadOnce.make("Saved.")))
      const exit = yield* Effect.exit(visit(Noted, Noted.take("notice"), cookie))
      assert.include(String(exit), "is stored in its cookie")
    }).pipe(
      Effect.provide(Noted.layer.pipe(Layer.provide(CookieEngine.layer), Layer.provide(keyringOf(firstKey)))),
      Effect.provide(MemoryEngine.layer)
    ))
})

describe("a session stored in its cookie", () => {
  test(
    "is read and changed like any other: a read sends no cookie, and a change sends one",
    Effect.gen(function*() {
      const one = yield* visit(Tea, increment)
      assert.match(one.cookie ?? "", /^e1\.k1\.[A-Za-z0-9_-]+$/)
      const read = yield* visit(Tea, Tea.get("count"), one.cookie)
      assert.deepStrictEqual([read.result, read.setCookie], [1, undefined])
      const two = yield* visit(Tea, increment, one.cookie)
      assert.notStrictEqual(two.cookie, one.cookie)
      assert.strictEqual((yield* visit(Tea, Tea.get("count"), two.cookie)).result, 2)
    })
  )

  test(
    "does not reveal its data, and reveals its length in steps of 32 bytes",
    Effect.gen(function*() {
      const { cookie = "" } = yield* visit(Tea, Tea.set("notes", "a secret"))
      const bytes = Buffer.from(cookie.split(".")[2] ?? "", "base64url").toString("latin1")
      assert.notInclude(`${cookie}${bytes}`, "secret")
      // 64 lengths of the data give three lengths of the cookie.
      const lengths = yield* Effect.forEach(
        range(64),
        (i) => Effect.map(visit(Tea, Tea.set("notes", "x".repeat(i + 1))), ({ cookie = "" }) => cookie.length)
      )
      assert.strictEqual(new Set(lengths).size, 3)
    })
  )

  test(
    "is sealed again only if data changed or the touch window has passed",
    Effect.gen(function*() {
      const { cookie } = yield* visit(Tea, increment)
      yield* TestClock.adjust("1 minute")
      assert.isUndefined((yield* visit(Tea, Tea.get("count"), cookie)).setCookie)
      yield* TestClock.adjust("1 minute")
      const touched = yield* visit(Tea, Tea.get("count"), cookie)
      assert.notStrictEqual(touched.cookie, cookie)
      yield* TestClock.adjust("19 minutes")
      assert.strictEqual((yield* visit(Tea, Tea.get("count"), touched.cookie)).result, 1)
      assert.strictEqual((yield* visit(Tea, Tea.get("count"), cookie)).result, 0)
    })
  )

  test(
    "ends at its absolute limit, also if it is used until then and for a year after",
    Effect.gen(function*() {
      let { cookie } = yield* visit(Tea, increment)
      for (let minutes = 10; minutes < 8 * 60; minutes += 10) {
        yield* TestClock.adjust("10 minutes")
        cookie = (yield* visit(Tea, increment, cookie)).cookie
      }
      assert.strictEqual((yield* visit(Tea, Tea.get("count"), cookie)).result, 48)
      yield* TestClock.adjust("10 minutes")
      for (let days = 0; days < 365; days += 73) {
        assert.strictEqual((yield* visit(Tea, Tea.get("count"), cookie)).result, 0)
        yield* TestClock.adjust("73 days")
      }
    })
  )

  test(
    "ends at its own lifetime if it has one",
    Effect.gen(function*() {
      const { cookie } = yield* visit(Tea, Effect.zipRight(increment, Tea.setExpiry(Lifetime.lasting("30 seconds"))))
      yield* TestClock.adjust("29 seconds")
      assert.strictEqual((yield* visit(Tea, Tea.get("count"), cookie)).result, 1)
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* visit(Tea, Tea.get("count"), cookie)).result, 0)
    })
  )

  test(
    "that grows too large fails with SessionTooLarge, which names the large fields, and the old cookie stays valid",
    Effect.gen(function*() {
      const { cookie } = yield* visit(Tea, increment)
      const { error, setCookie } = yield* visit(Tea, Tea.set("notes", "x".repeat(4000)), cookie)
      if (error?._tag !== "SessionTooLarge") return assert.fail(String(error))
      assert.strictEqual(error.fields[0]?.name, "notes")
      assert.include(error.message, "notes (4002)")
      assert.isUndefined(setCookie)
      assert.strictEqual((yield* visit(Tea, Tea.get("count"), cookie)).result, 1)
    })
  )

  test(
    "fits into the cookie if name and value have nearly 4,096 bytes",
    Effect.gen(function*() {
      const { cookie = "", error } = yield* visit(Tea, Tea.set("notes", "x".repeat(2850)))
      assert.isUndefined(error)
      assert.isAtMost(cookie.length + "__Host-Http-session".length, 4096)
    })
  )
})

describe("keys", () => {
  const on = <A, E>(layer: Node, effect: Effect.Effect<A, E, SessionService<Tea>>) => Effect.provide(effect, layer)

  it.effect("a cookie sealed with an older key is accepted, and sealed again with the first key, with its times unchanged", () =>
    Effect.gen(function*() {
      const before = yield* on(node(keyringOf(firstKey)), visit(Tea, increment))
      yield* TestClock.adjust("1 minute")
      const after = yield* on(node(keyringOf(secondKey, firstKey)), visit(Tea, Tea.get("count"), before.cookie))
      assert.strictEqual(after.result, 1)
      assert.match(after.cookie ?? "", /^e1\.k2\./)
      // Sealing it again does not extend the session.
      yield* TestClock.adjust("19 minutes")
      assert.strictEqual((yield* on(node(keyringOf(secondKey)), visit(Tea, Tea.get("count"), after.cookie))).result, 0)
    }))

  it.effect("1,000 requests alternate between nodes with the two keys in either order, and each finds the session", () =>
    Effect.gen(function*() {
      const nodes = [node(keyringOf(firstKey, secondKey)), node(keyringOf(secondKey, firstKey))]
      let { cookie } = yield* on(node(keyringOf(firstKey)), visit(Tea, increment))
      for (let i = 0; i < 1000; i++) {
        const next = yield* on(nodes[i % 2] ?? node(), visit(Tea, Tea.get("count"), cookie))
        assert.strictEqual(next.result, 1)
        cookie = next.cookie
      }
    }))

  it.effect("a cookie of a removed key is rejected", () =>
    Effect.gen(function*() {
      const { cookie } = yield* on(node(keyringOf(firstKey)), visit(Tea, increment))
      assert.strictEqual((yield* on(node(keyringOf(secondKey)), visit(Tea, Tea.get("count"), cookie))).result, 0)
    }))

  it.effect("the cookie of another application with the same secret is rejected", () =>
    Effect.gen(function*() {
      const { cookie } = yield* on(node(keyringOf(firstKey), { audience: "one" }), visit(Tea, increment))
      const elsewhere = node(keyringOf(firstKey), { audience: "two" })
      assert.strictEqual((yield* on(elsewhere, visit(Tea, Tea.get("count"), cookie))).result, 0)
    }))
})

describe("a cookie session without a ledger", () => {
  test(
    "a logout deletes the cookie in this browser, and a copy of the cookie stays valid",
    Effect.gen(function*() {
      const { cookie } = yield* visit(Tea, increment)
      assert.strictEqual((yield* visit(Tea, Tea.destroy, cookie)).setCookie, "expire")
      assert.strictEqual((yield* visit(Tea, Tea.get("count"), cookie)).result, 1)
    })
  )
})
