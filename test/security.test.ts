/**
 * Requirements of security standards that no other file owns. `docs/security.md` lists all of them.
 */
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { it } from "@effect/vitest"
import { DateTime, Duration, Effect, FastCheck as fc, Layer, Option, Redacted, Schema, TestClock } from "effect"
import { Csrf, Expiry, Lifetime, MemoryEngine, MemoryStore, Session } from "effect-session"
import type { SessionHandle } from "effect-session/SessionHandle"
import type { SessionRevocation } from "effect-session/SessionRevocation"
import { assert, describe } from "vitest"
import { visit } from "./support/requestWithoutHttp.js"
import * as Shop from "./support/shop.js"

const options = {
  schema: Schema.Struct({
    note: Schema.optional(Schema.String),
    cart: Schema.optionalWith(Schema.mutable(Schema.Array(Schema.String)), { default: () => [] })
  }),
  context: Schema.Struct({ browser: Schema.Unknown }),
  transport: "both",
  touchEvery: 0
} as const

class App extends Session.Tag<App>()("test/Security", {
  ...options,
  expiry: Expiry.earliest(Expiry.idle("1 day"), Expiry.absolute("2 days"))
}) {}

const live = App.layer.pipe(Layer.provideMerge(MemoryEngine.layer))

const test = (
  title: string,
  body: Effect.Effect<void, unknown, Layer.Layer.Success<typeof live>>
) => it.effect(title, () => Effect.provide(body, live))

const subjectAt = (cookie: string | undefined) =>
  Effect.map(visit(App, App.subject, cookie), ({ result }) => Option.getOrUndefined(result))

describe("the deadline of a login", () => {
  type Act = (
    session: SessionHandle<typeof options.schema.Type, never, typeof options.context.Type>
  ) => Effect.Effect<unknown, unknown, SessionRevocation>
  const acts: Readonly<Record<string, Act>> = {
    read: (session) => session.value,
    touch: (session) => session.touch,
    save: (session) => Effect.zipRight(session.set("note", "x"), session.save),
    clear: (session) => session.clear,
    rotate: (session) => session.rotate,
    setExpiry: (session) => session.setExpiry(Lifetime.inactivity("30 days")),
    elevate: (session) => session.elevate({ methods: ["otp"], level: 2 }),
    drop: (session) => session.drop,
    impersonate: (session) => Effect.ignore(session.impersonate("bob")),
    endImpersonation: (session) => session.endImpersonation,
    revokeOthers: (session) => Effect.ignore(session.revokeOthers)
  }
  const sequences = fc.sample(
    fc.array(fc.constantFrom(...Object.keys(acts)), { minLength: 4, maxLength: 10 }),
    { numRuns: 20, seed: 732 }
  )

  test(
    "ASVS 7.3.2, N5: no sequence of reads, saves, rotations, step-ups and impersonations moves it, and then the session ends",
    Effect.gen(function*() {
      const sessions = yield* App.service
      for (const names of sequences) {
        let { cookie } = yield* visit(App, App.authenticate("ann"))
        const deadline = Effect.map(sessions.list("ann"), ([one]) => one?.deadline)
        const first = yield* deadline
        assert.isDefined(first)
        for (const name of names) {
          yield* TestClock.adjust("4 hours")
          const session = acts[name]
          const after = yield* visit(App, session === undefined ? Effect.void : Effect.flatMap(App, session), cookie)
          assert.isUndefined(after.error, `${names}`)
          cookie = after.cookie
          assert.deepStrictEqual(yield* deadline, first, `${names}`)
        }
        yield* TestClock.setTime(first === undefined ? 0 : DateTime.toEpochMillis(first) - 1)
        assert.isDefined((yield* visit(App, App.touch, cookie)).cookie)
        yield* TestClock.adjust("1 millis")
        assert.deepStrictEqual([yield* subjectAt(cookie), yield* sessions.list("ann")], [undefined, []], `${names}`)
      }
    })
  )
})

/** Every text and number in a value, and both together with the prefix of a token. */
const textsIn = (value: unknown): ReadonlyArray<string> =>
  DateTime.isDateTime(value)
    ? [DateTime.formatIso(value), String(DateTime.toEpochMillis(value))]
    : typeof value === "object" && value !== null
    ? Object.entries(value).flatMap(([name, field]) => [name, ...textsIn(field)])
    : value === undefined
    ? []
    : [String(value)]

