/** The responses as a cookie jar stores them, in every order of arrival. */
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { it } from "@effect/vitest"
import { Effect, Fiber, Layer, Option, Schema, type Scope } from "effect"
import { Expiry, Session, type SessionCookie } from "effect-session"
import type { Settings } from "effect-session/SessionService"
import type { Operation } from "effect-session/SessionStore"
import { Cookie, CookieJar } from "tough-cookie"
import { assert, describe } from "vitest"
import { gate, pairOf, permutations, serve, type SetCookie, setCookiesOf, wrappedEngine } from "./support/httpServer.js"
import { type RawAnswer, request } from "./support/rawHttp.js"

class Users extends Session.Tag<Users>()("test/Jar", {
  carryOver: "all",
  schema: Schema.Struct({ cart: Schema.optionalWith(Schema.Number, { default: () => 0 }) })
}) {}

/** Answers with the subject of the session and the number of items in the cart. */
const who = Effect.map(
  Effect.all([Users.subject, Users.get("cart")]),
  ([subject, cart]) => HttpServerResponse.text(`${Option.getOrElse(subject, () => "anonymous")} ${cart}`)
)

const add = Users.update("cart", (n) => n + 1)
const { authenticate, rotate, destroy, save } = Users

/**
 * Handlers with several changes, and the expected owner of the session after them: for an anonymous visitor and for
 * ann.
 */
const busy: Readonly<
  Record<string, readonly [Effect.Effect<unknown, unknown, Users>, anonymous: string, ann: string]>
> = {
  "/save-twice": [Effect.all([add, save, add, save, add]), "anonymous 3", "ann 3"],
  "/login-and-all": [Effect.all([authenticate("ann"), rotate, save, add, rotate, save]), "ann 1", "ann 1"],
  "/login-twice": [Effect.all([authenticate("ann"), save, authenticate("ann"), add]), "ann 1", "ann 1"],
  "/change-user": [Effect.all([add, authenticate("bob"), save, authenticate("eve")]), "eve 0", "eve 0"],
  "/out-and-in": [Effect.all([add, save, destroy, authenticate("ann"), save, rotate]), "ann 0", "ann 0"],
  "/in-and-out": [Effect.all([authenticate("ann"), save, rotate, save, destroy]), "anonymous 0", "anonymous 0"],
  "/all-out": [Effect.all([add, save, destroy, save]), "anonymous 0", "anonymous 0"]
}

const handlers: Readonly<Record<string, Effect.Effect<unknown, unknown, Users>>> = {
  ...Object.fromEntries(Object.entries(busy).map(([path, [handler]]) => [path, handler])),
  "/add": add,
  "/ann": authenticate("ann"),
  "/bob": authenticate("bob"),
  "/logout": destroy
}

const app = Users.middleware(Effect.flatMap(
  HttpServerRequest.HttpServerRequest,
  ({ url }) => Effect.zipRight(handlers[url] ?? Effect.void, who)
))

/** A server whose store calls can be held. By default, every use of the session is touched. */
const start = (settings: Settings = {}) =>
  Effect.gen(function*() {
    const { hold, wrap } = gate()
    const port = yield* serve(
      HttpServer.serve(app).pipe(
        Layer.provide(Users.layerWith({ touchEvery: 0, commitTimeout: "20 seconds", ...settings })),
        Layer.provide(wrappedEngine(wrap))
      )
    )
    /** A request held in the store until the returned effect runs. */
    const parked = (path: string, cookie: string, operation: Operation, when: "before" | "after") =>
      Effect.gen(function*() {
        const held = yield* hold(operation, when)
        const answer = yield* Effect.fork(send(port, path, cookie))
        yield* held.reached
        return Effect.zipRight(held.go, Fiber.join(answer))
      })
    return { port, parked }
  })

const send = (port: number, path: string, cookie: string) =>
  request(port, path, cookie === "" ? [] : [["Cookie", cookie]])

const shopUrl = "https://app.example.com/shop/page"

const newJar = () => new CookieJar(undefined, { prefixSecurity: "strict" })

/** Stores the cookies of a response in a jar; throws if the jar rejects one. */
const keep = (jar: CookieJar, answer: RawAnswer, url = shopUrl) => {
  for (const cookie of setCookiesOf(answer)) {
    assertValid(cookie)
    jar.setCookieSync(cookie.line, url)
  }
}

const assertValid = ({ attributes, line, name, value }: SetCookie) => {
  const names = attributes.map(([name]) => name)
  assert.deepInclude(Cookie.parse(line), { key: name, value }, line)
  assert.strictEqual(new Set(names).size, names.length, `R5: a repeated attribute in ${line}`)
  assert.includeMembers(names, ["path", "httponly", "samesite"], line)
  assert.match(value, /^[A-Za-z0-9._-]*$/, "R1")
  assert.strictEqual(encodeURIComponent(value), value, "R1")
  assert.isBelow(Buffer.byteLength(`${name}${value}`), 4096, "R2")
}

