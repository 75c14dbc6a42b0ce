/** When a session ends, how a handler reads that time, and how it changes it. */
import { it } from "@effect/vitest"
import { DateTime, Duration, Effect, Layer, Option, Redacted, Schema, TestClock } from "effect"
import { Expiry, Lifetime, MemoryEngine, Session } from "effect-session"
import { MemoryStore } from "effect-session"
import { assert, describe } from "vitest"
import * as ExpiryRules from "../src/internal/domain/expiry.js"
import { on, Tea } from "./support/ledgerEngines.js"
import { visit } from "./support/requestWithoutHttp.js"

class App extends Session.Tag<App>()("test/Time", {
  schema: Schema.Struct({
    user: Schema.optional(Schema.String),
    count: Schema.optionalWith(Schema.Number, { default: () => 0 })
  }),
  expiry: Expiry.earliest(Expiry.idle("1 hour"), Expiry.absolute("3 hours"))
}) {}

const engine = MemoryEngine.layer
const test = <E>(
  title: string,
  effect: Effect.Effect<unknown, E, Layer.Layer.Success<typeof App.layer>>,
  settings: Parameters<typeof App.layerWith>[0] = {}
) => it.effect(title, () => Effect.provide(effect, Layer.provide(App.layerWith(settings), engine)))

const minutes = (count: number) => count * 60_000
/** The end in milliseconds since the start of the test clock, and the time left in minutes. */
const readEnd = Effect.map(
  Effect.all([App.endsAt, App.timeLeft]),
  ([end, left]) =>
    [
      Option.getOrUndefined(Option.map(end, DateTime.toEpochMillis)),
      Option.getOrUndefined(Option.map(left, Duration.toMinutes))
    ] as const
)
const endOf = (cookie: string | undefined) => Effect.map(visit(App, readEnd, cookie), ({ result }) => result)
const begin = Effect.map(visit(App, App.set("user", "ann")), ({ cookie }) => cookie)

describe("endsAt and timeLeft", () => {
  test(
    "are None for a visitor without a session, and reading them creates no session",
    Effect.gen(function*() {
      const { setCookie, result } = yield* visit(App, readEnd)
      assert.deepStrictEqual([result, setCookie], [[undefined, undefined], undefined])
      assert.deepStrictEqual(yield* endOf("r1.unknown"), [undefined, undefined])
    })
  )

  for (const touchEvery of [undefined, 0] as const) {
    test(
      `reading them does not extend the session (touchEvery: ${touchEvery ?? "default"})`,
      Effect.gen(function*() {
        const cookie = yield* begin
        for (let passed = 0; passed < 60; passed += 5) {
          assert.deepStrictEqual(yield* endOf(cookie), [minutes(60), 60 - passed])
          yield* TestClock.adjust("5 minutes")
        }
        assert.deepStrictEqual(yield* endOf(cookie), [undefined, undefined])
      }),
      touchEvery === undefined ? {} : { touchEvery }
    )
  }

  test(
    "use extends the session by the touch window, up to the absolute limit",
    Effect.gen(function*() {
      const cookie = yield* begin
      yield* TestClock.adjust("5 minutes")
      yield* visit(App, App.get("user"), cookie)
      assert.deepStrictEqual(yield* endOf(cookie), [minutes(60), 55])
      yield* TestClock.adjust("5 minutes")
      // The request itself reads the stored end: its own touch is written at its commit.
      const { result } = yield* visit(App, Effect.zipRight(App.get("user"), readEnd), cookie)
      assert.deepStrictEqual(result, [minutes(60), 50])
      assert.deepStrictEqual(yield* endOf(cookie), [minutes(70), 60])
      for (let passed = 10; passed < 150; passed += 50) {
        yield* TestClock.adjust("50 minutes")
        yield* visit(App, App.get("user"), cookie)
      }
      assert.deepStrictEqual(yield* endOf(cookie), [minutes(180), 20])
    })
  )

  test(
    "a request that reads and calls discard does not extend the session, and expiryAge returns the real end",
    Effect.gen(function*() {
      const cookie = yield* begin
      yield* TestClock.adjust("50 minutes")
      const { result } = yield* visit(
        App,
        Effect.all([App.discard, App.get("user"), App.timeLeft, App.expiryAge(), App.expiryDate()]),
        cookie
      )
      assert.deepStrictEqual(result[1], "ann")
      assert.deepStrictEqual(Option.map(result[2], Duration.toMinutes), Option.some(10))
      assert.deepStrictEqual([Duration.toMinutes(result[3]), DateTime.toEpochMillis(result[4])], [10, minutes(60)])
      assert.deepStrictEqual(yield* endOf(cookie), [minutes(60), 10])
    })
  )

  test(
    "include pending changes, and exclude discarded and rolled back ones",
    Effect.gen(function*() {
      const cookie = yield* begin
      yield* TestClock.adjust("30 minutes")
      const { result } = yield* visit(
        App,
        Effect.gen(function*() {
          const before = yield* readEnd
          yield* App.set("user", "ann")
          const same = yield* readEnd
          yield* App.set("user", "bob")
          const changed = yield* readEnd
          yield* App.setExpiry(Lifetime.inactivity("5 minutes"))
          const short = yield* readEnd
          yield* App.setExpiry(Lifetime.lasting("10 hours"))
          const capped = yield* readEnd
          yield* App.authenticate("ann")
          const authenticated = yield* readEnd
          yield* Effect.ignore(
            App.withRollback(Effect.zipRight(App.setExpiry(Lifetime.byPolicy), Effect.fail("broken")))
          )
          const undone = yield* readEnd
          yield* App.discard
          return [before, same, changed, short, capped, authenticated, undone, yield* readEnd]
        }),
        cookie
      )
      assert.deepStrictEqual(result, [
        [minutes(60), 30],
        [minutes(60), 30],
        [minutes(90), 60],
        [minutes(35), 5],
        [minutes(180), 150],
        [minutes(210), 180],
        [minutes(210), 180],
        [minutes(60), 30]
      ])
      assert.deepStrictEqual(yield* endOf(cookie), [minutes(60), 30])
    })
  )

  test(
    "reflect a first change, a save and a logout",
    Effect.gen(function*() {
      const first = yield* visit(App, Effect.zipRight(App.set("user", "ann"), readEnd))
      assert.deepStrictEqual(first.result, [minutes(60), 60])
      yield* TestClock.adjust("30 minutes")
      const { result } = yield* visit(
        App,
        Effect.all([App.rotate, App.save, readEnd, TestClock.adjust("20 minutes"), readEnd, App.destroy, readEnd]),
        first.cookie
      )
      assert.deepStrictEqual([result[2], result[4], result[6]], [
        [minutes(90), 60],
        [minutes(90), 40],
        [undefined, undefined]
      ])
    })
  )

  it.effect("of a cookie session with a ledger are read from the ledger", () =>
    Effect.gen(function*() {
      const { cookie } = yield* visit(Tea, Tea.set("notes", "green"))
      yield* TestClock.adjust("15 minutes")
      const left = Effect.map(visit(Tea, Tea.timeLeft, cookie), ({ result }) => Option.map(result, Duration.toMinutes))
      assert.deepStrictEqual(yield* left, Option.some(5))
      yield* TestClock.adjust("2 minutes")
      assert.deepStrictEqual(yield* left, Option.some(3))
    }).pipe(Effect.provide(on(MemoryStore.make())), Effect.orDie))
})