describe("a list of sessions", () => {
  test(
    "ASVS 7.5.2: none of its texts is a credential, as a cookie or as a bearer token",
    Effect.gen(function*() {
      const sessions = yield* App.service
      const { cookie } = yield* visit(
        App,
        App.authenticate("ann", { methods: ["pwd"], context: { browser: "Firefox" } })
      )
      const listed = [...yield* sessions.list("ann"), ...yield* sessions.own("ann")]
      assert.strictEqual(listed.length, 2)
      const texts = new Set(listed.flatMap(textsIn).flatMap((text) => [text, `r1.${text}`]))
      assert.isAbove(texts.size, 20)
      for (const text of texts) {
        assert.isUndefined(yield* subjectAt(text), text)
        const bearer = sessions.request(undefined, { authorization: `Bearer ${text}` })
        assert.deepStrictEqual(yield* bearer.subject, Option.none(), text)
      }
      assert.strictEqual(yield* subjectAt(cookie), "ann")
    })
  )

  test(
    "the reason for an absence is for the holder of the token: an id and an invented token have none",
    Effect.gen(function*() {
      const sessions = yield* App.service
      const { cookie } = yield* visit(App, App.authenticate("ann"))
      const [listed] = yield* sessions.list("ann")
      yield* sessions.revokeSubject("ann")
      const absenceAt = (cookie: string | undefined) =>
        Effect.map(visit(App, App.absence, cookie), ({ result }) => Option.getOrUndefined(result))
      assert.strictEqual(yield* absenceAt(cookie), "subjectRevoked")
      assert.strictEqual(yield* absenceAt(listed?.id), "malformed")
      assert.strictEqual(yield* absenceAt(`r1.${"A".repeat(43)}`), "unknown")
    })
  )
})

describe("a visitor without a session", () => {
  it.scoped("ASVS 7.6.2: 1,000 reads and logouts create no session and no cookie", () =>
    Effect.gen(function*() {
      const shop = yield* Shop.make(MemoryStore.layer)
      const handlers = [
        Shop.ShopSession.value,
        Shop.ShopSession.subject,
        Shop.ShopSession.absence,
        Csrf.token(Shop.ShopSession),
        Shop.ShopSession.destroy
      ]
      for (let at = 0; at < 1000; at++) {
        const handler: Effect.Effect<unknown, unknown, Shop.ShopSession> = handlers[at % handlers.length] ?? Effect.void
        const answer = yield* shop.request(Effect.as(handler, HttpServerResponse.empty()))
        assert.deepStrictEqual([answer.status, answer.cookie], [204, undefined])
      }
      assert.deepStrictEqual(shop.calls, [])
    }))
})

describe("a token that opens no session", () => {
  it.scoped("ASVS 11.2.5: is answered byte for byte the same, whatever is wrong with it", () =>
    Effect.gen(function*() {
      const shop = yield* Shop.make(MemoryStore.layer)
      const page = Effect.map(
        Effect.all([Shop.ShopSession.value, Shop.ShopSession.subject]),
        (seen) => HttpServerResponse.text(JSON.stringify(seen))
      )
      const ok = HttpServerResponse.empty()
      const login = Effect.map(
        shop.request(Effect.as(Shop.ShopSession.authenticate("ann"), ok)),
        ({ cookie }) => cookie ?? ""
      )
      const expired = yield* login
      yield* TestClock.adjust("31 days")
      const [loggedOut, rotated, revoked] = [yield* login, yield* login, yield* login]
      yield* shop.request(Effect.as(Shop.ShopSession.destroy, ok), loggedOut)
      yield* shop.request(Effect.as(Shop.ShopSession.rotate, ok), rotated)
      yield* shop.request(
        Effect.as(Effect.flatMap(Shop.ShopSession.service, ({ revokeSubject }) => revokeSubject("ann")), ok)
      )
      const flipped = `${revoked.slice(0, 10)}${revoked[10] === "A" ? "B" : "A"}${revoked.slice(11)}`
      const bad = { expired, loggedOut, rotated, revoked, flipped, invented: `r1.${"A".repeat(43)}`, malformed: "x" }
      const answers = yield* Effect.forEach(
        Object.entries(bad),
        ([what, cookie]) =>
          Effect.map(shop.request(page, cookie), ({ body, headers, status }) => ({
            what,
            answer: JSON.stringify([status, [...headers], body])
          }))
      )
      assert.include(answers[0]?.answer ?? "", "[200,")
      for (const { answer, what } of answers) assert.strictEqual(answer, answers[0]?.answer, what)
    }))
})

