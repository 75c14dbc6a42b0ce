import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { it } from "@effect/vitest"
import { Effect, Option } from "effect"
import { assert, describe } from "vitest"
import * as Shop from "../support/shop.js"
import { begin, ok, ShopSession, show } from "../support/shop.js"
import { stores } from "../support/stores.js"

const junk = "r1.not-a-token"
const forged = `r1.${"A".repeat(43)}`

type Case = readonly [
  title: string,
  handler: Effect.Effect<HttpServerResponse.HttpServerResponse, unknown, ShopSession>,
  calls: ReadonlyArray<string>,
  cookie: "none" | "set" | "expired",
  varies: boolean
]

/** Requests with a session: the store calls, the cookie and whether `Vary` is set. */
const withSession: ReadonlyArray<Case> = [
  ["untouched", ok, [], "none", false],
  ["yield* of the handle alone", Effect.zipRight(ShopSession, ok), [], "none", false],
  ["read", show(ShopSession.get("user")), ["load"], "none", true],
  [
    "read many times",
    show(Effect.all([ShopSession.value, ShopSession.has("user"), ShopSession.id])),
    ["load"],
    "none",
    true
  ],
  [
    "read by 20 concurrent fibers",
    show(Effect.replicateEffect(ShopSession.get("user"), 20, { concurrency: "unbounded" })),
    ["load"],
    "none",
    true
  ],
  ["set to an equal value", Effect.zipRight(ShopSession.set("user", "ann"), ok), ["load"], "none", true],
  ["updated to itself", Effect.zipRight(ShopSession.update("tags", (tags) => [...tags]), ok), ["load"], "none", true],
  ["set to its default", Effect.zipRight(ShopSession.set("count", 0), ok), ["load"], "none", true],
  [
    "changed and changed back",
    Effect.all([ShopSession.set("user", "x"), ShopSession.set("user", "ann")]).pipe(Effect.zipRight(ok)),
    ["load"],
    "none",
    true
  ],
  ["written", Effect.zipRight(ShopSession.update("count", (n) => n + 1), ok), ["load", "save"], "none", true],
  ["rotated", Effect.zipRight(ShopSession.rotate, ok), ["load", "rotate"], "set", true],
  ["logged in", Effect.zipRight(ShopSession.authenticate("ann"), ok), ["load", "rotate"], "set", true],
  ["logged out", Effect.zipRight(ShopSession.destroy, ok), ["destroy"], "expired", true],
  [
    "discarded",
    Effect.all([ShopSession.set("count", 5), ShopSession.discard]).pipe(Effect.zipRight(ok)),
    ["load"],
    "none",
    true
  ],
  [
    "written, and answered with 500",
    Effect.zipRight(ShopSession.set("count", 5), Effect.succeed(HttpServerResponse.empty({ status: 500 }))),
    ["load"],
    "none",
    true
  ],
  [
    "written, and failed",
    Effect.zipRight(ShopSession.set("count", 5), Effect.fail("boom")),
    ["load"],
    "none",
    true
  ],
  [
    "written, and answered with 400",
    Effect.zipRight(ShopSession.set("count", 5), Effect.succeed(HttpServerResponse.empty({ status: 400 }))),
    ["load", "save"],
    "none",
    true
  ],
  [
    "saved in the handler",
    Effect.all([ShopSession.set("count", 5), ShopSession.save]).pipe(Effect.zipRight(ok)),
    ["load", "save"],
    "none",
    true
  ],
  [
    "rotated and saved in a handler that then failed: the cookie is sent",
    Effect.all([ShopSession.rotate, ShopSession.save]).pipe(Effect.zipRight(Effect.fail("boom"))),
    ["load", "rotate"],
    "set",
    true
  ]
]

