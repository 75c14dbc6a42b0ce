/** Features of Django's session framework, one test for each row of docs/django.md that no other file covers. */
import { it } from "@effect/vitest"
import { Clock, DateTime, Duration, Effect, Either, Layer, Option, Redacted, Schema, Stream, TestClock } from "effect"
import { Expiry, Lifetime, ReadOnce, Session, SessionCodec, SessionToken, StoredEngine } from "effect-session"
import { SessionDirectory } from "effect-session/SessionDirectory"
import { SessionStore, SessionStoreError } from "effect-session/SessionStore"
import { FaultyStore } from "effect-session/testing"
import { Packr } from "msgpackr"
import { assert, describe, expect } from "vitest"
import { storeKeys } from "../src/internal/crypto/sessionToken.js"
import { visit } from "./support/requestWithoutHttp.js"
import { recordsIn } from "./support/scanPages.js"
import { stores } from "./support/stores.js"

class App extends Session.Tag<App>()("test/Django", {
  schema: Schema.Struct({
    user: Schema.optional(Schema.String),
    cart: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] }),
    notice: ReadOnce.field(Schema.String)
  }),
  expiry: Expiry.earliest(Expiry.idle("1 hour"), Expiry.absolute("1 day"))
}) {}

const hour = 3_600_000

