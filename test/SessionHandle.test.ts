import { it } from "@effect/vitest"
import { DateTime, Deferred, Duration, Effect, Fiber, Layer, Option, Schema, TestClock } from "effect"
import { Expiry, MemoryEngine, MemoryStore, Session, StoredEngine } from "effect-session"
import { FaultyStore } from "effect-session/testing"
import { assert, describe, expect } from "vitest"
import { visit } from "./support/requestWithoutHttp.js"
import { stores } from "./support/stores.js"

class Point extends Schema.Class<Point>("Point")({ x: Schema.Number, y: Schema.Number }) {}

class App extends Session.Tag<App>()("test/App", {
  schema: Schema.Struct({
    user: Schema.optional(Schema.String),
    since: Schema.optional(Schema.Date),
    point: Schema.optional(Point),
    nickname: Schema.optionalWith(Schema.String, { as: "Option" }),
    renamed: Schema.optional(Schema.Number).pipe(Schema.fromKey("old_name")),
    cart: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] })
  })
}) {}

class Required extends Session.Tag<Required>()("test/Required", {
  schema: Schema.Struct({ step: Schema.Int, name: Schema.NonEmptyString }),
  initial: { step: 0, name: "new" }
}) {}

const memory = Layer.provide(App.layer, MemoryEngine.layer)
const test = <E>(title: string, effect: Effect.Effect<unknown, E, Layer.Layer.Success<typeof memory>>) =>
  it.effect(title, () => Effect.provide(effect, memory))