/** One visit of a browser: sends the cookies of its jar, and stores those of the response. */
const visit = (port: number, jar: CookieJar, path: string, url = shopUrl) =>
  Effect.tap(
    Effect.suspend(() => send(port, path, jar.getCookieStringSync(url))),
    (answer) => Effect.sync(() => keep(jar, answer, url))
  )

/** The cookies that a jar sends at the end, for each order in which the late responses arrive. */
const inAllOrders = (first: RawAnswer, late: ReadonlyArray<RawAnswer>): ReadonlySet<string> =>
  new Set(
    permutations(late).map((order) => {
      const jar = newJar()
      for (const answer of [first, ...order]) keep(jar, answer)
      return jar.getCookieStringSync(shopUrl)
    })
  )

const live = (title: string, body: Effect.Effect<void, unknown, Scope.Scope>) =>
  it.live(title, () => Effect.orDie(Effect.scoped(body)))

const sites: ReadonlyArray<SessionCookie.SameSite> = [
  { sameSite: "lax" },
  { sameSite: "strict" },
  { sameSite: "none", acknowledgeCrossSite: true },
  { sameSite: "none", acknowledgeCrossSite: true, partitioned: true }
]
const domains = (domain: string) => [{}, { domain }, { domain: `.${domain}` }]
const paths = [{}, { path: "/shop" }]

/** Every scope that the types allow. */
const scopes: ReadonlyArray<readonly [SessionCookie.CookieOptions, url: string]> = [
  ...(["__Host-Http-", "__Host-"] as const).flatMap((prefix) =>
    sites.flatMap((site) => [{ prefix, ...site }, { prefix, ...site, browserLength: true }])
  ).map((options) => [options, shopUrl] as const),
  ...(["__Secure-", "__Http-", ""] as const).flatMap((prefix) =>
    sites.flatMap((site) =>
      domains("example.com").flatMap((domain) => paths.map((path) => ({ prefix, ...site, ...domain, ...path })))
    )
  ).map((options) => [options, shopUrl] as const),
  ...(["lax", "strict"] as const).flatMap((sameSite) =>
    domains("shop.localhost").flatMap((domain) =>
      paths.map((path) => ({ prefix: "", secure: false, sameSite, ...domain, ...path }) as const)
    )
  ).map((options) => [options, "http://shop.localhost/shop/page"] as const)
]

describe("one browser", () => {
  live(
    "a logout empties the jar, in every scope that the types allow (R6)",
    Effect.forEach(scopes, ([cookie, url]) =>
      Effect.gen(function*() {
        const { port } = yield* start({ cookie })
        const jar = newJar()
        const [set] = setCookiesOf(yield* visit(port, jar, "/ann", url))
        assert.strictEqual((yield* visit(port, jar, "/who", url)).body, "ann 0", JSON.stringify(cookie))
        const [expired] = setCookiesOf(yield* visit(port, jar, "/logout", url))
        assert.deepStrictEqual(jar.getCookiesSync(url), [], JSON.stringify(cookie))
        assert.deepStrictEqual(jar.serializeSync()?.cookies, [], JSON.stringify(cookie))
        // The jar does not support partitions, so the attributes of the deletion are compared instead.
        assert.deepStrictEqual(scopeOf(expired), scopeOf(set))
      }).pipe(Effect.scoped), { discard: true })
  )

  live(
    "a response carries at most one cookie of ours, whatever its handler does (R7)",
    Effect.gen(function*() {
      const { port } = yield* start()
      for (const [path, [, ...after]] of Object.entries(busy)) {
        for (const [at, before] of ["/who", "/ann"].entries()) {
          const jar = newJar()
          yield* visit(port, jar, before)
          const held = jar.getCookieStringSync(shopUrl)
          const answer = yield* visit(port, jar, path)
          const label = `${before}, ${path}`
          assert.strictEqual(answer.status, 200, label)
          assert.isAtMost(setCookiesOf(answer).length, 1, label)
          assert.strictEqual((yield* visit(port, jar, "/who")).body, after[at], label)
          if (jar.getCookieStringSync(shopUrl) === held) continue
          assert.strictEqual(
            (yield* send(port, "/who", held)).body,
            "anonymous 0",
            `${label}: the old session is still valid`
          )
        }
      }
    })
  )
})

const scopeOf = (cookie: SetCookie | undefined) => [
  cookie?.name,
  cookie?.attributes.filter(([name]) => name !== "max-age" && name !== "expires")
]