for (const [name, layer] of stores) {
  const provided = () => App.layer.pipe(Layer.provideMerge(StoredEngine.layer), Layer.provideMerge(layer()))
  const test = (
    title: string,
    effect: Effect.Effect<unknown, unknown, Layer.Layer.Success<ReturnType<typeof provided>>>
  ) => it.effect(`${name}: ${title}`, () => Effect.orDie(Effect.provide(effect, provided())))
  const begin = Effect.map(visit(App, App.set("user", "ann")), ({ cookie }) => cookie)
  const isAlive = (cookie: string | undefined) =>
    Effect.map(visit(App, App.get("user"), cookie), ({ result }) => result === "ann")
  const maxAge = (setCookie: { readonly setCookie: unknown }) =>
    typeof setCookie.setCookie === "object" && setCookie.setCookie !== null && "maxAge" in setCookie.setCookie
      ? setCookie.setCookie.maxAge
      : "no cookie"

  describe("reading with a default", () => {
    test(
      "get(k, d) is getOrElse, pop(k, d) is popOrElse, setdefault is getOrSet",
      Effect.gen(function*() {
        const { cookie, result } = yield* visit(
          App,
          Effect.all([
            App.getOrElse("user", () => "anonymous"),
            App.popOrElse("user", () => "anonymous"),
            App.getOrSet("user", "ann"),
            App.getOrSet("user", "bob"),
            App.getOrElse("user", () => "anonymous")
          ])
        )
        assert.deepStrictEqual(result, ["anonymous", "anonymous", "ann", "ann", "ann"])
        assert.isTrue(yield* isAlive(cookie))
      })
    )

    test(
      "is_empty depends on the loaded data, not on the cookie",
      Effect.gen(function*() {
        const cookie = yield* begin
        const answers = [
          yield* visit(App, App.isEmpty),
          yield* visit(App, App.isEmpty, `r1.${"A".repeat(43)}`),
          yield* visit(App, App.isEmpty, cookie),
          yield* visit(App, Effect.zipRight(App.clear, App.isEmpty), cookie)
        ]
        assert.deepStrictEqual(answers.map(({ result }) => result), [true, true, false, true])
      })
    )

    test(
      "session_key: the token is redacted, the id is public; both are absent until a session is written",
      Effect.gen(function*() {
        const before = yield* visit(App, Effect.all([App.token, App.id]))
        expect(before.result).toStrictEqual([Option.none(), Option.none()])
        const cookie = yield* begin
        const { result: [token, id] } = yield* visit(App, Effect.all([App.token, App.id]), cookie)
        assert.strictEqual(Option.getOrUndefined(Option.map(token, Redacted.value)), cookie)
        assert.notInclude(String(Option.getOrUndefined(token)), cookie ?? "")
        assert.match(Option.getOrElse(id, () => ""), /^[A-Za-z0-9_-]{22}$/)
      })
    )
  })

  describe("the test cookie", () => {
    test(
      "set, worked and delete: in a browser that accepts cookies, and in one that does not",
      Effect.gen(function*() {
        const first = yield* visit(App, Effect.zipRight(App.setTestCookie, App.testCookieWorked))
        assert.deepStrictEqual([first.result, typeof first.cookie], [false, "string"])
        assert.isFalse((yield* visit(App, App.testCookieWorked)).result)
        const second = yield* visit(App, Effect.zipLeft(App.testCookieWorked, App.deleteTestCookie), first.cookie)
        assert.deepStrictEqual([second.result, second.setCookie], [true, "expire"])
        assert.isFalse((yield* visit(App, App.testCookieWorked, first.cookie)).result)
      })
    )

    test(
      "delete keeps a session that holds data",
      Effect.gen(function*() {
        const first = yield* visit(App, App.setTestCookie)
        const second = yield* visit(App, Effect.all([App.set("user", "ann"), App.deleteTestCookie]), first.cookie)
        assert.strictEqual(second.setCookie, undefined)
        assert.isTrue(yield* isAlive(first.cookie))
      })
    )
  })

  describe("set_expiry, in all its forms, is enforced by the server and sent as Max-Age", () => {
    test(
      "seconds of inactivity: replaces the idle limit, and use extends it",
      Effect.gen(function*() {
        const first = yield* visit(
          App,
          Effect.all([App.set("user", "ann"), App.setExpiry(Lifetime.inactivity("10 minutes"))])
        )
        assert.strictEqual(maxAge(first), 600)
        yield* TestClock.adjust("9 minutes")
        const second = yield* visit(App, App.get("user"), first.cookie)
        assert.deepStrictEqual([second.result, maxAge(second)], ["ann", 600])
        yield* TestClock.adjust("9 minutes")
        assert.isTrue(yield* isAlive(first.cookie))
        yield* TestClock.adjust("10 minutes")
        assert.isFalse(yield* isAlive(first.cookie))
      })
    )

    test(
      "a duration and a date: a fixed end, which use does not move",
      Effect.gen(function*() {
        for (const lifetime of [() => Lifetime.lasting("2 hours"), (now: number) => Lifetime.until(now + 2 * hour)]) {
          const now = yield* Clock.currentTimeMillis
          const first = yield* visit(App, Effect.all([App.set("user", "ann"), App.setExpiry(lifetime(now))]))
          assert.strictEqual(maxAge(first), 7200)
          yield* TestClock.adjust("119 minutes")
          assert.isTrue(yield* isAlive(first.cookie))
          yield* TestClock.adjust("1 minute")
          assert.isFalse(yield* isAlive(first.cookie))
        }
      })
    )

    test(
      "0: the cookie ends with the browser, and the server enforces its limits",
      Effect.gen(function*() {
        const first = yield* visit(
          App,
          Effect.all([App.set("user", "ann"), App.setExpiry(Lifetime.browser), App.expireAtBrowserClose])
        )
        assert.deepStrictEqual([maxAge(first), first.result[2]], [undefined, true])
        yield* TestClock.adjust("59 minutes")
        assert.isTrue(yield* isAlive(first.cookie))
        yield* TestClock.adjust("1 hour")
        assert.isFalse(yield* isAlive(first.cookie))
      })
    )

    test(
      "None: back to the policy, with a new Max-Age",
      Effect.gen(function*() {
        const first = yield* visit(App, Effect.all([App.set("user", "ann"), App.setExpiry(Lifetime.browser)]))
        const second = yield* visit(
          App,
          Effect.all([App.setExpiry(Lifetime.byPolicy), App.expireAtBrowserClose]),
          first.cookie
        )
        assert.deepStrictEqual([maxAge(second), second.result[1]], [86_400, false])
        assert.isUndefined((yield* visit(App, App.setExpiry(Lifetime.byPolicy), first.cookie)).setCookie)
      })
    )

    test(
      "the absolute limit caps every form",
      Effect.gen(function*() {
        for (const lifetime of [Lifetime.inactivity("30 days"), Lifetime.lasting("30 days"), Lifetime.browser]) {
          const { cookie } = yield* visit(App, Effect.all([App.set("user", "ann"), App.setExpiry(lifetime)]))
          for (let hours = 0; hours < 23; hours++) {
            yield* TestClock.adjust("59 minutes")
            assert.isTrue(yield* isAlive(cookie))
          }
          yield* TestClock.adjust("83 minutes")
          assert.isFalse(yield* isAlive(cookie))
        }
      })
    )

    test(
      "an infinite lifetime is rejected by setExpiry",
      Effect.gen(function*() {
        const error = yield* Effect.flip(visit(App, App.setExpiry(Lifetime.inactivity(Duration.infinity))))
        assert.strictEqual(error._tag, "SessionInvalid")
      })
    )
  })

  describe("get_expiry_age and get_expiry_date", () => {
    test(
      "by the policy, by the session's lifetime, and for given values",
      Effect.gen(function*() {
        const cookie = yield* begin
        const at = (millis: number) => DateTime.unsafeMake(millis)
        const expiryOf = (...options: Parameters<typeof App.expiryAge>) =>
          Effect.map(
            visit(App, Effect.all([App.expiryAge(...options), App.expiryDate(...options)]), cookie),
            ({ result: [age, date] }) => [
              Duration.toSeconds(age),
              DateTime.toEpochMillis(date)
            ]
          )
        assert.deepStrictEqual(yield* expiryOf(), [3600, hour])
        assert.deepStrictEqual(yield* expiryOf({ modification: at(5000) }), [3600, hour + 5000])
        assert.deepStrictEqual(yield* expiryOf({ expiry: Lifetime.inactivity(10_000) }), [10, 10_000])
        assert.deepStrictEqual(yield* expiryOf({ expiry: Lifetime.until(7000), modification: at(5000) }), [2, 7000])
        assert.deepStrictEqual(yield* expiryOf({ expiry: Lifetime.until(1000), modification: at(5000) }), [0, 1000])
        assert.deepStrictEqual(yield* expiryOf({ expiry: Lifetime.browser }), [3600, hour])
        // Near the absolute limit, less time is left than the idle limit.
        assert.deepStrictEqual(yield* expiryOf({ modification: at(23.5 * hour) }), [1800, 24 * hour])
        yield* visit(App, App.setExpiry(Lifetime.inactivity("1 minute")), cookie)
        assert.deepStrictEqual(yield* expiryOf(), [60, 60_000])
        assert.strictEqual(Duration.toSeconds((yield* visit(App, App.cookieAge)).result), 3600)
      })
    )
  })

  describe("outside a request", () => {
    test(
      "create, open, change, commit, exists, destroy",
      Effect.gen(function*() {
        const sessions = yield* App.service
        const made = yield* sessions.create({ user: "ann" }, { subject: "u1" })
        const token = yield* Effect.flatten(made.token)
        assert.isTrue(yield* sessions.exists(token))
        const opened = yield* Effect.flatten(sessions.open(token))
        expect([yield* opened.get("user"), yield* opened.subject]).toStrictEqual(["ann", Option.some("u1")])
        yield* opened.update("cart", (cart) => [...cart, "tea"])
        yield* opened.save
        assert.deepStrictEqual((yield* visit(App, App.get("cart"), Redacted.value(token))).result, ["tea"])
        yield* sessions.destroy(token)
        expect([yield* sessions.exists(token), yield* sessions.open(token)]).toStrictEqual([false, Option.none()])
        expect(yield* sessions.open(Redacted.make("nonsense"))).toStrictEqual(Option.none())
      })
    )

    test(
      "create stores even an empty session, and commits are replayed as in a request",
      Effect.gen(function*() {
        const sessions = yield* App.service
        const token = yield* Effect.flatMap(sessions.create(), (made) => Effect.flatten(made.token))
        const [one, two] = yield* Effect.all([
          Effect.flatten(sessions.open(token)),
          Effect.flatten(sessions.open(token))
        ])
        yield* one.update("cart", (cart) => [...cart, "one"])
        yield* two.update("cart", (cart) => [...cart, "two"])
        yield* Effect.all([one.save, two.save])
        assert.deepStrictEqual((yield* visit(App, App.get("cart"), Redacted.value(token))).result, ["one", "two"])
      })
    )

    test(
      "Session.objects.all(): every live session, decoded; one that does not decode is a Left",
      Effect.gen(function*() {
        const sessions = yield* App.service
        const store = yield* SessionStore
        yield* Effect.replicateEffect(sessions.create({ user: "ann" }), 230)
        const broken = yield* Effect.flatMap(sessions.create({ user: "bob" }), (made) => Effect.flatten(made.token))
        const key = yield* Effect.map(Effect.flatten(tokenOf(broken)), storeKeys("test/Django"))
        const record = yield* Effect.flatten(store.load(key, 0))
        yield* store.save(key, { ...record, data: `{"user":7}` }, { expectedVersion: 1, now: 0 })
        const all = yield* Stream.runCollect(sessions.all)
        const { failures, values } = split(all)
        assert.deepStrictEqual([values.length, failures.length], [230, 1])
        assert.include(failures[0]?.problem, `"user"`)
        assert.notProperty(failures[0]?.info, "data")
        assert.isTrue(values.every(({ value }) => value.user === "ann"))
      })
    )

    test(
      "Session.objects.all() with a corrupt record: a Left, and the stream continues",
      Effect.gen(function*() {
        const sessions = yield* App.service
        const { corrupt, store } = FaultyStore.corruptible(yield* SessionStore)
        yield* Effect.replicateEffect(sessions.create({ user: "ann" }), 3)
        const [one] = recordsIn(yield* store.scan("test/Django", { limit: 1, now: 0 }))
        if (one === undefined) return assert.fail("there is no record")
        yield* corrupt(one.key)
        const all = yield* Effect.provideService(Stream.runCollect(sessions.all), SessionDirectory, store)
        const { failures, values } = split(all)
        assert.strictEqual(values.length, 2)
        const { message } = new SessionStoreError({ operation: "scan", reason: "corrupt" })
        assert.deepStrictEqual(failures, [{ id: one.id, info: undefined, problem: message }])
      })
    )

    test(
      "list, revoke, revokeSubject and revokeAll",
      Effect.gen(function*() {
        const sessions = yield* App.service
        const make = (subject: string) => sessions.create({ user: "ann" }, { subject })
        const [a, b, c, other] = yield* Effect.all([make("u1"), make("u1"), make("u1"), make("u2")])
        const idOf = (handle: typeof a) => Effect.flatten(handle.id)
        const live = Effect.map(sessions.list("u1"), (list) => list.length)
        assert.strictEqual(yield* live, 3)
        assert.deepStrictEqual([
          yield* sessions.revoke(yield* idOf(a)),
          yield* sessions.revoke(yield* idOf(a)),
          yield* live
        ], [true, false, 2])
        yield* sessions.revokeSubject("u1", { except: yield* idOf(c) })
        assert.deepStrictEqual((yield* sessions.list("u1")).map(({ id }) => id), [yield* idOf(c)])
        assert.isFalse(yield* sessions.exists(yield* Effect.flatten(b.token)))
        assert.isTrue(yield* sessions.exists(yield* Effect.flatten(other.token)))
        yield* sessions.revokeAll
        assert.isFalse(yield* sessions.exists(yield* Effect.flatten(other.token)))
      })
    )
  })

  describe("read once", () => {
    test(
      "is taken by the next request only",
      Effect.gen(function*() {
        const { cookie } = yield* visit(App, App.set("notice", ReadOnce.make("Saved.")))
        const taken = Effect.map(visit(App, App.take("notice"), cookie), ({ result }) => result)
        expect([yield* taken, yield* taken]).toStrictEqual([Option.some("Saved."), Option.none()])
      })
    )

    test(
      "exactly one of 20 concurrent requests takes it, and none fails",
      Effect.gen(function*() {
        const { cookie } = yield* visit(App, App.set("notice", ReadOnce.make("Saved.")))
        const work = Effect.zipRight(App.update("cart", (cart) => [...cart, "x"]), App.take("notice"))
        const all = yield* Effect.replicateEffect(visit(App, work, cookie), 20, { concurrency: "unbounded" })
        assert.deepStrictEqual(all.map(({ error }) => error?._tag), Array.from({ length: 20 }, () => undefined))
        assert.strictEqual(all.filter(({ result }) => Option.isSome(result)).length, 1)
        assert.strictEqual((yield* visit(App, App.get("cart"), cookie)).result.length, 20)
      })
    )

    test(
      "a prefetch does not take it",
      Effect.gen(function*() {
        const { cookie } = yield* visit(App, App.set("notice", ReadOnce.make("Saved.")))
        const service = yield* App.service
        const prefetch = service.request(`${service.cookie.name}=${cookie}`, { prefetch: true })
        expect(yield* Effect.provideService(App.take("notice"), App, prefetch)).toStrictEqual(Option.none())
        yield* prefetch.finish(200)
        expect((yield* visit(App, App.take("notice"), cookie)).result).toStrictEqual(Option.some("Saved."))
      })
    )

    test(
      "a value set by the same request can be taken, and earlier changes stay pending",
      Effect.gen(function*() {
        const fresh = yield* visit(App, Effect.zipRight(App.set("notice", ReadOnce.make("now")), App.take("notice")))
        expect([fresh.result, fresh.setCookie]).toStrictEqual([Option.some("now"), undefined])
        const { cookie } = yield* visit(App, App.set("notice", ReadOnce.make("Saved.")))
        const failing = yield* visit(App, Effect.zipRight(App.set("user", "lost"), App.take("notice")), cookie, 500)
        expect(failing.result).toStrictEqual(Option.some("Saved."))
        const after = yield* visit(App, Effect.all([App.get("user"), App.take("notice")]), cookie)
        expect(after.result).toStrictEqual([undefined, Option.none()])
      })
    )
  })
}