describe("reading and changing", () => {
  test(
    "a new session holds the schema's defaults",
    Effect.gen(function*() {
      const { result } = yield* visit(App, App.value)
      expect(result).toStrictEqual({ cart: [], nickname: Option.none() })
    })
  )

  test(
    "set, get, getOption, has, remove and pop read and change one field",
    Effect.gen(function*() {
      const { result } = yield* visit(
        App,
        Effect.gen(function*() {
          const session = yield* App
          const before = [yield* session.has("user"), yield* session.getOption("user"), yield* session.pop("user")]
          yield* session.set("user", "ann")
          const during = [yield* session.has("user"), yield* session.getOption("user"), yield* session.get("user")]
          const popped = yield* session.pop("user")
          const after = [popped, yield* session.has("user")]
          yield* session.set("user", "bob")
          yield* session.remove("user")
          return [before, during, [...after, yield* session.get("user")]]
        })
      )
      expect(result).toStrictEqual([
        [false, Option.none(), Option.none()],
        [true, Option.some("ann"), "ann"],
        [Option.some("ann"), false, undefined]
      ])
    })
  )

  test(
    "dates, classes, options and renamed fields are decoded to their types by the next request",
    Effect.gen(function*() {
      const since = new Date("2026-01-02T03:04:05.678Z")
      const written = yield* visit(
        App,
        App.patch({ since, point: new Point({ x: 1, y: 2 }), nickname: Option.some("cat"), renamed: 7 })
      )
      const { result } = yield* visit(App, App.value, written.cookie)
      expect([result.since, result.nickname, result.renamed]).toStrictEqual([since, Option.some("cat"), 7])
      assert.instanceOf(result.point, Point)
    })
  )

  test(
    "methods work when destructured from the handle",
    Effect.gen(function*() {
      const { result } = yield* visit(
        App,
        Effect.gen(function*() {
          const { get, set, update } = yield* App
          yield* set("user", "ann")
          yield* update("cart", (cart) => [...cart, "tea"])
          return [yield* get("user"), yield* get("cart")]
        })
      )
      assert.deepStrictEqual(result, ["ann", ["tea"]])
    })
  )

  it.effect("for every accessor, a field that holds null is present and a field that is undefined is absent", () => {
    class Nullable extends Session.Tag<Nullable>()("test/Nullable", {
      schema: Schema.Struct({
        note: Schema.optional(Schema.NullOr(Schema.String)),
        kept: Schema.optional(Schema.NullOr(Schema.String)),
        dates: Schema.optional(Schema.NullOr(Schema.Date))
      })
    }) {}
    const readAll = (key: "note" | "dates") =>
      Effect.all({
        get: Nullable.get(key),
        has: Nullable.has(key),
        getOption: Nullable.getOption(key),
        getOrElse: Nullable.getOrElse(key, () => "absent" as const),
        value: Effect.map(Nullable.value, (value) => key in value)
      })
    const present = { get: null, has: true, getOption: Option.some(null), getOrElse: null, value: true }
    const absent = { get: undefined, has: false, getOption: Option.none(), getOrElse: "absent", value: false }
    return Effect.gen(function*() {
      for (const key of ["note", "dates"] as const) {
        expect((yield* visit(Nullable, readAll(key))).result).toStrictEqual(absent)
        const { cookie } = yield* visit(Nullable, Nullable.patch({ kept: "x", [key]: null }))
        expect((yield* visit(Nullable, readAll(key), cookie)).result).toStrictEqual(present)
        // The field is present (null), so getOrSet writes nothing.
        expect((yield* visit(Nullable, Nullable.getOrSet(key, null), cookie)).result).toBeNull()
        const other = key === "note"
          ? Effect.map(Nullable.getOrSet("note", "new"), String)
          : Effect.map(Nullable.getOrSet("dates", new Date(0)), String)
        expect((yield* visit(Nullable, other, cookie)).result).toBe("null")
        expect((yield* visit(Nullable, Nullable.popOrElse(key, () => "absent"), cookie)).result).toBeNull()
        expect((yield* visit(Nullable, readAll(key), cookie)).result).toStrictEqual(absent)
        yield* visit(Nullable, Nullable.set(key, null), cookie)
        expect((yield* visit(Nullable, Nullable.pop(key), cookie)).result).toStrictEqual(Option.some(null))
        expect((yield* visit(Nullable, Nullable.pop(key), cookie)).result).toStrictEqual(Option.none())
        yield* visit(Nullable, Nullable.set(key, null), cookie)
        yield* visit(Nullable, Nullable.remove(key), cookie)
        expect((yield* visit(Nullable, readAll(key), cookie)).result).toStrictEqual(absent)
      }
    }).pipe(Effect.provide(Layer.provide(Nullable.layer, MemoryEngine.layer)))
  })

  test(
    "patch with one invalid value changes nothing",
    Effect.gen(function*() {
      const { result } = yield* visit(
        App,
        Effect.gen(function*() {
          const error = yield* Effect.flip(App.patch({ user: "ann", cart: [7 as unknown as string] }))
          return [error._tag, yield* App.value]
        })
      )
      expect(result).toStrictEqual(["SessionInvalid", { cart: [], nickname: Option.none() }])
    })
  )

  test(
    "patch with an unknown field fails with SessionInvalid",
    Effect.gen(function*() {
      const error = yield* Effect.flip(visit(App, App.patch({ ["crat" as "cart"]: [] })))
      assert.deepStrictEqual([error._tag, error.message.includes(`"crat"`)], ["SessionInvalid", true])
    })
  )

  test(
    "SessionInvalid names the path of the value and never contains the value",
    Effect.gen(function*() {
      const secret = "correct horse battery staple"
      const error = yield* Effect.flip(visit(App, App.set("cart", ["tea", { secret } as unknown as string])))
      assert.strictEqual(error._tag, "SessionInvalid")
      assert.include(error.message, "cart.1")
      assert.notInclude(JSON.stringify(error) + String(error) + error.message, secret)
    })
  )

  test(
    "clear resets the data to the initial value and keeps subject and id",
    Effect.gen(function*() {
      const before = yield* visit(App, Effect.all([App.set("user", "ann"), App.authenticate("ann")]))
      const identity = Effect.all([App.id, App.subject])
      const known = yield* visit(App, identity, before.cookie)
      yield* visit(App, App.clear, before.cookie)
      const after = yield* visit(App, Effect.all([App.get("user"), identity]), before.cookie)
      assert.deepStrictEqual(after.result, [undefined, known.result])
      expect(known.result[1]).toStrictEqual(Option.some("ann"))
    })
  )

  test(
    "rotate changes the token and keeps the data, the subject and the id",
    Effect.gen(function*() {
      const before = yield* visit(App, Effect.all([App.set("user", "ann"), App.authenticate("ann")]))
      const everything = Effect.all([App.value, App.id, App.subject])
      const known = yield* visit(App, everything, before.cookie)
      const moved = yield* visit(App, App.rotate, before.cookie)
      assert.notStrictEqual(moved.cookie, before.cookie)
      assert.deepStrictEqual((yield* visit(App, everything, moved.cookie)).result, known.result)
    })
  )

  test(
    "discard: no change of the request is written",
    Effect.gen(function*() {
      const before = yield* visit(App, App.set("user", "ann"))
      const failedLogin = Effect.all([App.authenticate("mallory"), App.set("user", "mallory"), App.discard])
      const after = yield* visit(App, failedLogin, before.cookie)
      assert.strictEqual(after.setCookie, undefined)
      assert.strictEqual((yield* visit(App, App.get("user"), before.cookie)).result, "ann")
    })
  )

  test(
    "authenticate accepts a subject of 1 to 255 characters that every store can hold, and rejects others",
    Effect.gen(function*() {
      for (const subject of ["", "a\u0000b", "a\nb", "\ud800", "x".repeat(256)]) {
        const error = yield* Effect.flip(visit(App, App.authenticate(subject)))
        assert.strictEqual(error._tag, "SessionInvalid")
      }
      for (const subject of ["a", "x".repeat(255), "名前", "😀", "O'Brien; --"]) {
        const { cookie } = yield* visit(App, App.authenticate(subject))
        expect((yield* visit(App, App.subject, cookie)).result).toStrictEqual(Option.some(subject))
      }
    })
  )

  test(
    "set and update reject values that JSON cannot hold (F8, F9, F11)",
    Effect.gen(function*() {
      const { cookie } = yield* visit(App, App.set("user", "nul \u0000, lone \ud800, astral 😀"))
      assert.strictEqual((yield* visit(App, App.get("user"), cookie)).result, "nul \u0000, lone \ud800, astral 😀")
      const error = yield* Effect.flip(visit(App, App.update("point", () => new Point({ x: Number.NaN, y: 0 }))))
      assert.deepStrictEqual([error._tag, error.message.includes("point.x")], ["SessionInvalid", true])
    })
  )

  it.effect("a schema with required fields starts from its initial value", () =>
    Effect.gen(function*() {
      const first = yield* visit(Required, Required.value)
      assert.deepStrictEqual([first.result, first.setCookie], [{ step: 0, name: "new" }, undefined])
      const { cookie } = yield* visit(Required, Required.update("step", (n) => n + 1))
      assert.deepStrictEqual((yield* visit(Required, Required.value, cookie)).result, { step: 1, name: "new" })
      const error = yield* Effect.flip(visit(Required, Required.set("name", ""), cookie))
      assert.strictEqual(error._tag, "SessionInvalid")
      assert.deepStrictEqual((yield* visit(Required, Required.value, cookie)).result, { step: 1, name: "new" })
    }).pipe(Effect.provide(Layer.provide(Required.layer, MemoryEngine.layer))))
})

