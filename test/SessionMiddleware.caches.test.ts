/**
 * A shared cache in front of the server, which stores whatever `Vary` and `Cache-Control` allow, cookies included: no
 * visitor gets the page or cookie of another one (F36).
 */
import * as HttpMiddleware from "@effect/platform/HttpMiddleware"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { Lifetime, ReadOnce, Session } from "effect-session"
import type { SessionDirectory } from "effect-session/SessionDirectory"
import type { SessionHandle } from "effect-session/SessionHandle"
import type { SessionRevocation } from "effect-session/SessionRevocation"
import { SessionStoreError } from "effect-session/SessionStore"
import { assert, describe } from "vitest"
import { cachingProxy } from "./support/cachingProxy.js"
import { serve, setCookiesOf, wrappedEngine } from "./support/httpServer.js"
import { headersOf, type RawAnswer, request } from "./support/rawHttp.js"

class Users extends Session.Tag<Users>()("test/Caches", {
  context: Schema.String,
  schema: Schema.Struct({
    name: Schema.optional(Schema.String),
    count: Schema.optionalWith(Schema.Number, { default: () => 0 }),
    notice: ReadOnce.field(Schema.String)
  })
}) {}

type Use = Effect.Effect<
  unknown,
  unknown,
  Users | SessionDirectory | SessionRevocation | HttpServerRequest.HttpServerRequest
>

/** Every method of a session handle. */
const uses: Readonly<Record<keyof SessionHandle<object>, (user: string) => Use>> = {
  value: () => Users.value,
  get: () => Users.get("name"),
  getOption: () => Users.getOption("name"),
  getOrElse: () => Users.getOrElse("name", () => "anonymous"),
  has: () => Users.has("name"),
  set: (user) => Users.set("name", user),
  update: () => Users.update("count", (n) => n + 1),
  modify: () => Users.modify("count", (n) => [n, n + 1]),
  patch: (user) => Users.patch({ name: user, count: 3 }),
  pop: () => Users.pop("name"),
  popOrElse: () => Users.popOrElse("name", () => "anonymous"),
  getOrSet: (user) => Users.getOrSet("name", user),
  remove: () => Users.remove("name"),
  clear: () => Users.clear,
  rotate: () => Users.rotate,
  cycleKey: () => Users.cycleKey,
  destroy: () => Users.destroy,
  flush: () => Users.flush,
  authenticate: (user) => Users.authenticate(user),
  authenticateExclusively: (user) => Users.authenticateExclusively(user),
  subject: () => Users.subject,
  requireSubject: () => Effect.option(Users.requireSubject),
  impersonator: () => Users.impersonator,
  authenticatedAt: () => Users.authenticatedAt,
  methods: () => Users.methods,
  level: () => Users.level,
  isRemembered: () => Users.isRemembered,
  clientContext: () => Users.clientContext,
  setClientContext: (user) => Users.setClientContext(user),
  absence: () => Users.absence,
  elevate: (user) => Effect.zipRight(Users.authenticate(user), Users.elevate({ methods: ["otp"], level: 2 })),
  drop: (user) => Effect.zipRight(Users.authenticate(user), Users.drop),
  impersonate: (user) => Effect.zipRight(Users.authenticate(user), Users.impersonate("customer")),
  endImpersonation: () => Users.endImpersonation,
  requireFresh: () => Effect.ignore(Users.requireFresh({ within: "1 minute" })),
  revokeOthers: (user) => Effect.zipRight(Users.authenticate(user), Users.revokeOthers),
  token: () => Users.token,
  isEmpty: () => Users.isEmpty,
  setExpiry: () => Users.setExpiry(Lifetime.lasting("5 minutes")),
  touch: () => Users.touch,
  withRollback: (user) => Users.withRollback(Users.set("name", user)),
  endsAt: () => Users.endsAt,
  timeLeft: () => Users.timeLeft,
  expiryDate: () => Users.expiryDate(),
  expiryAge: () => Users.expiryAge(),
  expireAtBrowserClose: () => Users.expireAtBrowserClose,
  setTestCookie: () => Users.setTestCookie,
  testCookieWorked: () => Users.testCookieWorked,
  deleteTestCookie: () => Users.deleteTestCookie,
  save: (user) => Effect.zipRight(Users.set("name", user), Users.save),
  id: () => Users.id,
  optional: () => Effect.flatten(Users.optional),
  reload: () => Users.reload,
  allowStale: () => Users.allowStale,
  isReadOnly: () => Users.isReadOnly,
  take: () => Users.take("notice"),
  // Interrupted, because it waits for the end of the session.
  awaitEnd: () => Effect.timeoutOption(Effect.interruptible(Users.awaitEnd()), "5 millis"),
  // These two do not depend on the visitor, so they are combined with a read.
  cookieAge: () => Effect.zip(Users.cookieAge, Users.get("name")),
  discard: () => Effect.zip(Users.update("count", (n) => n + 1), Users.discard)
}

