/**
 * Browsers that send several cookies with our name: after a login the visitor is logged in, after a logout logged out.
 */
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { it } from "@effect/vitest"
import { Effect, Layer, Option, Redacted, Schema, type Scope } from "effect"
import { MemoryStore, Session, StoredEngine } from "effect-session"
import * as CookieEngine from "effect-session/CookieEngine"
import * as Keyring from "effect-session/Keyring"
import type { CookieOptions } from "effect-session/SessionCookie"
import type { SessionEngine } from "effect-session/SessionEngine"
import { SessionStore } from "effect-session/SessionStore"
import { randomBytes } from "node:crypto"
import { CookieJar } from "tough-cookie"
import { assert, describe } from "vitest"
import * as Tokens from "../src/internal/crypto/sessionToken.js"
import { serve, setCookiesOf } from "./support/httpServer.js"
import { request } from "./support/rawHttp.js"

class Users extends Session.Tag<Users>()("test/Crowd", {
  schema: Schema.Struct({ cart: Schema.optionalWith(Schema.Number, { default: () => 0 }) })
}) {}

const who = Effect.map(
  Effect.all([Users.subject, Users.get("cart")]),
  ([subject, cart]) => HttpServerResponse.text(`${Option.getOrElse(subject, () => "anonymous")} ${cart}`)
)

const app = HttpRouter.empty.pipe(
  HttpRouter.get("/who", who),
  HttpRouter.post("/add", Effect.zipRight(Users.update("cart", (n) => n + 1), who)),
  HttpRouter.post("/ann", Effect.zipRight(Users.authenticate("ann"), who)),
  HttpRouter.post("/bob", Effect.zipRight(Users.authenticate("bob"), who)),
  HttpRouter.post("/logout", Effect.zipRight(Users.destroy, who)),
  HttpRouter.use(Users.middleware)
)

const ring = Keyring.layer([{ id: "k", secret: Redacted.make(randomBytes(32).toString("base64url")) }])

/** Engines, each with a store that is kept across servers. */
const engines: Readonly<Record<string, () => Layer.Layer<SessionEngine>>> = {
  memory: () => Layer.provide(StoredEngine.layer, Layer.succeed(SessionStore, MemoryStore.make())),
  sealed: () => Layer.provide(CookieEngine.layer, Layer.orDie(ring)),
  ledger: () =>
    CookieEngine.layerLedger.pipe(
      Layer.provide(Layer.orDie(ring)),
      Layer.provide(Layer.succeed(SessionStore, MemoryStore.make()))
    )
}

const site = "https://app.example.com/shop/cart"

/** A server, and a browser whose page has another path than the one in the request. */
const deployed = (engine: Layer.Layer<SessionEngine>, cookie: CookieOptions) =>
  Effect.map(
    serve(HttpServer.serve(app).pipe(Layer.provide(Users.layerWith({ cookie })), Layer.provide(engine))),
    (port) => (jar: CookieJar, path: string, planted: ReadonlyArray<string> = []) =>
      Effect.map(
        Effect.suspend(() => {
          const header = [...planted, jar.getCookieStringSync(site)].filter((pairs) => pairs !== "").join("; ")
          return request(port, path, header === "" ? [] : [["Cookie", header]], path === "/who" ? "GET" : "POST")
        }),
        (answer) => {
          for (const { line } of setCookiesOf(answer)) jar.setCookieSync(line, site)
          return answer.body
        }
      )
  )

const secure = { prefix: "__Secure-" } as const
const moves: ReadonlyArray<readonly [string, before: CookieOptions, after: CookieOptions]> = [
  ["a changed path", { ...secure, path: "/shop" }, { ...secure, path: "/" }],
  ["an added path", secure, { ...secure, path: "/shop" }],
  ["an added domain", secure, { ...secure, domain: "example.com" }],
  ["a removed domain", { ...secure, domain: "example.com" }, secure],
  ["a wider domain", { ...secure, domain: "app.example.com" }, { ...secure, domain: "example.com" }]
]

const live = (title: string, body: Effect.Effect<void, unknown, Scope.Scope>) =>
  it.live(title, () => Effect.orDie(Effect.scoped(body)))