describe("concurrent fibers of one handler share the handle", () => {
  test(
    "a fiber interrupted during the load does not break the load for the others",
    Effect.gen(function*() {
      const { result } = yield* visit(
        App,
        Effect.gen(function*() {
          yield* Effect.all([Effect.timeoutOption(App.get("user"), 0), App.set("user", "ann")], {
            concurrency: "unbounded"
          })
          return yield* App.get("user")
        })
      )
      assert.strictEqual(result, "ann")
    })
  )

  test(
    "100 concurrent updates of one field all count",
    Effect.gen(function*() {
      const add = App.update("cart", (cart) => [...cart, "x"])
      const { cookie } = yield* visit(App, Effect.replicateEffect(add, 100, { concurrency: "unbounded" }))
      assert.strictEqual((yield* visit(App, App.get("cart"), cookie)).result.length, 100)
    })
  )

  test(
    "changes made while a save is in progress are not lost",
    Effect.gen(function*() {
      const { cookie } = yield* visit(
        App,
        Effect.all([
          Effect.zipRight(App.set("user", "ann"), App.save),
          Effect.replicateEffect(App.update("cart", (cart) => [...cart, "x"]), 10)
        ], { concurrency: "unbounded" })
      )
      const { result } = yield* visit(App, App.value, cookie)
      assert.deepStrictEqual([result.user, result.cart.length], ["ann", 10])
    })
  )
})