/** The use of the session by path; a path that is not listed does not use the session. */
const handlers: Readonly<Record<string, (user: string) => Use>> = {
  ...Object.fromEntries(Object.entries(uses).map(([name, way]) => [`/${name}`, way])),
  "/sign-in": (user) => Effect.all([Users.authenticate(user), Users.set("name", user), notice]),
  "/dead": () => Effect.zipRight(Users.get("name"), Effect.die("broken")),
  "/failed": () => Effect.zipRight(Users.get("name"), Effect.fail("broken")),
  "/failed-after-save": () => Effect.all([Users.rotate, Users.save, Effect.fail("broken")]),
  "/refused": () => Users.set("count", Number.NaN),
  "/cors": () => Effect.zipRight(Users.get("name"), cors(Effect.succeed(HttpServerResponse.empty())))
}
const cors = HttpMiddleware.cors({ allowedOrigins: ["https://a.example"] })
const notice = Users.set("notice", ReadOnce.make("for your eyes"))

/** Each page names its visitor, by a header that the cache does not vary on. */
const page = Effect.gen(function*() {
  const { headers, url } = yield* HttpServerRequest.HttpServerRequest
  const user = headers["x-user"] ?? "?"
  yield* (handlers[url] ?? (() => Effect.void))(user)
  const status = headers["if-none-match"] === undefined ? Number(headers["x-status"] ?? 200) : 304
  return HttpServerResponse.setHeaders(HttpServerResponse.text(`for ${user}`, { status }), {
    etag: `"page"`,
    ...(headers["x-public"] === undefined ? {} : { "cache-control": "public, max-age=600" })
  })
})

/** A server, a cache in front of it, and the number of requests that reached the server. */
const start = Effect.gen(function*() {
  const state = { hits: 0, down: false }
  const engine = wrappedEngine((operation, call) =>
    Effect.suspend(() => state.down ? Effect.fail(new SessionStoreError({ operation, reason: "unavailable" })) : call)
  )
  const counted = Effect.zipRight(Effect.sync(() => state.hits++), page)
  const port = yield* serve(
    HttpServer.serve(Users.middleware(counted)).pipe(Layer.provide(Users.layer), Layer.provide(engine))
  )
  const proxy = yield* cachingProxy(port)
  const ask = (
    at: number,
    path: string,
    visitor: Visitor,
    headers: Readonly<Record<string, string>> = {},
    method = "GET"
  ) =>
    Effect.tap(
      request(at, path, [
        ["X-User", visitor.name],
        ...(visitor.cookie === "" ? [] : [["Cookie", visitor.cookie] as const]),
        ...Object.entries(headers)
      ], method),
      (answer) => Effect.sync(() => recordTokens(visitor, answer))
    )
  /** A visitor who has logged in, directly at the server. */
  const signedIn = (name: string) => {
    const visitor = anonymous(name)
    return Effect.as(ask(port, "/sign-in", visitor), visitor)
  }
  return { ask, port, proxy, signedIn, state }
})

interface Visitor {
  readonly name: string
  cookie: string
  /** Every cookie value that was sent to this visitor. */
  readonly given: Set<string>
}

const anonymous = (name = "anonymous"): Visitor => ({ name, cookie: "", given: new Set() })

const recordTokens = (visitor: Visitor, answer: RawAnswer) => {
  for (const { name, value } of setCookiesOf(answer)) {
    visitor.cookie = value === "" ? "" : `${name}=${value}`
    if (value !== "") visitor.given.add(value)
  }
}

type Setup = Effect.Effect.Success<typeof start>

const live = (title: string, body: (world: Setup) => Effect.Effect<void, unknown>) =>
  it.live(title, () => Effect.flatMap(start, body).pipe(Effect.scoped, Effect.orDie))

const accessors = Object.keys(uses).map((name) => `/${name}`)