describe("a response with 401 or 403", () => {
  const raises: Readonly<Record<string, Effect.Effect<void, unknown, App>>> = {
    login: App.authenticate("bob"),
    "step-up": App.elevate({ methods: ["otp"], level: 2 }),
    impersonation: App.impersonate("bob")
  }
  for (const [what, raise] of Object.entries(raises)) {
    test(
      `undoes a ${what} and the other changes of its request, and the token stays`,
      Effect.gen(function*() {
        const { cookie } = yield* visit(App, App.authenticate("ann"))
        for (const status of [401, 403]) {
          const refused = yield* visit(App, Effect.zipRight(App.set("note", "lost"), raise), cookie, status)
          assert.deepStrictEqual([refused.error, refused.setCookie], [undefined, undefined])
        }
        const { result } = yield* visit(App, Effect.all([App.subject, App.level, App.get("note")]), cookie)
        assert.deepStrictEqual(result, [Option.some("ann"), 1, undefined])
      })
    )
  }

  test(
    "does not undo what `save` has written before it",
    Effect.gen(function*() {
      const saved = yield* visit(App, Effect.zipRight(App.authenticate("ann"), App.save), undefined, 401)
      assert.strictEqual(yield* subjectAt(saved.cookie), "ann")
    })
  )
})

describe("an impersonation", () => {
  const acting = Effect.gen(function*() {
    const { cookie } = yield* visit(App, App.authenticate("support"))
    return yield* visit(App, App.impersonate("ann"), cookie)
  })

  test(
    "is not nested, and a failed second one changes nothing",
    Effect.gen(function*() {
      const { cookie } = yield* acting
      const second = yield* visit(App, Effect.flip(App.impersonate("bob")), cookie)
      assert.strictEqual(second.result._tag, "SessionInvalid")
      const { result } = yield* visit(App, Effect.all([App.subject, App.impersonator]), cookie)
      assert.deepStrictEqual(result, [Option.some("ann"), Option.some("support")])
    })
  )

  test(
    "refuses `revokeOthers`, which would end the sessions of who acts and not those of the subject shown",
    Effect.gen(function*() {
      const other = yield* visit(App, App.authenticate("support"))
      const { cookie } = yield* acting
      const refused = yield* visit(App, Effect.flip(App.revokeOthers), cookie)
      assert.strictEqual(refused.result._tag, "SessionInvalid")
      assert.deepStrictEqual([yield* subjectAt(other.cookie), yield* subjectAt(cookie)], ["support", "ann"])
    })
  )

  test(
    "ends with a login, which keeps none of its data, of whichever of the two subjects",
    Effect.gen(function*() {
      for (const subject of ["support", "ann"]) {
        const { cookie } = yield* acting
        const filled = yield* visit(App, App.set("note", "of ann"), cookie)
        const login = yield* visit(App, App.authenticate(subject), filled.cookie)
        const { result } = yield* visit(App, Effect.all([App.subject, App.impersonator, App.get("note")]), login.cookie)
        assert.deepStrictEqual(result, [Option.some(subject), Option.none(), undefined])
        assert.isUndefined(yield* subjectAt(filled.cookie))
      }
    })
  )

  test(
    "of another request leaves no data to an exclusive login that began before it",
    Effect.gen(function*() {
      const { cookie } = yield* visit(App, App.authenticate("support"))
      const login = yield* visit(
        App,
        Effect.gen(function*() {
          yield* App.subject
          const other = yield* visit(App, App.impersonate("ann"), cookie)
          yield* visit(App, App.set("note", "of ann"), other.cookie)
          yield* App.authenticateExclusively("support")
        }),
        cookie
      )
      assert.isUndefined(login.error)
      const { result } = yield* visit(App, Effect.all([App.subject, App.impersonator, App.get("note")]), login.cookie)
      assert.deepStrictEqual(result, [Option.some("support"), Option.none(), undefined])
    })
  )
})

describe("carryOver", () => {
  class Shared extends Session.Tag<Shared>()("test/Shared", {
    schema: options.schema,
    carryOver: (visitor, fresh) => {
      fresh.cart.push(...visitor.cart)
      visitor.cart.push("also changed")
      return fresh
    }
  }) {}

  it.effect("a function that changes its arguments in place changes nothing for other visitors", () =>
    Effect.gen(function*() {
      const cartAt = (cookie?: string) => Effect.map(visit(Shared, Shared.get("cart"), cookie), ({ result }) => result)
      const visitor = yield* visit(Shared, Shared.set("cart", ["tea"]))
      const login = yield* visit(Shared, Shared.authenticate("ann"), visitor.cookie)
      assert.deepStrictEqual([yield* cartAt(login.cookie), yield* cartAt()], [["tea"], []])
    }).pipe(Effect.provide(Layer.provideMerge(Shared.layer, MemoryEngine.layer))))
})