describe("a field whose schema encodes asynchronously", () => {
  /** Encodes once the latch is open. */
  const slow = (latch: Deferred.Deferred<void>, reached: Deferred.Deferred<void>) => {
    class Slow extends Session.Tag<Slow>()("test/Slow", {
      schema: Schema.Struct({
        quick: Schema.optional(Schema.String),
        slow: Schema.optional(Schema.transformOrFail(Schema.String, Schema.String, {
          decode: (text) => Effect.succeed(text),
          encode: (text) =>
            Deferred.succeed(reached, undefined).pipe(Effect.zipRight(Deferred.await(latch)), Effect.as(text))
        }))
      })
    }) {}
    return Slow
  }

  it.effect("is saved if its encoding finishes while a save is in progress", () =>
    Effect.gen(function*() {
      const latch = yield* Deferred.make<void>()
      const reached = yield* Deferred.make<void>()
      const saving = yield* Deferred.make<void>()
      const saved = yield* Deferred.make<void>()
      const Slow = slow(latch, reached)
      const parked = FaultyStore.layerIntercepted((operation, call) =>
        operation === "create"
          ? Deferred.succeed(saving, undefined).pipe(Effect.zipRight(Deferred.await(saved)), Effect.zipRight(call))
          : call
      )
      const layer = Slow.layer.pipe(
        Layer.provide(StoredEngine.layer),
        Layer.provide(parked),
        Layer.provide(MemoryStore.layer)
      )
      const handler = Effect.gen(function*() {
        const session = yield* Slow
        yield* session.set("quick", "q")
        const setting = yield* Effect.fork(session.set("slow", "s"))
        yield* Deferred.await(reached)
        const save = yield* Effect.fork(session.save)
        yield* Deferred.await(saving)
        yield* Deferred.succeed(latch, undefined)
        yield* Effect.yieldNow()
        yield* Deferred.succeed(saved, undefined)
        yield* Fiber.joinAll([setting, save])
      })
      yield* Effect.gen(function*() {
        const { cookie } = yield* visit(Slow, handler)
        assert.deepStrictEqual((yield* visit(Slow, Slow.value, cookie)).result, { quick: "q", slow: "s" })
      }).pipe(Effect.provide(layer))
    }))

  it.effect("fails with SessionCommitted if its encoding finishes after the request", () =>
    Effect.gen(function*() {
      const latch = yield* Deferred.make<void>()
      const reached = yield* Deferred.make<void>()
      const Slow = slow(latch, reached)
      yield* Effect.gen(function*() {
        const request = yield* visit(
          Slow,
          Effect.gen(function*() {
            const setting = yield* Effect.forkDaemon((yield* Slow).set("slow", "s"))
            yield* Deferred.await(reached)
            return setting
          })
        )
        yield* Deferred.succeed(latch, undefined)
        const error = yield* Effect.flip(Fiber.join(request.result))
        assert.strictEqual(error._tag, "SessionCommitted")
      }).pipe(Effect.provide(Layer.provide(Slow.layer, MemoryEngine.layer)))
    }))
})