describe("a permissive shared cache", () => {
  for (const path of accessors) {
    live(
      `${path}: each visitor gets their own page and cookie`,
      ({ ask, port, proxy, signedIn, state }) =>
        Effect.gen(function*() {
          const visitors = [yield* signedIn("ann"), yield* signedIn("bob"), anonymous(), anonymous("other")]
          for (const visitor of [...visitors, ...visitors]) {
            const others = visitors.filter((other) => other !== visitor)
            // Visitors without a cookie are the same to the cache.
            const alike = others.filter(({ cookie }) => cookie === visitor.cookie).map(({ name }) => `for ${name}`)
            assert.include([`for ${visitor.name}`, ...alike], (yield* ask(proxy, path, visitor)).body)
            for (const other of others) {
              assert.isFalse([...visitor.given].some((value) => other.given.has(value)), `${other.name}'s cookie`)
            }
          }
          // While the store is down, answers are still not shared.
          state.down = true
          for (const visitor of visitors) {
            visitor.cookie = `x=${visitor.name}; ${visitor.cookie}`
            const before = state.hits
            yield* ask(proxy, path, visitor)
            assert.strictEqual(state.hits, before + 1, `${visitor.name} was answered from the cache`)
          }
          state.down = false
          assert.deepStrictEqual(headersOf(yield* ask(port, path, visitors[0] ?? anonymous()), "vary"), ["Cookie"])
        })
    )
  }

  for (const path of ["/dead", "/failed", "/failed-after-save", "/refused"]) {
    live(
      `${path}: the answer of a failing handler is not shared`,
      ({ ask, proxy, signedIn, state }) =>
        Effect.gen(function*() {
          const [ann, bob] = [yield* signedIn("ann"), yield* signedIn("bob")]
          const first = yield* ask(proxy, path, ann)
          assert.isAtLeast(first.status, 400)
          const before = state.hits
          yield* ask(proxy, path, bob)
          assert.strictEqual(state.hits, before + 1)
          assert.isFalse([...ann.given].some((value) => bob.given.has(value)))
        })
    )
  }

  live("an answer of any status is not shared", ({ ask, proxy, signedIn, state }) =>
    Effect.gen(function*() {
      const [ann, bob] = [yield* signedIn("ann"), yield* signedIn("bob")]
      for (const [at, status] of ["200", "203", "204", "301", "302", "401", "404", "410", "500", "503"].entries()) {
        const path = accessors[at] ?? "/get"
        yield* ask(proxy, path, ann, { "X-Status": status })
        const before = state.hits
        assert.strictEqual((yield* ask(proxy, path, bob, { "X-Status": status })).status, Number(status))
        assert.strictEqual(state.hits, before + 1, status)
      }
    }))

  live(
    "a route that does not use the session is cached and shared, and a page is cached for its own visitor",
    ({ ask, proxy, signedIn, state }) =>
      Effect.gen(function*() {
        const [ann, bob] = [yield* signedIn("ann"), yield* signedIn("bob")]
        const before = state.hits
        for (const visitor of [ann, bob, anonymous()]) {
          const answer = yield* ask(proxy, "/free", visitor)
          assert.deepStrictEqual([answer.body, headersOf(answer, "vary")], ["for ann", []])
        }
        assert.strictEqual(state.hits, before + 1)
        for (const visitor of [ann, ann, bob, bob, ann]) {
          assert.strictEqual((yield* ask(proxy, "/get", visitor)).body, `for ${visitor.name}`)
        }
        assert.strictEqual(state.hits, before + 3)
      })
  )
})

describe("caching headers", () => {
  const seen = (answer: RawAnswer) => ({
    vary: headersOf(answer, "vary"),
    control: headersOf(answer, "cache-control"),
    cookies: setCookiesOf(answer).map(({ attributes, name, value }) => [
      name,
      value === "",
      attributes.map(([name]) => name)
    ])
  })

  live("are the same for GET, HEAD and 304 (F36)", ({ ask, port, signedIn }) =>
    Effect.gen(function*() {
      for (const path of ["/free", ...accessors]) {
        for (const visitor of [signedIn("ann"), Effect.sync(() => anonymous())]) {
          const got = yield* ask(port, path, yield* visitor)
          const head = yield* ask(port, path, yield* visitor, {}, "HEAD")
          const notModified = yield* ask(port, path, yield* visitor, { "If-None-Match": `"page"` })
          assert.deepStrictEqual([got.status, head.status, notModified.status], [200, 200, 304], path)
          assert.deepStrictEqual(seen(head), seen(got), path)
          assert.deepStrictEqual(seen(notModified), seen(got), path)
          assert.deepStrictEqual(seen(got).vary, path === "/free" ? [] : ["Cookie"], path)
        }
      }
    }))

  live(
    "a public response becomes no-store if it carries our cookie, and is unchanged otherwise",
    ({ ask, port, signedIn }) =>
      Effect.gen(function*() {
        for (const path of ["/free", "/failed-after-save", ...accessors]) {
          const answer = yield* ask(port, path, yield* signedIn("ann"), { "X-Public": "yes" })
          const sets = [
            "/failed-after-save",
            "/destroy",
            "/flush",
            "/authenticate",
            "/authenticateExclusively",
            "/elevate",
            "/drop",
            "/impersonate",
            "/revokeOthers",
            "/rotate",
            "/cycleKey",
            "/setExpiry"
          ].includes(path)
          assert.strictEqual(setCookiesOf(answer).length, sets ? 1 : 0, path)
          assert.deepStrictEqual(headersOf(answer, "cache-control"), [sets ? "no-store" : "public, max-age=600"], path)
        }
      })
  )

  live(
    "a prefetched page, which lacks the read-once value, is not cached",
    ({ ask, port, signedIn }) =>
      Effect.gen(function*() {
        const ann = yield* signedIn("ann")
        const prefetched = yield* ask(port, "/take", ann, { "Sec-Purpose": "prefetch", "X-Public": "yes" })
        assert.deepStrictEqual([headersOf(prefetched, "cache-control"), headersOf(prefetched, "vary")], [["no-store"], [
          "Cookie"
        ]])
      })
  )

  live(
    "Vary of a CORS middleware inside the session and ours are combined",
    ({ ask, port, signedIn }) =>
      Effect.gen(function*() {
        const answer = yield* ask(port, "/cors", yield* signedIn("ann"))
        assert.deepStrictEqual(headersOf(answer, "vary"), ["Origin, Cookie"])
      })
  )
})