for (const [name, make] of Object.entries(engines)) {
  describe(`${name}: a deployment with`, () => {
    for (const [change, before, after] of moves) {
      live(
        `${change}: a login and a logout work`,
        Effect.gen(function*() {
          const engine = make()
          const [old, now] = [yield* deployed(engine, before), yield* deployed(engine, after)]
          for (const first of [[], ["/add"], ["/logout"]]) {
            const jar = new CookieJar()
            assert.strictEqual(yield* old(jar, "/ann"), "ann 0")
            for (const path of first) yield* now(jar, path)
            if (first.includes("/logout")) assert.strictEqual(yield* now(jar, "/who"), "anonymous 0")
            const loggedIn = yield* now(jar, "/bob")
            assert.include(["bob 0", "bob 1"], loggedIn)
            assert.strictEqual(yield* now(jar, "/who"), loggedIn)
            const added = yield* now(jar, "/add")
            assert.notStrictEqual(added, loggedIn)
            assert.strictEqual(yield* now(jar, "/who"), added)
            yield* now(jar, "/logout")
            assert.strictEqual(yield* now(jar, "/who"), "anonymous 0")
          }
        })
      )
    }
  })

  const cookieName = "__Secure-session"
  const tokens = (count: number) =>
    Array.from({ length: count }, () => Redacted.value(Tokens.fromBytes(randomBytes(32))))

  describe(`${name}: a browser that sends`, () => {
    for (const count of [1, 7, 8, 9, 40]) {
      live(
        `${count} planted cookies before ours: a login and a logout work`,
        Effect.gen(function*() {
          const server = yield* deployed(make(), secure)
          for (const planted of [tokens(count), Array.from({ length: count }, (_, at) => `junk${at}`)]) {
            const pairs = planted.map((value) => `${cookieName}=${value}`)
            const jar = new CookieJar()
            yield* server(jar, "/ann", pairs)
            assert.strictEqual(yield* server(jar, "/who", pairs), "ann 0")
            yield* server(jar, "/add", pairs)
            assert.strictEqual(yield* server(jar, "/who", pairs), "ann 1")
            // Planted cookies are not sent to every path.
            yield* server(jar, "/add")
            assert.strictEqual(yield* server(jar, "/who", pairs), "ann 2")
            yield* server(jar, "/logout", pairs)
            assert.strictEqual(yield* server(jar, "/who", pairs), "anonymous 0")
            assert.strictEqual(yield* server(jar, "/who"), "anonymous 0")
            yield* server(jar, "/bob", pairs)
            assert.strictEqual(yield* server(jar, "/who", pairs), "bob 0")
          }
        })
      )
    }

    for (const count of [1, 8, 12]) {
      live(
        `${count} live cookies of another user: the visitor is never that user, and a login repairs it`,
        Effect.gen(function*() {
          const server = yield* deployed(make(), secure)
          const planted = yield* Effect.forEach(Array.from({ length: count }), () =>
            Effect.gen(function*() {
              const attacker = new CookieJar()
              yield* server(attacker, "/bob")
              return attacker.getCookieStringSync(site)
            }))
          const jar = new CookieJar()
          yield* server(jar, "/ann")
          assert.strictEqual(yield* server(jar, "/who", planted), "anonymous 0")
          yield* server(jar, "/ann", planted)
          assert.strictEqual(yield* server(jar, "/who", planted), "ann 0")
          yield* server(jar, "/logout", planted)
          assert.strictEqual(yield* server(jar, "/who", planted), "anonymous 0")
          // A cookie planted after the login is unknown to it.
          yield* server(jar, "/ann", planted)
          const later = new CookieJar()
          yield* server(later, "/bob")
          const all = [...planted, later.getCookieStringSync(site)]
          assert.strictEqual(yield* server(jar, "/who", all), "anonymous 0")
          yield* server(jar, "/ann", all)
          assert.strictEqual(yield* server(jar, "/who", all), "ann 0")
        })
      )
    }

    live(
      "cookies with random revocation lists end no session",
      Effect.gen(function*() {
        const server = yield* deployed(make(), secure)
        const jar = new CookieJar()
        yield* server(jar, "/ann")
        const lists = Array.from({ length: 7 }, () => `${cookieName}=..${randomBytes(384).toString("base64url")}`)
        assert.strictEqual(yield* server(jar, "/who", lists), "ann 0")
      })
    )
  })
}
