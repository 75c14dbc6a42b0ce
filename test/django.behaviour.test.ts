/** Observed behaviour of Django 6.1, case by case, and the behaviour here where it differs. See `docs/django.md`. */
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { it } from "@effect/vitest"
import { DateTime, Duration, Effect, Layer, Option, Redacted, Schema, TestClock } from "effect"
import { Expiry, Lifetime, Session, SessionCookie, StoredEngine } from "effect-session"
import type { SessionService, Settings } from "effect-session/SessionService"
import { SessionStore } from "effect-session/SessionStore"
import { assert, describe } from "vitest"
import { visit } from "./support/requestWithoutHttp.js"
import { recordsIn } from "./support/scanPages.js"
import * as Shop from "./support/shop.js"
import { ok, ShopSession, show } from "./support/shop.js"
import { stores } from "./support/stores.js"

type Handler = Effect.Effect<
  HttpServerResponse.HttpServerResponse,
  unknown,
  ShopSession | SessionService<ShopSession> | HttpServerRequest.HttpServerRequest
>

/** The response and the stored records after a request. */
interface Outcome {
  readonly status: number
  readonly cookie: string
  readonly vary: string | null
  /** The data of every record. */
  readonly records: ReadonlyArray<object>
}

interface Case {
  readonly title: string
  /** The presented cookie value. `live` belongs to a session that holds `{ tags: ["tea"] }`. */
  readonly presented: "nothing" | "malformed" | "unknown" | "live"
  readonly settings?: Settings
  readonly handler: Handler
  readonly django: Outcome
  /** Set if the outcome here differs from Django's. */
  readonly here?: Outcome
}

const gives = (
  cookie: string,
  vary: "varies" | "does not vary",
  records: ReadonlyArray<object>,
  status = 200
): Outcome => ({ status, cookie, vary: vary === "varies" ? "Cookie" : null, records })

const does = (effect: Effect.Effect<unknown, unknown, ShopSession | SessionService<ShopSession>>): Handler =>
  Effect.zipRight(effect, ok)

const write = does(ShopSession.set("count", 1))
const read = show(ShopSession.value)
const tea = { tags: ["tea"] }
const twoWeeks = "Max-Age=1209600"

/** The settings closest to Django's defaults. */
const asDjango: Settings = { expiry: Expiry.django }
/** The settings closest to SESSION_SAVE_EVERY_REQUEST. */
const saveEveryRequest: Settings = {
  expiry: Expiry.earliest(Expiry.idle("14 days"), Expiry.absolute("30 days")),
  touchEvery: 0
}

const destroyPresented = Effect.gen(function*() {
  const sessions = yield* ShopSession.service
  const { cookies } = yield* HttpServerRequest.HttpServerRequest
  yield* sessions.destroy(Redacted.make(cookies[sessions.cookie.name] ?? ""))
})