/** The same without a session. */
const anonymous: ReadonlyArray<Case> = [
  ["untouched", ok, [], "none", false],
  ["read", show(ShopSession.value), [], "none", true],
  ["cleared", Effect.zipRight(ShopSession.clear, ok), [], "none", true],
  ["rotated", Effect.zipRight(ShopSession.rotate, ok), [], "none", true],
  ["logged out", Effect.zipRight(ShopSession.destroy, ok), [], "none", true],
  ["set to its default", Effect.zipRight(ShopSession.set("count", 0), ok), [], "none", true],
  ["written", Effect.zipRight(ShopSession.set("count", 1), ok), ["create"], "set", true],
  ["logged in", Effect.zipRight(ShopSession.authenticate("ann"), ok), ["create"], "set", true]
]

const check = (shop: Shop.Shop, cookie: string | undefined, [, handler, calls, sent, varies]: Case) =>
  Effect.gen(function*() {
    shop.calls.length = 0
    const answer = yield* shop.request(handler, cookie)
    assert.deepStrictEqual(shop.calls, calls)
    assert.strictEqual(answer.cookie === undefined ? "none" : answer.cookie === "" ? "expired" : "set", sent)
    assert.strictEqual(answer.headers.get("vary"), varies ? "Cookie" : null)
    assert.strictEqual(answer.headers.get("cache-control"), sent !== "none" ? "no-store" : varies ? "private" : null)
  })

for (const [name, layer] of stores) {
  const law = (title: string, body: (shop: Shop.Shop) => Effect.Effect<void, unknown>) =>
    it.live(title, () => Effect.flatMap(Shop.make(layer()), body).pipe(Effect.scoped, Effect.orDie))

  describe(`L3 idle is free: a request makes only the store calls that it needs (${name})`, () => {
    for (const example of withSession) {
      law(
        `with a session: ${example[0]}`,
        (shop) => Effect.flatMap(begin(shop), (cookie) => check(shop, cookie, example))
      )
    }

    for (const example of anonymous) {
      law(`without a session: ${example[0]}`, (shop) => check(shop, undefined, example))
    }

    law("a malformed cookie causes no store call and is not deleted", (shop) =>
      Effect.gen(function*() {
        for (const value of [junk, "", "r1.", "x".repeat(4096), `${forged}A`, "%41", `"${forged}"`]) {
          yield* check(shop, value, ["", show(ShopSession.value), [], "none", true])
        }
      }))

    law(
      "a forged token is treated as anonymous, is never adopted and is not deleted",
      (shop) =>
        Effect.gen(function*() {
          // Only a token without a session costs a second call, which asks why there is none.
          yield* check(shop, forged, ["", show(ShopSession.value), ["load", "endReason"], "none", true])
          const answer = yield* shop.request(Effect.zipRight(ShopSession.set("count", 1), ok), forged)
          assert.notStrictEqual(yield* Shop.cookieOf(answer), forged)
          yield* check(shop, forged, ["", show(ShopSession.value), ["load", "endReason"], "none", true])
        })
    )

    law(
      "a logout with a malformed cookie deletes the cookie without a store call",
      (shop) => check(shop, junk, ["", Effect.zipRight(ShopSession.destroy, ok), [], "expired", true])
    )

    law(
      "a session used within the touch window is not written; after the window it is touched once",
      (shop) =>
        Effect.gen(function*() {
          const cookie = yield* begin(shop)
          const day = 86_400_000
          // The window is a tenth of the idle limit of two weeks: 1.4 days.
          for (const [age, calls] of [[1, ["load"]], [2, ["load", "touch"]]] as const) {
            shop.intercept = (operation, call) =>
              operation === "load" ? Effect.map(call, (found) => seenBefore(found, age * day)) : call
            yield* check(shop, cookie, ["", show(ShopSession.get("user")), calls, "none", true])
          }
        })
    )
  })
}

const seenBefore = <A>(found: A, millis: number): A =>
  Option.isOption(found) && Option.isSome(found)
    ? Option.some({ ...(found.value as object), lastSeenAt: Date.now() - millis }) as A
    : found