describe("touch", () => {
  const isAlive = (cookie: string | undefined) =>
    Effect.flatMap(App.service, ({ exists }) => exists(Redacted.make(cookie ?? "")))

  test(
    "extends a session under a policy where reading does not",
    Effect.gen(function*() {
      const cookie = yield* begin
      yield* TestClock.adjust("13 days")
      yield* visit(App, App.get("user"), cookie)
      assert.deepStrictEqual(yield* endOf(cookie), [minutes(14 * 24 * 60), 24 * 60])
      const { error, setCookie, result } = yield* visit(App, Effect.zipRight(App.touch, readEnd), cookie)
      assert.deepStrictEqual([error, result], [undefined, [minutes(27 * 24 * 60), 14 * 24 * 60]])
      assert.strictEqual(
        setCookie === undefined || setCookie === "expire" ? undefined : setCookie.maxAge,
        14 * 24 * 3600
      )
      yield* TestClock.adjust("13 days")
      assert.isTrue(yield* isAlive(cookie))
    }),
    { expiry: Expiry.django }
  )

  test(
    "moves neither the absolute limit nor a fixed end, and creates no session",
    Effect.gen(function*() {
      const cookie = yield* begin
      yield* visit(App, App.setExpiry(Lifetime.lasting("30 minutes")), cookie)
      yield* TestClock.adjust("10 minutes")
      yield* visit(App, App.touch, cookie)
      assert.deepStrictEqual(yield* endOf(cookie), [minutes(30), 20])
      const capped = yield* begin
      yield* TestClock.adjust("50 minutes")
      yield* visit(App, App.touch, capped)
      yield* TestClock.adjust("50 minutes")
      yield* visit(App, App.touch, capped)
      yield* TestClock.adjust("50 minutes")
      yield* visit(App, App.touch, capped)
      assert.deepStrictEqual(yield* endOf(capped), [minutes(190), 30])
      assert.isUndefined((yield* visit(App, App.touch)).setCookie)
    })
  )

  test(
    "is undone by discard, and replayed after a concurrent change",
    Effect.gen(function*() {
      const cookie = yield* begin
      yield* TestClock.adjust("5 minutes")
      yield* visit(App, Effect.all([App.touch, App.discard]), cookie)
      assert.deepStrictEqual(yield* endOf(cookie), [minutes(60), 55])
      const { error } = yield* visit(
        App,
        Effect.all([
          App.touch,
          Effect.suspend(() => visit(App, App.update("count", (n) => n + 1), cookie)),
          TestClock.adjust("5 minutes")
        ]),
        cookie
      )
      assert.isUndefined(error)
      assert.deepStrictEqual(yield* endOf(cookie), [minutes(70), 60])
      assert.strictEqual((yield* visit(App, App.get("count"), cookie)).result, 1)
    })
  )
})