describe("the context of a session", () => {
  const nested = (depth: number): unknown => JSON.parse("[".repeat(depth) + "]".repeat(depth))

  test(
    "is nested as deeply as a session can be read with, and no deeper",
    Effect.gen(function*() {
      const set = (depth: number) =>
        visit(
          App,
          Effect.either(Effect.zipRight(App.authenticate("ann"), App.setClientContext({ browser: nested(depth) })))
        )
      const deepest = yield* Effect.iterate(1, {
        while: (depth) => depth < 100,
        body: (depth) => Effect.map(set(depth), ({ result }) => result._tag === "Left" ? 100 + depth : depth + 1)
      })
      const accepted = yield* set(deepest - 101)
      assert.strictEqual(yield* subjectAt(accepted.cookie), "ann")
      assert.isAbove(deepest, 130)
    })
  )
})

describe("the cookie of a login", () => {
  const maxAgeOf = (remember: boolean | undefined) =>
    Effect.map(
      visit(App, App.authenticate("ann", remember === undefined ? {} : { remember })),
      ({ setCookie }) => setCookie === undefined || setCookie === "expire" ? "none" : setCookie.maxAge
    )

  test(
    "N8, O16: ends with the browser without `remember`, and lasts until the deadline with it",
    Effect.gen(function*() {
      const lifetime = Duration.toSeconds("2 days")
      assert.deepStrictEqual(
        yield* Effect.forEach([false, true, undefined], maxAgeOf),
        [undefined, lifetime, lifetime]
      )
    })
  )

  test(
    "N10: that ended with the browser opens no session after the limits of the server",
    Effect.gen(function*() {
      const { cookie } = yield* visit(App, App.authenticate("ann", { remember: false }))
      yield* TestClock.adjust("1 day")
      assert.isUndefined(yield* subjectAt(cookie))
    })
  )
})

describe("protection against forged requests", () => {
  const { handler } = HttpApp.toWebHandlerLayer(
    Csrf.middleware(App)(
      HttpRouter.empty.pipe(HttpRouter.all("/", Effect.as(App.subject, HttpServerResponse.empty())))
    ),
    live
  )
  const statusOf = (method: string, headers: Readonly<Record<string, string>> = {}) =>
    Effect.promise(() =>
      handler(new Request("https://shop.example/", { method, headers: { "sec-fetch-site": "cross-site", ...headers } }))
    ).pipe(Effect.map(({ status }) => status))

  it.effect("refuses a foreign request by every method but the four safe ones, whatever its case and override headers", () =>
    Effect.gen(function*() {
      for (const method of ["POST", "PUT", "PATCH", "patch", "DELETE", "QUERY", "PROPFIND", "GETS", "Head"]) {
        const overriding = [{}, { "x-http-method-override": "GET" }, {
          "x-http-method": "GET",
          "x-method-override": "HEAD"
        }]
        for (const headers of overriding) {
          // `Request` itself writes this one in capitals.
          const expected = method === "Head" ? 204 : 403
          assert.strictEqual(yield* statusOf(method, headers), expected, method)
        }
      }
      assert.deepStrictEqual(yield* Effect.forEach(["GET", "HEAD", "OPTIONS"], (method) => statusOf(method)), [
        204,
        204,
        204
      ])
    }))

  it.effect("a request that asks for a bearer token beside its cookie needs the protection", () =>
    Effect.gen(function*() {
      const sessions = yield* App.service
      const { cookie } = yield* visit(App, App.authenticate("ann"))
      const header = `${sessions.cookie.name}=${cookie}`
      assert.strictEqual(sessions.request(header, { asksForToken: true }).transport, "cookie")
      assert.strictEqual(sessions.request(header, { authorization: `Bearer ${cookie}` }).transport, "cookie")
      assert.strictEqual(
        sessions.request(`${sessions.cookie.name}=x`, { authorization: `Bearer ${cookie}` }).transport,
        "cookie"
      )
      assert.strictEqual(sessions.request(undefined, { authorization: `Bearer ${cookie}` }).transport, "bearer")
      assert.isTrue(Redacted.isRedacted(Option.getOrUndefined(yield* sessions.request(header).token)))
    }).pipe(Effect.provide(live)))
})