for (const [name, layer] of stores) {
  const timed = (
    title: string,
    expiry: Expiry.Expiry<true>,
    effect: Effect.Effect<void, unknown, Layer.Layer.Success<typeof memory>>
  ) =>
    it.effect(title, () =>
      effect.pipe(
        Effect.provide(App.layerWith({ expiry }).pipe(Layer.provide(StoredEngine.layer), Layer.provide(layer()))),
        Effect.orDie
      ))
  const isAlive = (cookie: string | undefined) =>
    Effect.map(visit(App, App.get("user"), cookie), ({ result }) => result === "ann")
  const begin = Effect.map(visit(App, App.set("user", "ann")), ({ cookie }) => cookie)
  const login = Effect.map(
    visit(App, Effect.all([App.set("user", "ann"), App.authenticate("ann")])),
    ({ cookie }) => cookie
  )

  describe(`expiry on ${name} follows the server's clock (ASVS 7.3.1, 7.3.2)`, () => {
    timed(
      "idle: the session is alive until the limit and expired at it",
      Expiry.earliest(Expiry.idle("1 hour"), Expiry.absolute("1 day")),
      Effect.gen(function*() {
        const cookie = yield* begin
        yield* TestClock.adjust(Duration.subtract("1 hour", 1))
        assert.isTrue(yield* isAlive(cookie))
        const other = yield* begin
        yield* TestClock.adjust("1 hour")
        assert.isFalse(yield* isAlive(other))
      })
    )

    timed(
      "use extends the session up to the absolute limit and no further",
      Expiry.earliest(Expiry.idle("1 hour"), Expiry.absolute("5 hours")),
      Effect.gen(function*() {
        const cookie = yield* begin
        for (let used = 0; used < 9; used++) {
          yield* TestClock.adjust("33 minutes")
          assert.isTrue(yield* isAlive(cookie))
        }
        // 4:57 have passed; at 5:00 the absolute limit ends the session.
        yield* TestClock.adjust(Duration.subtract("3 minutes", 1))
        assert.isTrue(yield* isAlive(cookie))
        yield* TestClock.adjust(1)
        assert.isFalse(yield* isAlive(cookie))
      })
    )

    timed(
      "only a new authentication moves the absolute limit",
      Expiry.absolute("5 hours"),
      Effect.gen(function*() {
        const cookie = yield* login
        yield* TestClock.adjust("4 hours")
        const kept = yield* visit(App, App.rotate, cookie)
        const again = yield* visit(App, App.authenticate("ann"), kept.cookie)
        yield* TestClock.adjust("4 hours")
        assert.isTrue(yield* isAlive(again.cookie))
        const rotated = yield* visit(App, App.rotate, again.cookie)
        yield* TestClock.adjust("1 hour")
        assert.isFalse(yield* isAlive(rotated.cookie))
      })
    )

    timed(
      "sinceModified: a write extends the session, a read does not",
      Expiry.earliest(Expiry.sinceModified("1 hour"), Expiry.absolute("1 day")),
      Effect.gen(function*() {
        const [read, written] = [yield* begin, yield* begin]
        yield* TestClock.adjust("59 minutes")
        assert.isTrue(yield* isAlive(read))
        yield* visit(App, App.update("cart", (cart) => [...cart, "tea"]), written)
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual([yield* isAlive(read), yield* isAlive(written)], [false, true])
      })
    )

    timed(
      "at: every session ends at the given moment",
      Expiry.at(DateTime.unsafeMake(7_200_000)),
      Effect.gen(function*() {
        const cookie = yield* begin
        yield* TestClock.setTime(7_199_999)
        assert.isTrue(yield* isAlive(cookie))
        yield* TestClock.setTime(7_200_000)
        assert.isFalse(yield* isAlive(cookie))
      })
    )

    timed(
      "django: the session ends two weeks after its last change, a touch does not extend it, and a save renews Max-Age",
      Expiry.django,
      Effect.gen(function*() {
        const first = yield* visit(App, App.set("user", "ann"))
        yield* TestClock.adjust("13 days")
        assert.isTrue(yield* isAlive(first.cookie))
        const saved = yield* visit(App, App.set("cart", ["tea"]), first.cookie)
        assert.strictEqual(typeof saved.setCookie === "object" ? saved.setCookie.maxAge : undefined, 14 * 86_400)
        yield* TestClock.adjust("13 days")
        assert.isTrue(yield* isAlive(first.cookie))
        yield* TestClock.adjust("1 day")
        assert.isFalse(yield* isAlive(first.cookie))
      })
    )

    timed(
      "a clock that goes back neither ends a session nor extends it",
      Expiry.earliest(Expiry.idle("1 hour"), Expiry.absolute("1 day")),
      Effect.gen(function*() {
        yield* TestClock.setTime(10_000_000)
        const cookie = yield* begin
        yield* TestClock.setTime(6_400_000)
        assert.isTrue(yield* isAlive(cookie))
        const saved = yield* visit(App, App.set("cart", ["tea"]), cookie)
        assert.strictEqual(saved.error, undefined)
        yield* TestClock.setTime(13_600_000)
        assert.isFalse(yield* isAlive(cookie))
      })
    )

    timed(
      "a commit fails with SessionGone if the session expires during the request",
      Expiry.absolute("1 hour"),
      Effect.gen(function*() {
        const cookie = yield* begin
        const { error } = yield* visit(App, Effect.all([App.set("user", "bob"), TestClock.adjust("1 hour")]), cookie)
        assert.strictEqual(error?._tag, "SessionGone")
        assert.isFalse(yield* isAlive(cookie))
      })
    )
  })
}