const cases: ReadonlyArray<Case> = [
  {
    title: "no cookie, untouched",
    presented: "nothing",
    handler: ok,
    django: gives("none", "does not vary", [])
  },
  {
    title: "no cookie, read",
    presented: "nothing",
    handler: read,
    django: gives("none", "varies", [])
  },
  {
    title: "no cookie, written",
    presented: "nothing",
    handler: write,
    django: gives(`new, ${twoWeeks}`, "varies", [{ count: 1 }])
  },
  {
    title: "no cookie, written and answered with 503",
    presented: "nothing",
    handler: Effect.zipRight(write, Effect.succeed(HttpServerResponse.empty({ status: 503 }))),
    django: gives("none", "varies", [], 503)
  },
  {
    title: "no cookie, flush",
    presented: "nothing",
    handler: does(ShopSession.destroy),
    django: gives("none", "varies", [])
  },
  {
    title: "no cookie, clear",
    presented: "nothing",
    handler: does(ShopSession.clear),
    django: gives("none", "varies", [])
  },
  {
    title: "no cookie, cycle_key: no empty record is created",
    presented: "nothing",
    handler: does(ShopSession.rotate),
    django: gives(`new, ${twoWeeks}`, "varies", [{}]),
    here: gives("none", "varies", [])
  },
  {
    title: "no cookie, untouched, SAVE_EVERY_REQUEST",
    presented: "nothing",
    settings: saveEveryRequest,
    handler: ok,
    django: gives("none", "does not vary", [])
  },
  {
    title: "no cookie, written, EXPIRE_AT_BROWSER_CLOSE",
    presented: "nothing",
    settings: { ...asDjango, cookie: { browserLength: true } },
    handler: write,
    django: gives("new", "varies", [{ count: 1 }])
  },
  {
    title: "no cookie, set_expiry(0)",
    presented: "nothing",
    handler: does(ShopSession.setExpiry(Lifetime.browser)),
    django: gives("new", "varies", [{}])
  },
  {
    title: "no cookie, set_expiry(60)",
    presented: "nothing",
    handler: does(ShopSession.setExpiry(Lifetime.inactivity("60 seconds"))),
    django: gives("new, Max-Age=60", "varies", [{}])
  },
  {
    title: "short cookie, untouched: no store call, and the cookie is kept",
    presented: "malformed",
    handler: ok,
    django: gives("expired", "varies", []),
    here: gives("none", "does not vary", [])
  },
  {
    title: "unknown cookie, untouched",
    presented: "unknown",
    handler: ok,
    django: gives("none", "does not vary", [])
  },
  {
    title: "unknown cookie, read: only a logout deletes a cookie",
    presented: "unknown",
    handler: read,
    django: gives("expired", "varies", []),
    here: gives("none", "varies", [])
  },
  {
    title: "unknown cookie, written",
    presented: "unknown",
    handler: write,
    django: gives(`new, ${twoWeeks}`, "varies", [{ count: 1 }])
  },
  {
    title: "unknown cookie, clear: clearing nothing is no error",
    presented: "unknown",
    handler: does(ShopSession.clear),
    django: gives("none", "does not vary", [], 400),
    here: gives("none", "varies", [])
  },
  {
    title: "unknown cookie, untouched, SAVE_EVERY_REQUEST: an unknown id creates no record",
    presented: "unknown",
    settings: saveEveryRequest,
    handler: ok,
    django: gives(`new, ${twoWeeks}`, "varies", [{}]),
    here: gives("none", "does not vary", [])
  },
  {
    title: "live session, untouched",
    presented: "live",
    handler: ok,
    django: gives("none", "does not vary", [tea])
  },
  {
    title: "live session, read",
    presented: "live",
    handler: read,
    django: gives("none", "varies", [tea])
  },
  {
    title: "live session, written",
    presented: "live",
    handler: write,
    django: gives(`again, ${twoWeeks}`, "varies", [{ ...tea, count: 1 }])
  },
  {
    title: "live session, nested change: it is saved",
    presented: "live",
    handler: does(ShopSession.update("tags", (tags) => [...tags, "milk"])),
    django: gives("none", "varies", [tea]),
    here: gives(`again, ${twoWeeks}`, "varies", [{ tags: ["tea", "milk"] }])
  },
  {
    title: "live session, untouched, SAVE_EVERY_REQUEST: a request that does not use the session makes no store call",
    presented: "live",
    settings: saveEveryRequest,
    handler: ok,
    django: gives(`again, ${twoWeeks}`, "varies", [tea]),
    here: gives("none", "does not vary", [tea])
  },
  {
    title: "live session, clear",
    presented: "live",
    handler: does(ShopSession.clear),
    django: gives(`again, ${twoWeeks}`, "varies", [{}])
  },
  {
    title: "live session, flush",
    presented: "live",
    handler: does(ShopSession.destroy),
    django: gives("expired", "varies", [])
  },
  {
    title: "live session, cycle_key",
    presented: "live",
    handler: does(ShopSession.rotate),
    django: gives(`new, ${twoWeeks}`, "varies", [tea])
  },
  {
    title: "live session, destroyed by its token and not by its handle: the cookie is kept",
    presented: "live",
    handler: Effect.zipRight(destroyPresented, ok),
    django: gives("none", "does not vary", [])
  },
  {
    title: "live session, deleted by another request while this one writes: 409, not 400",
    presented: "live",
    handler: does(Effect.gen(function*() {
      const sessions = yield* ShopSession.service
      yield* Effect.flatMap(Effect.flatten(ShopSession.token), sessions.destroy)
      yield* ShopSession.set("count", 1)
    })),
    django: gives("none", "does not vary", [], 400),
    here: gives("none", "varies", [], 409)
  }
]