describe("durations passed as lifetimes", () => {
  const shown = /is under one second\. A number means milliseconds: write "5 minutes" or Duration\.seconds\(300\)/
  for (const millis of [300, 1, 999, 0.5]) {
    test(
      `setExpiry rejects ${millis} milliseconds with a message that names the unit`,
      Effect.gen(function*() {
        const cookie = yield* begin
        for (const lifetime of [Lifetime.inactivity(millis), Lifetime.lasting(millis)]) {
          const error = yield* Effect.flip(visit(App, App.setExpiry(lifetime), cookie))
          assert.strictEqual(error._tag, "SessionInvalid")
          assert.match(error.message, shown)
          assert.include(error.message, `${millis} milliseconds`)
          const sessions = yield* App.service
          assert.match((yield* Effect.flip(sessions.create({ user: "ann" }, { lifetime }))).message, shown)
        }
        assert.deepStrictEqual(yield* endOf(cookie), [minutes(60), 60])
      })
    )
  }

  test(
    "setExpiry rejects a bare number or text with a message",
    Effect.gen(function*() {
      const cookie = yield* begin
      for (const input of [300, 0, "300", null, undefined] as ReadonlyArray<unknown>) {
        const error = yield* Effect.flip(visit(App, App.setExpiry(input as Lifetime.LifetimeInput), cookie))
        assert.match(
          error.message,
          /a lifetime is not a bare number or text: write Lifetime\.inactivity\("5 minutes"\)/
        )
      }
    })
  )

  test(
    "setExpiry accepts one second, and zero ends the session at once",
    Effect.gen(function*() {
      const cookie = yield* begin
      yield* visit(App, App.setExpiry(Lifetime.inactivity(1000)), cookie)
      assert.deepStrictEqual((yield* endOf(cookie))[0], 1000)
      yield* visit(App, App.setExpiry(Lifetime.inactivity(0)), cookie)
      assert.deepStrictEqual(yield* endOf(cookie), [undefined, undefined])
    })
  )

  it("Expiry.validate reports a limit under one second with its value and unit", () => {
    assert.strictEqual(
      ExpiryRules.validate(Expiry.earliest(Expiry.idle(300), Expiry.absolute("1 day"))),
      "The idle limit of a session must be a finite length of at least one second, and it is 300 milliseconds. " +
        "A number means milliseconds: write \"20 minutes\" or Duration.minutes(20)."
    )
  })
})

describe("clear and create", () => {
  test(
    "clear resets the lifetime to the policy's, as in Django, and a later setExpiry counts",
    Effect.gen(function*() {
      const cookie = yield* begin
      yield* visit(App, App.setExpiry(Lifetime.lasting("10 minutes")), cookie)
      const cleared = yield* visit(App, Effect.all([App.clear, readEnd, App.expireAtBrowserClose]), cookie)
      assert.deepStrictEqual(cleared.result[1], [minutes(60), 60])
      assert.deepStrictEqual(yield* endOf(cookie), [minutes(60), 60])
      yield* visit(App, Effect.zipRight(App.clear, App.setExpiry(Lifetime.lasting("5 minutes"))), cookie)
      assert.deepStrictEqual(yield* endOf(cookie), [minutes(5), 5])
      assert.isUndefined((yield* visit(App, Effect.zipRight(App.setExpiry(Lifetime.browser), App.clear))).setCookie)
    })
  )

  test(
    "create accepts a lifetime",
    Effect.gen(function*() {
      const sessions = yield* App.service
      const made = yield* sessions.create({ user: "ann" }, { subject: "u1", lifetime: Lifetime.lasting("10 minutes") })
      assert.deepStrictEqual(Option.map(yield* made.timeLeft, Duration.toMinutes), Option.some(10))
      yield* TestClock.adjust("10 minutes")
      assert.isFalse(yield* Effect.flatMap(Effect.flatten(made.token), sessions.exists))
    })
  )
})