describe("responses that arrive out of order", () => {
  live(
    "a login wins over concurrent requests with the old cookie (F32)",
    Effect.gen(function*() {
      const { parked, port } = yield* start()
      const first = yield* send(port, "/add", "")
      const old = yield* pairOf(first)
      const saved = yield* send(port, "/add", old)
      const reading = yield* parked("/who", old, "load", "after")
      const writing = yield* parked("/add", old, "load", "after")
      const touching = yield* parked("/who", old, "touch", "before")
      const touched = yield* parked("/who", old, "touch", "after")
      const login = yield* parked("/ann", old, "rotate", "after")
      const late = yield* send(port, "/who", old)
      const answers = [late, yield* login, yield* reading, yield* writing, yield* touching, yield* touched, saved]
      assert.deepStrictEqual(
        answers.map(({ body, status }) => status === 200 ? body : status),
        ["anonymous 0", "ann 2", "anonymous 2", 409, "anonymous 2", "anonymous 2", "anonymous 2"]
      )
      const mine = yield* pairOf(answers[1] ?? first)
      assert.deepStrictEqual(inAllOrders(first, answers), new Set([mine]))
      assert.strictEqual((yield* send(port, "/who", mine)).body, "ann 2")
      assert.strictEqual((yield* send(port, "/who", old)).body, "anonymous 0")
    })
  )

  live(
    "twenty requests around a rotation set no cookie (F32)",
    Effect.gen(function*() {
      const { parked, port } = yield* start()
      const first = yield* send(port, "/add", "")
      const old = yield* pairOf(first)
      const before = yield* Effect.replicateEffect(parked("/who", old, "load", "after"), 10)
      const login = yield* parked("/ann", old, "rotate", "after")
      const after = yield* Effect.replicateEffect(send(port, "/who", old), 10, { concurrency: 10 })
      const answers = [...(yield* Effect.all(before, { concurrency: 10 })), ...after]
      assert.deepStrictEqual(answers.flatMap(setCookiesOf), [])
      assert.strictEqual((yield* send(port, "/who", yield* Effect.flatMap(login, pairOf))).body, "ann 1")
    })
  )

  live(
    "two tabs log in at once: the later response wins, and the cart goes to one of them",
    Effect.gen(function*() {
      for (const [earlier, later] of [["/ann", "/bob"], ["/bob", "/ann"], ["/ann", "/ann"]] as const) {
        const { parked, port } = yield* start()
        const first = yield* send(port, "/add", "")
        const old = yield* pairOf(first)
        const one = yield* parked(earlier, old, "load", "after")
        const two = yield* parked(later, old, "load", "after")
        const reading = yield* parked("/who", old, "load", "after")
        const logins = [yield* one, yield* two]
        const pairs = yield* Effect.forEach(logins, pairOf)
        for (const login of permutations(logins)) {
          const last = yield* pairOf(login[1] ?? first)
          const jar = newJar()
          for (const answer of [first, ...login, yield* reading]) keep(jar, answer)
          assert.strictEqual(jar.getCookieStringSync(shopUrl), last)
        }
        const seen = yield* Effect.forEach(pairs, (pair) => Effect.map(send(port, "/who", pair), ({ body }) => body))
        assert.deepStrictEqual(seen, [`${earlier.slice(1)} 1`, `${later.slice(1)} 0`])
        assert.strictEqual((yield* send(port, "/who", old)).body, "anonymous 0")
      }
    })
  )

  for (const [name, expiry] of [["with a fixed end", Expiry.standard], ["that slides", Expiry.django]] as const) {
    live(
      `after a logout, late responses do not log in again, with a cookie ${name} (F34)`,
      Effect.gen(function*() {
        const { parked, port } = yield* start({ expiry })
        const first = yield* send(port, "/ann", "")
        const old = yield* pairOf(first)
        const saved = yield* send(port, "/add", old)
        const reading = yield* parked("/who", old, "load", "after")
        const writing = yield* parked("/add", old, "load", "after")
        const touching = yield* parked("/who", old, "touch", "before")
        const touched = yield* parked("/who", old, "touch", "after")
        const logout = yield* parked("/logout", old, "destroy", "after")
        const late = yield* send(port, "/who", old)
        const answers = [late, yield* reading, yield* writing, yield* touching, yield* logout, yield* touched, saved]
        assert.deepStrictEqual(
          answers.map(({ body, status }) => status === 200 ? body : status),
          ["anonymous 0", "ann 1", 409, "ann 1", "anonymous 0", "ann 1", "ann 1"]
        )
        // Responses after the logout carry no cookie but its deletion.
        assert.deepStrictEqual(answers.slice(0, 4).flatMap(setCookiesOf), [])
        for (const left of inAllOrders(first, answers)) {
          // A sliding cookie may be set again, with a token that is no longer valid.
          assert.include(expiry === Expiry.django ? ["", old] : [""], left)
          assert.strictEqual((yield* send(port, "/who", left)).body, "anonymous 0")
        }
      })
    )
  }
})