const observe = <E>(layer: Layer.Layer<SessionStore, E>, { handler, presented, settings = asDjango }: Case) =>
  Effect.gen(function*() {
    const shop = yield* Shop.make(layer, { session: ShopSession.layerWith(settings) })
    const values = {
      nothing: Effect.succeed(undefined),
      malformed: Effect.succeed("abc"),
      unknown: Effect.succeed(`r1.${"A".repeat(43)}`),
      live: Effect.flatMap(shop.request(does(ShopSession.set("tags", ["tea"]))), Shop.cookieOf)
    }
    const value = yield* values[presented]
    const answer = yield* shop.request(handler, value)
    const [sent = ""] = answer.headers.getSetCookie()
    const maxAge = /; (Max-Age=\d+)/.exec(sent)?.[1]
    const cookie = answer.cookie === undefined
      ? "none"
      : answer.cookie === ""
      ? "expired"
      : [answer.cookie === value ? "again" : "new", ...(maxAge === undefined ? [] : [maxAge])].join(", ")
    const records = recordsIn(yield* shop.store.scan("test/Shop", { limit: 10, now: 0 }))
    const outcome: Outcome = {
      status: answer.status,
      cookie,
      vary: answer.headers.get("vary"),
      records: records.map(({ data }) => JSON.parse(data))
    }
    return outcome
  })

class App extends Session.Tag<App>()("test/Behaviour", {
  schema: Schema.Struct({
    user: Schema.optional(Schema.String),
    cart: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] })
  }),
  expiry: Expiry.earliest(Expiry.idle("1 hour"), Expiry.absolute("1 day"))
}) {}