const tokenOf = (token: Redacted.Redacted<string>) => Effect.succeed(SessionToken.parse(Redacted.value(token)))

const split = <A, B>(all: Iterable<Either.Either<A, B>>) => ({
  values: [...all].flatMap((one) => Either.isRight(one) ? [one.right] : []),
  failures: [...all].flatMap((one) => Either.isLeft(one) ? [one.left] : [])
})

describe("serializers", () => {
  const packr = new Packr({ useRecords: false })
  const MessagePack = SessionCodec.layer({
    encode: (data) => packr.pack(data).toString("base64url"),
    decode: (text) => text.startsWith("{") ? JSON.parse(text) : packr.unpack(Buffer.from(text, "base64url"))
  })

  it.effect("MessagePack in place of JSON; existing JSON sessions stay readable", () =>
    Effect.gen(function*() {
      const store = yield* SessionStore
      const sessions = (layer: typeof App.layer, cookie?: string) =>
        Effect.provide(
          visit(App, App.update("cart", (cart) => [...cart, "tea"]), cookie),
          Layer.provide(layer, StoredEngine.layer)
        )
      const json = yield* sessions(App.layer)
      assert.strictEqual(recordsIn(yield* store.scan("test/Django", { limit: 1, now: 0 }))[0]?.data, `{"cart":["tea"]}`)
      const packed = yield* sessions(Layer.provide(App.layerWith({}), MessagePack), json.cookie)
      assert.strictEqual(packed.error, undefined)
      const data = recordsIn(yield* store.scan("test/Django", { limit: 1, now: 0 }))[0]?.data ?? ""
      assert.deepStrictEqual(packr.unpack(Buffer.from(data, "base64url")), { cart: ["tea", "tea"] })
    }).pipe(Effect.provide(stores[0]?.[1]() ?? Layer.die("no store")), Effect.orDie))
})