for (const [name, layer] of stores) {
  describe(`a request, on ${name}`, () => {
    for (const one of cases) {
      const verdict = one.here === undefined ? "as Django" : "not as Django"
      it.scoped(`${one.title} (${verdict})`, () =>
        Effect.gen(function*() {
          if (one.here !== undefined) assert.notDeepEqual(one.here, one.django)
          assert.deepStrictEqual(yield* observe(layer(), one), one.here ?? one.django)
        }).pipe(Effect.orDie))
    }
  })

  const test = (
    title: string,
    effect: Effect.Effect<unknown, unknown, Layer.Layer.Success<ReturnType<typeof provided>>>
  ) => it.effect(`${name}: ${title}`, () => Effect.orDie(Effect.provide(effect, provided())))
  const engine = () => Layer.provideMerge(StoredEngine.layer, layer())
  const provided = () => Layer.provideMerge(App.layer, engine())
  const recordsOf = Effect.map(
    Effect.flatMap(SessionStore, (store) => store.scan("test/Behaviour", { limit: 10, now: 0 })),
    recordsIn
  )
  const begin = Effect.map(visit(App, App.set("user", "ann")), ({ cookie }) => cookie)

  describe("the session as a mapping", () => {
    test(
      "del of an absent key, update({}) and set_expiry(None) change nothing and create no session",
      Effect.gen(function*() {
        const nothing = Effect.all([App.remove("user"), App.patch({}), App.setExpiry(Lifetime.byPolicy)])
        assert.isUndefined((yield* visit(App, nothing)).setCookie)
        assert.deepStrictEqual(yield* recordsOf, [])
        const { cookie } = yield* visit(App, App.set("cart", ["tea"]))
        const before = yield* recordsOf
        yield* visit(App, nothing, cookie)
        assert.deepStrictEqual(yield* recordsOf, before)
      })
    )

    test(
      "keys, values, items and len are those of a plain object",
      Effect.gen(function*() {
        const cookie = yield* begin
        const { result } = yield* visit(App, App.value, cookie)
        assert.deepStrictEqual(Object.entries(result).sort(), [["cart", []], ["user", "ann"]])
        assert.strictEqual(Object.keys(result).length, 2)
      })
    )
  })

  describe("time", () => {
    test(
      "SAVE_EVERY_REQUEST is touchEvery: 0 with an idle and an absolute limit: every use extends, up to the absolute limit",
      Effect.gen(function*() {
        const provide = Effect.provide(App.layerWith({ touchEvery: 0 }))
        const { cookie } = yield* provide(visit(App, App.set("user", "ann")))
        for (let used = 1; used <= 47; used++) {
          yield* TestClock.adjust("30 minutes")
          assert.strictEqual((yield* provide(visit(App, App.get("user"), cookie))).result, "ann")
          assert.strictEqual((yield* recordsOf)[0]?.lastSeenAt, used * 1_800_000)
        }
        yield* TestClock.adjust("30 minutes")
        assert.isUndefined((yield* provide(visit(App, App.get("user"), cookie))).result)
      })
    )

    test(
      "Expiry.django counts from the last change: touchEvery: 0 does not extend it",
      Effect.gen(function*() {
        const provide = Effect.provide(App.layerWith({ expiry: Expiry.django, touchEvery: 0 }))
        const { cookie } = yield* provide(visit(App, App.set("user", "ann")))
        for (let day = 1; day <= 13; day++) {
          yield* TestClock.adjust("1 day")
          assert.strictEqual((yield* provide(visit(App, App.get("user"), cookie))).result, "ann")
        }
        yield* TestClock.adjust("1 day")
        assert.isUndefined((yield* provide(visit(App, App.get("user"), cookie))).result)
      })
    )

    test(
      "expiryAge with a given expiry does not use the session",
      Effect.gen(function*() {
        const session = (yield* App.service).request(undefined)
        const age = yield* session.expiryAge({ expiry: Lifetime.inactivity("10 seconds") })
        assert.deepStrictEqual([Duration.toSeconds(age), session.used !== undefined], [10, false])
        yield* session.expiryAge()
        assert.isTrue(session.used !== undefined)
      })
    )

    test(
      "an expired session is anonymous: reading creates no record, and writing creates a new one",
      Effect.gen(function*() {
        const cookie = yield* begin
        const [old] = yield* recordsOf
        yield* TestClock.adjust("1 hour")
        const seen = yield* visit(App, App.value, cookie)
        assert.deepStrictEqual([seen.result, seen.setCookie], [{ cart: [] }, undefined])
        assert.deepStrictEqual((yield* recordsOf).filter(({ id }) => id !== old?.id), [])
        const written = yield* visit(App, App.set("user", "bob"), cookie)
        assert.notStrictEqual(written.cookie, cookie)
        assert.isFalse(yield* Effect.flatMap(App.service, ({ exists }) => exists(Redacted.make(cookie ?? ""))))
      })
    )
  })

  describe("accounts", () => {
    test(
      "a login of another user: changes made after it are kept, changes made before it are discarded",
      Effect.gen(function*() {
        const settings = Effect.all([App.set("user", "bob"), App.setExpiry(Lifetime.browser)])
        const seen = Effect.all([App.get("user"), App.expireAtBrowserClose])
        for (
          const [login, expected] of [
            [Effect.zipRight(App.authenticate("u2"), settings), ["bob", true]],
            [Effect.zipRight(settings, App.authenticate("u2")), [undefined, false]]
          ] as const
        ) {
          const ann = yield* visit(App, Effect.all([App.set("user", "ann"), App.authenticate("u1")]))
          const bob = yield* visit(App, login, ann.cookie)
          assert.deepStrictEqual((yield* visit(App, seen, bob.cookie)).result, [...expected])
        }
      })
    )

    test(
      "a password change: this session continues with a new token, and all others of the account end",
      Effect.gen(function*() {
        const login = Effect.map(
          visit(App, Effect.all([App.set("user", "ann"), App.authenticate("u1")])),
          ({ cookie }) => cookie
        )
        const [other, mine] = [yield* login, yield* login]
        const changed = yield* visit(
          App,
          Effect.gen(function*() {
            const sessions = yield* App.service
            yield* sessions.revokeSubject(
              "u1",
              Option.match(yield* App.id, {
                onNone: () => ({}),
                onSome: (except) => ({ except })
              })
            )
            yield* App.rotate
          }),
          mine
        )
        const userOf = (cookie: string | undefined) =>
          Effect.map(visit(App, App.get("user"), cookie), ({ result }) => result)
        assert.deepStrictEqual(
          [yield* userOf(other), yield* userOf(mine), yield* userOf(changed.cookie)],
          [undefined, undefined, "ann"]
        )
      })
    )
  })
}

const custom: SessionCookie.CookieOptions = {
  name: "sid",
  prefix: "",
  domain: ".example.com",
  path: "/app",
  sameSite: "strict"
}

/** Attributes in alphabetical order. Cookies here have no Expires if they have a Max-Age. */
const cookies: ReadonlyArray<
  readonly [title: string, cookie: SessionCookie.CookieOptions, ends: boolean, django: string, here: string]
> = [
  [
    "a cookie with all its settings: always HttpOnly",
    custom,
    false,
    "sid Domain=.example.com Expires Max-Age=1209600 Path=/app SameSite=Strict Secure",
    "sid Domain=.example.com HttpOnly Max-Age=1209600 Path=/app SameSite=Strict Secure"
  ],
  [
    "its deletion: the same attributes, Secure too",
    custom,
    true,
    "sid Domain=.example.com Expires Max-Age=0 Path=/app SameSite=Strict",
    "sid Domain=.example.com Expires HttpOnly Max-Age=0 Path=/app SameSite=Strict Secure"
  ],
  [
    "the deletion of a cookie with SameSite=None",
    { name: "sessionid", prefix: "", sameSite: "none", acknowledgeCrossSite: true },
    true,
    "sessionid Expires Max-Age=0 Path=/ SameSite=None Secure",
    "sessionid Expires HttpOnly Max-Age=0 Path=/ SameSite=None Secure"
  ],
  [
    "the deletion of a cookie with the prefix __Host-",
    { name: "sid", prefix: "__Host-" },
    true,
    "__Host-sid Expires Max-Age=0 Path=/ SameSite=Lax Secure",
    "__Host-sid Expires HttpOnly Max-Age=0 Path=/ SameSite=Lax Secure"
  ]
]

describe("Vary", () => {
  it.scoped("Vary: * stays alone, and Cookie is not added twice", () =>
    Effect.gen(function*() {
      const [, layer] = yield* Option.fromNullable(stores[0])
      const shop = yield* Shop.make(layer())
      for (
        const [own, vary] of [["*", "*"], ["Accept, cookie", "Accept, cookie"], ["Accept", "Accept, Cookie"]] as const
      ) {
        const answer = yield* shop.request(Effect.map(read, HttpServerResponse.setHeader("vary", own)))
        assert.strictEqual(answer.headers.get("vary"), vary)
      }
    }).pipe(Effect.orDie))
})

describe("the attributes of the cookie", () => {
  for (const [title, cookie, ends, django, here] of cookies) {
    it.scoped(title, () =>
      Effect.gen(function*() {
        const [, layer] = yield* Option.fromNullable(stores[0])
        const shop = yield* Shop.make(layer(), { session: ShopSession.layerWith({ ...asDjango, cookie }) })
        const { name } = SessionCookie.make(cookie)
        const sentBy = (handler: Handler, headers = {}) =>
          Effect.map(shop.request(handler, undefined, headers), ({ headers }) => headers.getSetCookie()[0] ?? "")
        const first = yield* sentBy(write)
        const pair = first.split(";")[0] ?? ""
        const [sent = "", ...attributes] = (ends ? yield* sentBy(does(ShopSession.destroy), { cookie: pair }) : first)
          .split("; ")
        assert.strictEqual(sent, ends ? `${name}=` : pair)
        const summary = attributes.map((attribute) => attribute.replace(/^Expires=.*/, "Expires")).sort()
        assert.strictEqual([name, ...summary].join(" "), here)
        assert.notStrictEqual(here, django)
      }).pipe(Effect.orDie))
  }
})

/** `_session_expiry`, and Django's results on 2026-01-01: age in seconds, date, browser close. */
const lifetimes: ReadonlyArray<
  readonly [
    title: string,
    lifetime: () => Lifetime.LifetimeInput,
    django: readonly [age: number, date: string, browserClose: boolean],
    here?: readonly [age: number, date: string, browserClose: boolean]
  ]
> = [
  ["nothing", () => Lifetime.byPolicy, [1209600, "2026-01-15T00:00:00.000Z", false]],
  ["0", () => Lifetime.browser, [1209600, "2026-01-15T00:00:00.000Z", true]],
  ["10", () => Lifetime.inactivity("10 seconds"), [10, "2026-01-01T00:00:10.000Z", false]],
  ["300", () => Lifetime.inactivity("300 seconds"), [300, "2026-01-01T00:05:00.000Z", false]],
  [
    "-10: ends at once, and the age is not negative",
    () => Lifetime.inactivity(-10_000),
    [-10, "2025-12-31T23:59:50.000Z", false],
    [0, "2026-01-01T00:00:00.000Z", false]
  ],
  [
    "a date",
    () => Lifetime.until("2026-01-01T01:00:00+00:00"),
    [3600, "2026-01-01T01:00:00.000Z", false]
  ],
  [
    "a date with fractions: a Duration is not rounded",
    () => Lifetime.until("2026-01-01T00:00:10.900000+00:00"),
    [10, "2026-01-01T00:00:10.900Z", false],
    [10.9, "2026-01-01T00:00:10.900Z", false]
  ],
  [
    "a date in the past: the age is not negative",
    () => Lifetime.until("2025-12-31T23:59:59.500000+00:00"),
    [-1, "2025-12-31T23:59:59.500Z", false],
    [0, "2025-12-31T23:59:59.500Z", false]
  ],
  [
    "a date in another time zone: the same moment",
    () => Lifetime.until("2026-01-01T05:30:01+05:30"),
    [1, "2026-01-01T00:00:01.000Z", false]
  ]
]

describe("get_expiry_age, get_expiry_date and get_expire_at_browser_close after set_expiry", () => {
  for (const [title, lifetime, django, here = django] of lifetimes) {
    it.effect(title, () =>
      Effect.gen(function*() {
        yield* TestClock.setTime(Date.parse("2026-01-01T00:00:00Z"))
        const { result } = yield* visit(
          App,
          Effect.zipRight(
            App.setExpiry(lifetime()),
            Effect.all([App.expiryAge(), App.expiryDate(), App.expireAtBrowserClose])
          )
        )
        const [age, date, browserClose] = result
        assert.deepStrictEqual([Duration.toSeconds(age), DateTime.formatIso(date), browserClose], [...here])
      }).pipe(
        Effect.provide(App.layerWith({ expiry: Expiry.django })),
        Effect.provide(Layer.provideMerge(StoredEngine.layer, stores[0]?.[1]() ?? Layer.die("no store"))),
        Effect.orDie
      ))
  }
})

/** Never called: a compile-time test. */
export const mistakes = Effect.gen(function*() {
  const session = yield* App // @ts-expect-error: a change inside a value that was read
  ;(yield* session.get("cart")).push("tea") // @ts-expect-error: a change of the whole value
  ;(yield* session.value).user = "ann"
  // @ts-expect-error: a field that the session does not have
  yield* session.get("crat")
  // @ts-expect-error: a value of another type
  yield* session.set("user", 7)
  // @ts-expect-error: a session key that the program assigns
  session.token = Option.none()
})
